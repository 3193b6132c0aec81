/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_regex.h"

#include <stdlib.h>

#if OW_WITH_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#endif

/* One piece of a replacement. */
struct piece {
    struct ow_bytes text; /* as it is; null: the group */
    uint32_t group;
};

#define PIECES_MAX 64

struct ow_java_regex {
    struct ow_buf texts; /* what the pieces point into; reserved at first, so that it never moves */
    struct piece pieces[PIECES_MAX];
    size_t piece_count;
    bool is_whole; /* (.*) or (?<name>.*): one group, which is everything */
    struct ow_buf only_name;
#if OW_WITH_PCRE2
    pcre2_code *whole, *first;
    pcre2_match_data *matches;
    pcre2_match_context *context;
#endif
};

void ow_java_regex_free(struct ow_java_regex *regex)
{
    if (!regex)
        return;
#if OW_WITH_PCRE2
    pcre2_code_free(regex->whole);
    pcre2_code_free(regex->first);
    pcre2_match_data_free(regex->matches);
    pcre2_match_context_free(regex->context);
#endif
    ow_buf_done(&regex->texts);
    ow_buf_done(&regex->only_name);
    free(regex);
}

static bool is_name_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* (.*) and (?<name>.*) */
static bool take_whole(struct ow_java_regex *regex, struct ow_bytes pattern)
{
    if (ow_bytes_is(pattern, "(.*)"))
        return true;
    if (pattern.size < 8 || memcmp(pattern.data, "(?<", 3) != 0 ||
        memcmp(pattern.data + pattern.size - 4, ">.*)", 4) != 0)
        return false;
    for (size_t i = 3; i < pattern.size - 4; i++)
        if (!is_name_letter(pattern.data[i]))
            return false;
    ow_buf_add(&regex->only_name, pattern.data + 3, pattern.size - 7);
    return true;
}

static uint32_t group_count(const struct ow_java_regex *regex)
{
    uint32_t count = 1;
#if OW_WITH_PCRE2
    if (!regex->is_whole)
        (void)pcre2_pattern_info(regex->first, PCRE2_INFO_CAPTURECOUNT, &count);
#else
    (void)regex;
#endif
    return count;
}

/* Its number, or -1. */
static int group_named(const struct ow_java_regex *regex, struct ow_bytes name)
{
    if (regex->is_whole)
        return regex->only_name.size > 0 && ow_bytes_equal(ow_buf_bytes(&regex->only_name), name) ? 1 : -1;
#if OW_WITH_PCRE2
    char text[64];
    if (name.size == 0 || name.size >= sizeof(text))
        return -1;
    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    int number = pcre2_substring_number_from_name(regex->first, (PCRE2_SPTR)text);
    return number > 0 ? number : -1;
#else
    return -1;
#endif
}

/* --- the replacement ----------------------------------------------------------------------------------------- */

static int add_text_piece(struct ow_java_regex *regex, struct ow_bytes text, struct ow_error *err)
{
    if (text.size == 0)
        return 0;
    if (regex->piece_count == PIECES_MAX)
        return ow_error_set(err, OW_ECONFIG, "a replacement of more than %d parts", PIECES_MAX);
    regex->pieces[regex->piece_count++] = (struct piece){text, 0};
    return 0;
}

/* After the dollar sign; *at moves behind it. */
static int add_group_piece(struct ow_java_regex *regex, struct ow_bytes text, size_t *at, struct ow_error *err)
{
    int group = -1;
    if (*at < text.size && text.data[*at] == '{') {
        const char *from = text.data + *at + 1;
        const char *close = memchr(from, '}', text.size - *at - 1);
        struct ow_bytes name = close ? (struct ow_bytes){from, (size_t)(close - from)} : OW_NULL_BYTES;
        group = close ? group_named(regex, name) : -1;
        if (group < 0)
            return ow_error_set(err, OW_ECONFIG,
                                "the replacement names a group \"%.*s\", which the expression does not have",
                                OW_PRINT(name));
        *at += name.size + 2;
    } else if (*at < text.size && text.data[*at] >= '0' && text.data[*at] <= '9') {
        uint32_t count = group_count(regex), number = (uint32_t)(text.data[(*at)++] - '0');
        if (number > count)
            return ow_error_set(err, OW_ECONFIG, "the replacement has a group $%u, the expression only %u", number,
                                count);
        while (*at < text.size && text.data[*at] >= '0' && text.data[*at] <= '9' &&
               number * 10 + (uint32_t)(text.data[*at] - '0') <= count)
            number = number * 10 + (uint32_t)(text.data[(*at)++] - '0');
        group = (int)number;
    }
    if (group < 0)
        return ow_error_set(err, OW_ECONFIG,
                            "a dollar sign in the replacement that begins no group; write \\$ for the sign itself");
    if (regex->piece_count == PIECES_MAX)
        return ow_error_set(err, OW_ECONFIG, "a replacement of more than %d parts", PIECES_MAX);
    regex->pieces[regex->piece_count++] = (struct piece){OW_NULL_BYTES, (uint32_t)group};
    return 0;
}

static int parse_replacement(struct ow_java_regex *regex, struct ow_bytes text, struct ow_error *err)
{
    if (!ow_buf_reserve(&regex->texts, text.size + 1))
        return ow_buf_check(&regex->texts, err);
    size_t from = 0;
    for (size_t at = 0; at < text.size;) {
        char c = text.data[at++];
        if (c == '\\' && at == text.size)
            return ow_error_set(err, OW_ECONFIG, "a backslash at the end of the replacement");
        if (c != '$') {
            ow_buf_add_char(&regex->texts, c == '\\' ? text.data[at++] : c);
            continue;
        }
        struct ow_bytes before = {regex->texts.data + from, regex->texts.size - from};
        from = regex->texts.size;
        int r = add_text_piece(regex, before, err);
        if (r == 0)
            r = add_group_piece(regex, text, &at, err);
        if (r != 0)
            return r;
    }
    return add_text_piece(regex, (struct ow_bytes){regex->texts.data + from, regex->texts.size - from}, err);
}

/* --- the expression ------------------------------------------------------------------------------------------ */

#if OW_WITH_PCRE2
static const char *const properties[][2] = {
    {"Lower", "a-z"},         {"Upper", "A-Z"},
    {"Alpha", "a-zA-Z"},      {"Digit", "0-9"},
    {"Alnum", "a-zA-Z0-9"},   {"Punct", "!-\\/:-@\\[-`{-~"},
    {"Graph", "!-~"},         {"Print", " -~"},
    {"Blank", " \\t"},        {"Cntrl", "\\x00-\\x1f\\x7f"},
    {"XDigit", "0-9a-fA-F"},  {"Space", " \\t\\n\\x0b\\f\\r"},
    {"ASCII", "\\x00-\\x7f"},
};

/* \p{Alpha} and its like are of ASCII in Java; at "{" after \p or \P. */
static bool add_property(struct ow_buf *to, const char **s, const char *end, bool is_negated, bool is_in_class)
{
    const char *close = memchr(*s, '}', (size_t)(end - *s));
    if (**s != '{' || !close)
        return false;
    struct ow_bytes name = {*s + 1, (size_t)(close - *s - 1)};
    for (size_t i = 0; i < sizeof(properties) / sizeof(*properties); i++) {
        if (!ow_bytes_is(name, properties[i][0]))
            continue;
        if (is_in_class && is_negated)
            return false;
        ow_buf_printf(to, is_in_class ? "%s" : is_negated ? "[^%s]" : "[%s]", properties[i][1]);
        *s = close + 1;
        return true;
    }
    /* Unicode: IsAlphabetic, IsLatin, L, Lu … */
    if (name.size > 2 && memcmp(name.data, "Is", 2) == 0)
        name = (struct ow_bytes){name.data + 2, name.size - 2};
    ow_buf_printf(to, "\\%c{", is_negated ? 'P' : 'p');
    ow_buf_add_bytes(to, name);
    ow_buf_add_char(to, '}');
    *s = close + 1;
    return true;
}

/* After a backslash. */
static bool add_escape(struct ow_buf *to, const char **s, const char *end, bool is_in_class)
{
    char c = *(*s)++;
    size_t left = (size_t)(end - *s);
    if (c == 'u' && left >= 4) {
        ow_buf_printf(to, "\\x{%.4s}", *s);
        *s += 4;
        return true;
    }
    if (c == '0') {
        size_t digits = 0;
        while (digits < 3 && digits < left && (*s)[digits] >= '0' && (*s)[digits] <= '7')
            digits++;
        ow_buf_printf(to, "\\o{%.*s}", (int)digits, *s);
        *s += digits;
        return digits > 0;
    }
    if ((c == 'p' || c == 'P') && left > 0 && **s == '{')
        return add_property(to, s, end, c == 'P', is_in_class);
    ow_buf_add_char(to, '\\');
    ow_buf_add_char(to, c);
    return true;
}

static const char *check_group(const char *s, const char *end)
{
    if (s < end && *s == '*')
        return "a quantifier without what it repeats";
    if (end - s < 2 || *s != '?')
        return NULL;
    if (strchr("RP&|'C+0123456789(", s[1]))
        return "a kind of group that Java does not have";
    for (const char *flag = s + 1;
         flag < end && ((*flag >= 'a' && *flag <= 'z') || (*flag >= 'A' && *flag <= 'Z') || *flag == '-'); flag++)
        if (strchr("UudJn", *flag))
            return "a flag that is not carried over (only i, m, s and x are)";
    return NULL;
}

/* Java's expression in the words of PCRE2. NULL, or why not, with *ret_at. */
static const char *translate(struct ow_bytes pattern, struct ow_buf *to, size_t *ret_at)
{
    const char *s = pattern.data, *end = s + pattern.size, *why = NULL;
    bool is_in_class = false, is_class_begin = false;
    while (s < end && !why) {
        *ret_at = (size_t)(s - pattern.data);
        char c = *s++;
        bool was_begin = is_class_begin;
        is_class_begin = is_in_class && was_begin && c == '^';
        if (c == '\\') {
            if (s < end && *s == 'Q') {
                const char *stop = memmem(s, (size_t)(end - s), "\\E", 2);
                stop = stop ? stop + 2 : end;
                ow_buf_add(to, s - 1, (size_t)(stop - s) + 1);
                s = stop;
            } else if (s == end || !add_escape(to, &s, end, is_in_class)) {
                why = "an escape that is not carried over";
            }
            continue;
        }
        if (is_in_class && c == '[')
            why = "a class inside a class, which is not carried over";
        else if (is_in_class && c == '&' && s < end && *s == '&')
            why = "an intersection of classes (&&), which is not carried over";
        else if (is_in_class && c == ']' && was_begin)
            why = "an empty class";
        else if (!is_in_class && c == '(')
            why = check_group(s, end);
        if (c == '[')
            is_in_class = is_class_begin = true;
        else if (c == ']')
            is_in_class = false;
        ow_buf_add_char(to, c);
    }
    return why;
}

static int compile(struct ow_bytes pattern, uint32_t options, pcre2_code **ret, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf translated = {0};
    size_t at = 0;
    const char *why = translate(pattern, &translated, &at);
    if (why)
        return ow_error_set(err, OW_ECONFIG, "\"%.*s\": %s, at character %zu", OW_PRINT(pattern), why, at + 1);
    int r = ow_buf_check(&translated, err);
    if (r != 0)
        return r;
    int code;
    PCRE2_SIZE offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    (void)pcre2_set_newline(context, PCRE2_NEWLINE_ANY); /* what a point does not match */
    struct ow_bytes text = ow_buf_bytes(&translated);
    *ret = pcre2_compile((PCRE2_SPTR)text.data, text.size, options | PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code,
                         &offset, context);
    pcre2_compile_context_free(context);
    if (!*ret) {
        PCRE2_UCHAR message[160] = "";
        (void)pcre2_get_error_message(code, message, sizeof(message));
        return ow_error_set(err, OW_ECONFIG, "\"%.*s\": %s, near character %zu", OW_PRINT(pattern),
                            (const char *)message, (size_t)offset + 1);
    }
    (void)pcre2_jit_compile(*ret, PCRE2_JIT_COMPLETE); /* slower without */
    return 0;
}

static int compile_both(struct ow_java_regex *regex, struct ow_bytes pattern, struct ow_error *err)
{
    int r = compile(pattern, PCRE2_ANCHORED | PCRE2_ENDANCHORED, &regex->whole, err);
    if (r == 0)
        r = compile(pattern, 0, &regex->first, err);
    if (r != 0)
        return r;
    regex->matches = pcre2_match_data_create_from_pattern(regex->first, NULL);
    regex->context = pcre2_match_context_create(NULL);
    if (!regex->matches || !regex->context)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    (void)pcre2_set_match_limit(regex->context, 1000000);
    return 0;
}
#endif

int ow_java_regex_new(struct ow_bytes pattern, struct ow_bytes replacement, struct ow_java_regex **ret,
                      struct ow_error *err)
{
    struct ow_java_regex *regex = calloc(1, sizeof(*regex));
    if (!regex)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    regex->is_whole = take_whole(regex, pattern);
    int r = ow_buf_check(&regex->only_name, err);
#if OW_WITH_PCRE2
    if (r == 0 && !regex->is_whole)
        r = compile_both(regex, pattern, err);
#else
    if (r == 0 && !regex->is_whole)
        r = ow_error_set(err, OW_ECONFIG,
                         "\"%.*s\": this build knows no regular expressions but (.*): it was made without PCRE2",
                         OW_PRINT(pattern));
#endif
    if (r == 0)
        r = parse_replacement(regex, replacement, err);
    if (r != 0) {
        ow_java_regex_free(regex);
        return r;
    }
    *ret = regex;
    return 0;
}

/* --- routing ------------------------------------------------------------------------------------------------- */

/* Whether a point matches everything in it: no line ends, of which U+0085, U+2028 and U+2029 are some too. */
static bool is_one_line(struct ow_bytes name)
{
    return !memchr(name.data, '\n', name.size) && !memchr(name.data, '\r', name.size) &&
           !memmem(name.data, name.size, "\xc2\x85", 2) && !memmem(name.data, name.size, "\xe2\x80\xa8", 3) &&
           !memmem(name.data, name.size, "\xe2\x80\xa9", 3);
}

static int route_whole(struct ow_java_regex *regex, struct ow_bytes name, struct ow_buf *to, struct ow_error *err)
{
    if (!is_one_line(name)) {
        ow_buf_add_bytes(to, name);
        return ow_buf_check(to, err);
    }
    for (size_t i = 0; i < regex->piece_count; i++)
        ow_buf_add_bytes(to, regex->pieces[i].text.data ? regex->pieces[i].text : name);
    return ow_buf_check(to, err);
}

#if OW_WITH_PCRE2
static int match(struct ow_java_regex *regex, pcre2_code *code, struct ow_bytes name, struct ow_error *err)
{
    int r = pcre2_match(code, (PCRE2_SPTR)name.data, name.size, 0, 0, regex->matches, regex->context);
    if (r >= 0 || r == PCRE2_ERROR_NOMATCH)
        return r >= 0;
    PCRE2_UCHAR message[160] = "";
    (void)pcre2_get_error_message(r, message, sizeof(message));
    return ow_error_set(err, OW_EINVALID, "routing \"%.*s\" by its expression: %s", OW_PRINT(name),
                        (const char *)message);
}

static int route_matching(struct ow_java_regex *regex, struct ow_bytes name, struct ow_buf *to, struct ow_error *err)
{
    int r = match(regex, regex->whole, name, err);
    if (r == 1)
        r = match(regex, regex->first, name, err);
    if (r < 0)
        return r;
    if (r == 0) {
        ow_buf_add_bytes(to, name);
        return ow_buf_check(to, err);
    }
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(regex->matches);
    uint32_t pairs = pcre2_get_ovector_count(regex->matches);
    size_t first = ends[0], last = ends[1] < ends[0] ? ends[0] : ends[1];
    ow_buf_add(to, name.data, first);
    for (size_t i = 0; i < regex->piece_count; i++) {
        uint32_t group = regex->pieces[i].group;
        if (regex->pieces[i].text.data)
            ow_buf_add_bytes(to, regex->pieces[i].text);
        else if (group < pairs && ends[2 * group] != PCRE2_UNSET && ends[2 * group + 1] >= ends[2 * group])
            ow_buf_add(to, name.data + ends[2 * group], ends[2 * group + 1] - ends[2 * group]);
    }
    ow_buf_add(to, name.data + last, name.size - last);
    return ow_buf_check(to, err);
}
#endif

int ow_java_regex_route(struct ow_java_regex *regex, struct ow_bytes name, struct ow_buf *to, struct ow_error *err)
{
    if (!name.data)
        return ow_error_set(err, OW_EINVALID, "no name to route by");
#if OW_WITH_PCRE2
    if (!regex->is_whole)
        return route_matching(regex, name, to, err);
#endif
    return route_whole(regex, name, to, err);
}
