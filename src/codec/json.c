/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json.h"

#include "base/log.h"

/* What may come next. */
enum state {
    VALUE,         /* a value */
    FIRST_ELEMENT, /* a value or ] */
    FIRST_KEY,     /* a key or } */
    AFTER_VALUE,   /* a comma or the end of what is open */
    DONE,          /* blanks */
};

void ow_json_init(struct ow_json *json, struct ow_bytes text)
{
    *json = (struct ow_json){.input = {text.data ? text.data : "", text.size}, .state = VALUE};
}

static int fail_again(const struct ow_json *json, struct ow_error *err)
{
    return ow_error_set(err, OW_EINVALID, "not JSON: %s at byte %zu", json->error, json->error_at + 1);
}

static int fail(struct ow_json *json, size_t at, const char *what, struct ow_error *err)
{
    json->error = what;
    json->error_at = at;
    return fail_again(json, err);
}

static int peek(const struct ow_json *json)
{
    return json->at < json->input.size ? (unsigned char)json->input.data[json->at] : -1;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static void skip_blanks(struct ow_json *json)
{
    for (int c = peek(json); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = peek(json))
        json->at++;
}

static bool is_in_object(const struct ow_json *json)
{
    unsigned level = json->depth - 1;
    return json->depth > 0 && (json->is_object[level / 64] >> (level % 64) & 1) != 0;
}

static int set_token(struct ow_json *json, enum ow_json_token token, size_t start, size_t end)
{
    json->token = token;
    json->text = (struct ow_bytes){json->input.data + start, end - start};
    return (int)token;
}

static int open_level(struct ow_json *json, bool is_object, struct ow_error *err)
{
    if (json->depth == OW_JSON_DEPTH_MAX)
        return fail(json, json->at, "more than 128 levels", err);
    uint64_t bit = (uint64_t)1 << (json->depth % 64);
    uint64_t *word = &json->is_object[json->depth / 64];
    *word = is_object ? *word | bit : *word & ~bit;
    json->depth++;
    json->at++;
    json->state = is_object ? FIRST_KEY : FIRST_ELEMENT;
    return set_token(json, is_object ? OW_JSON_OBJECT_BEGIN : OW_JSON_ARRAY_BEGIN, json->at - 1, json->at);
}

static int close_level(struct ow_json *json)
{
    bool is_object = is_in_object(json);
    json->depth--;
    json->at++;
    json->state = json->depth ? AFTER_VALUE : DONE;
    return set_token(json, is_object ? OW_JSON_OBJECT_END : OW_JSON_ARRAY_END, json->at - 1, json->at);
}

/* Four hexadecimal digits at s, or -1. */
static int hex4(const char *s)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)s[i] | 0x20;
        if (is_digit(s[i]))
            value = value * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (c - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* Reads the escape at s, which starts with the backslash. The code point, or -1. */
static int32_t read_escape(const char *s, const char *end, size_t *ret_length)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (end - s < 2)
        return -1;
    *ret_length = 2;
    const char *letter = s[1] ? strchr(letters, s[1]) : NULL;
    if (letter)
        return meanings[letter - letters];
    if (s[1] != 'u' || end - s < 6)
        return -1;
    *ret_length = 6;
    int high = hex4(s + 2);
    if (high < 0xd800 || high > 0xdfff)
        return high;
    int low = high < 0xdc00 && end - s >= 12 && s[6] == '\\' && s[7] == 'u' ? hex4(s + 8) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    *ret_length = 12;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* Past the bytes that end no string, begin no escape and are no control characters: whole eights of them. */
static const char *pass_plain(const char *s, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    for (uint64_t word; end - s >= 8; s += 8) {
        memcpy(&word, s, 8);
        uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
        uint64_t found = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((word - ones * 0x20) & ~word);
        if (found & highs)
            break;
    }
    return s;
}

static int read_string(struct ow_json *json, enum ow_json_token token, struct ow_error *err)
{
    const char *data = json->input.data, *end = data + json->input.size;
    size_t quote = json->at;
    const char *s = data + quote + 1;
    json->has_escapes = false;
    for (s = pass_plain(s, end); s < end && *s != '"';) {
        if ((unsigned char)*s < 0x20)
            return fail(json, (size_t)(s - data), "a control character in a string", err);
        if (*s != '\\') {
            s++;
            continue;
        }
        size_t length = 0;
        if (read_escape(s, end, &length) < 0)
            return fail(json, (size_t)(s - data), "a bad escape in a string", err);
        json->has_escapes = true;
        s = pass_plain(s + length, end);
    }
    if (s == end)
        return fail(json, quote, "a string without its end", err);
    json->at = (size_t)(s - data) + 1;
    if (!ow_utf8_is_valid((struct ow_bytes){data + quote + 1, json->at - quote - 2}))
        return fail(json, quote, "a string that is not UTF-8", err);
    return set_token(json, token, quote + 1, json->at - 1);
}

static bool pass_digits(struct ow_json *json)
{
    size_t start = json->at;
    while (is_digit(peek(json)))
        json->at++;
    return json->at > start;
}

static int read_number(struct ow_json *json, struct ow_error *err)
{
    size_t start = json->at;
    if (peek(json) == '-')
        json->at++;
    bool is_good = true;
    if (peek(json) == '0')
        json->at++;
    else
        is_good = pass_digits(json);
    if (is_good && peek(json) == '.') {
        json->at++;
        is_good = pass_digits(json);
    }
    if (is_good && (peek(json) == 'e' || peek(json) == 'E')) {
        json->at++;
        if (peek(json) == '+' || peek(json) == '-')
            json->at++;
        is_good = pass_digits(json);
    }
    if (!is_good || is_digit(peek(json)))
        return fail(json, start, "a bad number", err);
    return set_token(json, OW_JSON_NUMBER, start, json->at);
}

static int read_word(struct ow_json *json, struct ow_error *err)
{
    static const struct {
        const char *text;
        enum ow_json_token token;
    } words[] = {{"true", OW_JSON_TRUE}, {"false", OW_JSON_FALSE}, {"null", OW_JSON_NULL}};
    size_t start = json->at, left = json->input.size - start;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t n = strlen(words[i].text);
        if (left >= n && memcmp(json->input.data + start, words[i].text, n) == 0) {
            json->at += n;
            return set_token(json, words[i].token, start, json->at);
        }
    }
    return fail(json, start, left ? "no value" : "the end where a value should be", err);
}

static int read_value(struct ow_json *json, struct ow_error *err)
{
    int c = peek(json);
    json->token_at = json->at;
    if (c == '{' || c == '[')
        return open_level(json, c == '{', err);
    int token = c == '"'                  ? read_string(json, OW_JSON_STRING, err)
                : c == '-' || is_digit(c) ? read_number(json, err)
                                          : read_word(json, err);
    json->state = json->depth ? AFTER_VALUE : DONE;
    return token;
}

static int read_key(struct ow_json *json, struct ow_error *err)
{
    json->token_at = json->at;
    if (peek(json) != '"')
        return fail(json, json->at, "no \"name\" of a member", err);
    int token = read_string(json, OW_JSON_KEY, err);
    if (token < 0)
        return token;
    skip_blanks(json);
    if (peek(json) != ':')
        return fail(json, json->at, "no colon after a name", err);
    json->at++;
    json->state = VALUE;
    return token;
}

int ow_json_next(struct ow_json *json, struct ow_error *err)
{
    if (json->error)
        return fail_again(json, err);
    skip_blanks(json);
    switch ((enum state)json->state) {
    case VALUE:
        return read_value(json, err);
    case FIRST_ELEMENT:
        return peek(json) == ']' ? close_level(json) : read_value(json, err);
    case FIRST_KEY:
        return peek(json) == '}' ? close_level(json) : read_key(json, err);
    case AFTER_VALUE:
        if (peek(json) == (is_in_object(json) ? '}' : ']'))
            return close_level(json);
        if (peek(json) != ',')
            return fail(json, json->at, is_in_object(json) ? "no comma or }" : "no comma or ]", err);
        json->at++;
        skip_blanks(json);
        return is_in_object(json) ? read_key(json, err) : read_value(json, err);
    case DONE:
        break;
    }
    if (json->at < json->input.size)
        return fail(json, json->at, "something after the value", err);
    return set_token(json, OW_JSON_END, json->at, json->at);
}

int ow_json_skip(struct ow_json *json, struct ow_bytes *ret, struct ow_error *err)
{
    if (json->error)
        return fail_again(json, err);
    int token = json->token == OW_JSON_KEY ? ow_json_next(json, err) : (int)json->token;
    size_t start = json->token_at;
    if (token == OW_JSON_OBJECT_BEGIN || token == OW_JSON_ARRAY_BEGIN)
        for (unsigned outside = json->depth - 1; token >= 0 && json->depth > outside;)
            token = ow_json_next(json, err);
    if (token < 0)
        return token;
    if (ret)
        *ret = (struct ow_bytes){json->input.data + start, json->at - start};
    return 0;
}

/* A code point that is no surrogate. */
static size_t put_utf8(char *to, int32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3f));
    static const int leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    to[0] = (char)(leads[size] | code);
    return size;
}

int ow_json_string(const struct ow_json *json, struct ow_buf *scratch, struct ow_bytes *ret, struct ow_error *err)
{
    if (!json->has_escapes) {
        *ret = json->text;
        return 0;
    }
    const char *s = json->text.data, *end = s + json->text.size;
    /* No escape is shorter than what it stands for. */
    char *to = ow_buf_reserve(scratch, json->text.size), *start = to;
    if (!to)
        return ow_buf_check(scratch, err);
    while (s < end) {
        const char *run = s;
        while (s < end && *s != '\\')
            s++;
        memcpy(to, run, (size_t)(s - run));
        to += s - run;
        if (s == end)
            break;
        size_t length = 0;
        int32_t code = read_escape(s, end, &length);
        to += put_utf8(to, code);
        s += length;
    }
    *to = '\0';
    *ret = (struct ow_bytes){start, (size_t)(to - start)};
    scratch->size += ret->size;
    return 0;
}

void ow_json_write_string(struct ow_buf *to, struct ow_bytes text)
{
    if (!text.data) {
        ow_buf_add_text(to, "null");
        return;
    }
    ow_buf_add_char(to, '"');
    ow_json_escape(to, text);
    ow_buf_add_char(to, '"');
}
