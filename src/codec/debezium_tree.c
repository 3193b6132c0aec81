/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_tree.h"

#include <errno.h>
#include <stdlib.h>

#define LEVELS_MAX 1000
#define DIGITS_MAX 1000

struct reader {
    struct ow_dbz_arena *arena;
    const char *s, *end;
    const char *why;
    int levels;
};

static struct ow_dbz_node *read_value(struct reader *in);

static void *fail(struct reader *in, const char *why)
{
    if (!in->why)
        in->why = why;
    return NULL;
}

static int peek(const struct reader *in)
{
    return in->s < in->end ? (unsigned char)*in->s : -1;
}

static void skip_blanks(struct reader *in)
{
    for (int c = peek(in); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = peek(in))
        in->s++;
}

static struct ow_dbz_node *node_new(struct reader *in, enum ow_dbz_node_kind kind)
{
    struct ow_dbz_node *node = ow_dbz_alloc(in->arena, sizeof(*node));
    if (!node)
        return fail(in, "out of memory");
    node->kind = kind;
    return node;
}

/* --- strings ----------------------------------------------------------------------------------------------- */

static int hex4(const char *s)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)s[i] | 0x20;
        if (s[i] >= '0' && s[i] <= '9')
            value = value * 16 + (s[i] - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (c - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static size_t write_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 63));
    to[0] = (char)(first[length] | code);
    return length;
}

/* After the backslash; an escape never stands for more bytes than it has itself. */
static size_t read_escape(struct reader *in, char *to)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *letter = in->s < in->end && *in->s != '\0' ? strchr(letters, *in->s) : NULL;
    if (letter) {
        in->s++;
        *to = meanings[letter - letters];
        return 1;
    }
    int high = in->end - in->s >= 5 && *in->s == 'u' ? hex4(in->s + 1) : -1;
    if (high < 0)
        return 0;
    in->s += 5;
    if (high < 0xd800 || high > 0xdfff)
        return write_utf8(to, (uint32_t)high);
    int low = high < 0xdc00 && in->end - in->s >= 6 && in->s[0] == '\\' && in->s[1] == 'u' ? hex4(in->s + 2) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    in->s += 6;
    return write_utf8(to, 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00));
}

static bool read_string(struct reader *in, struct ow_bytes *ret)
{
    const char *from = ++in->s;
    const char *quote = from;
    while (quote < in->end && *quote != '"')
        quote += *quote == '\\' && quote + 1 < in->end ? 2 : 1;
    if (quote >= in->end)
        return fail(in, "a string without its end");
    char *copy = ow_dbz_alloc(in->arena, (size_t)(quote - from) + 1);
    if (!copy)
        return fail(in, "out of memory");
    size_t size = 0;
    while (in->s < quote) {
        if ((unsigned char)*in->s < 0x20)
            return fail(in, "a control character in a string");
        if (*in->s != '\\') {
            copy[size++] = *in->s++;
            continue;
        }
        in->s++;
        size_t length = read_escape(in, copy + size);
        if (length == 0)
            return fail(in, "a bad escape in a string");
        size += length;
    }
    in->s = quote + 1;
    *ret = (struct ow_bytes){copy, size};
    return true;
}

/* --- numbers ----------------------------------------------------------------------------------------------- */

static size_t pass_digits(struct reader *in)
{
    size_t count = 0;
    for (; peek(in) >= '0' && peek(in) <= '9'; count++)
        in->s++;
    return count;
}

static struct ow_dbz_node *integer_node(struct reader *in, const char *text)
{
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    bool is_big = errno != 0;
    struct ow_dbz_node *node = node_new(in, is_big                                       ? OW_DBZ_NODE_BIG
                                            : number >= INT32_MIN && number <= INT32_MAX ? OW_DBZ_NODE_INT32
                                                                                         : OW_DBZ_NODE_INT64);
    if (node)
        node->value = ow_dbz_integer(number);
    return node;
}

static struct ow_dbz_node *read_number(struct reader *in)
{
    const char *from = in->s;
    if (peek(in) == '-')
        in->s++;
    bool has_zero = peek(in) == '0', is_integer = true;
    size_t digits = pass_digits(in);
    if (digits == 0 || (has_zero && digits > 1))
        return fail(in, "not a value of JSON");
    if (peek(in) == '.') {
        in->s++;
        is_integer = false;
        size_t more = pass_digits(in);
        if (more == 0)
            return fail(in, "a number without digits after its point");
        digits += more;
    }
    if (peek(in) == 'e' || peek(in) == 'E') {
        in->s++;
        is_integer = false;
        if (peek(in) == '+' || peek(in) == '-')
            in->s++;
        size_t more = pass_digits(in);
        if (more == 0)
            return fail(in, "a number without digits in its exponent");
        digits += more;
    }
    int next = peek(in);
    if (in->levels == 0 && next >= 0 && !strchr(" \t\n\r", next))
        return fail(in, "not a value of JSON");
    if (digits > DIGITS_MAX)
        return fail(in, "a number of more than 1000 digits");
    char text[DIGITS_MAX + 8];
    memcpy(text, from, (size_t)(in->s - from));
    text[in->s - from] = '\0';
    if (is_integer)
        return integer_node(in, text);
    struct ow_dbz_node *node = node_new(in, OW_DBZ_NODE_DOUBLE);
    if (node)
        node->value = (struct ow_dbz_value){.as.number = strtod(text, NULL)};
    return node;
}

/* --- what holds others ------------------------------------------------------------------------------------- */

struct link {
    struct link *next;
    struct ow_dbz_node *node;
};

/* Of members of the same name only the last stays, at the place of the first. */
static size_t unite(struct reader *in, struct ow_dbz_node **items, size_t count)
{
    size_t slots = 16, kept = 0;
    while (slots < count * 2)
        slots *= 2;
    struct ow_dbz_node ***table = ow_dbz_alloc_array(in->arena, slots, sizeof(*table));
    if (!table) {
        (void)fail(in, "out of memory");
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        size_t slot = (size_t)ow_hash(items[i]->name) & (slots - 1);
        while (table[slot] && !ow_bytes_equal((*table[slot])->name, items[i]->name))
            slot = (slot + 1) & (slots - 1);
        if (table[slot]) {
            *table[slot] = items[i];
        } else {
            items[kept] = items[i];
            table[slot] = &items[kept++];
        }
    }
    return kept;
}

static bool take_items(struct reader *in, struct ow_dbz_node *node, const struct link *links, size_t count)
{
    node->items = ow_dbz_alloc_array(in->arena, count, sizeof(*node->items));
    if (!node->items)
        return fail(in, "out of memory");
    for (size_t i = count; i > 0; i--, links = links->next)
        node->items[i - 1] = links->node;
    node->count = node->kind == OW_DBZ_NODE_OBJECT && count > 1 ? unite(in, node->items, count) : count;
    return !in->why;
}

static struct ow_dbz_node *read_member(struct reader *in, bool has_name)
{
    struct ow_bytes name = OW_NULL_BYTES;
    skip_blanks(in);
    if (has_name) {
        if (peek(in) != '"')
            return fail(in, "a member without a name");
        if (!read_string(in, &name))
            return NULL;
        skip_blanks(in);
        if (peek(in) != ':')
            return fail(in, "a name without a colon after it");
        in->s++;
    }
    struct ow_dbz_node *node = read_value(in);
    if (node)
        node->name = name;
    return node;
}

static struct ow_dbz_node *read_container(struct reader *in)
{
    bool is_object = *in->s++ == '{';
    int close = is_object ? '}' : ']';
    struct ow_dbz_node *node = node_new(in, is_object ? OW_DBZ_NODE_OBJECT : OW_DBZ_NODE_ARRAY);
    if (!node || ++in->levels > LEVELS_MAX)
        return fail(in, "more than 1000 levels");
    struct link *last = NULL;
    size_t count = 0;
    skip_blanks(in);
    while (peek(in) != close || count > 0) {
        struct link *link = ow_dbz_alloc(in->arena, sizeof(*link));
        if (!link)
            return fail(in, "out of memory");
        *link = (struct link){last, read_member(in, is_object)};
        if (!link->node)
            return NULL;
        last = link;
        count++;
        skip_blanks(in);
        if (peek(in) == close)
            break;
        if (peek(in) != ',')
            return fail(in, "neither a comma nor the end after a value");
        in->s++;
    }
    in->s++;
    in->levels--;
    return take_items(in, node, last, count) ? node : NULL;
}

static struct ow_dbz_node *read_word(struct reader *in)
{
    static const struct {
        const char *text;
        enum ow_dbz_node_kind kind;
        bool is_true;
    } words[] = {
        {"null", OW_DBZ_NODE_NULL, false}, {"true", OW_DBZ_NODE_BOOLEAN, true}, {"false", OW_DBZ_NODE_BOOLEAN, false}};
    for (size_t i = 0; i < 3; i++) {
        size_t size = strlen(words[i].text);
        if ((size_t)(in->end - in->s) < size || memcmp(in->s, words[i].text, size) != 0)
            continue;
        in->s += size;
        struct ow_dbz_node *node = node_new(in, words[i].kind);
        if (node)
            node->value = (struct ow_dbz_value){.is_null = i == 0, .as.boolean = words[i].is_true};
        return node;
    }
    return fail(in, "not a value of JSON");
}

static struct ow_dbz_node *read_value(struct reader *in)
{
    skip_blanks(in);
    int c = peek(in);
    if (c == '{' || c == '[')
        return read_container(in);
    if (c == '-' || (c >= '0' && c <= '9'))
        return read_number(in);
    if (c != '"')
        return read_word(in);
    struct ow_dbz_node *node = node_new(in, OW_DBZ_NODE_STRING);
    if (!node || !read_string(in, &node->value.as.bytes))
        return NULL;
    return node;
}

struct ow_dbz_node *ow_dbz_tree_read(struct ow_dbz_arena *arena, struct ow_bytes text, const char **ret_why)
{
    struct reader in = {arena, text.data, text.data + text.size, NULL, 0};
    struct ow_dbz_node *node = ow_utf8_is_valid(text) ? read_value(&in) : fail(&in, "not UTF-8");
    *ret_why = in.why;
    return node;
}
