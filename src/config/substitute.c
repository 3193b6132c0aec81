/* SPDX-License-Identifier: Apache-2.0 */
#include "config/substitute.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/units.h"

#define VARIABLE_SIZE_MAX 255
#define PATH_SIZE_MAX     4095

struct substitution {
    const struct ow_substitution_world *world;
    struct ow_buf *to;
    size_t start; /* of the result in `to` */
    bool is_template;
    const char *text; /* the scalar: errors count characters from here */
    struct ow_error *err;
};

static int substitute(struct substitution *s, struct ow_bytes text, unsigned depth);

static size_t place_of(const struct substitution *s, const char *at)
{
    size_t n = 1;
    for (const char *c = s->text; c < at; c++)
        n += ((unsigned char)*c & 0xc0) != 0x80; /* characters, not bytes */
    return n;
}

/* Appends a run of bytes, within the bound. */
static int put(struct substitution *s, struct ow_bytes bytes)
{
    if (s->to->size - s->start + bytes.size > OW_SUBSTITUTE_SIZE_MAX)
        return ow_error_set(s->err, OW_ETOOBIG, "the value is longer than 16KiB; use a shorter one");
    ow_buf_add_bytes(s->to, bytes);
    return ow_buf_check(s->to, s->err);
}

/* The brace that closes the one before `from`; NULL: there is none. */
static const char *find_close(const char *from, const char *end)
{
    unsigned depth = 1;
    for (const char *c = from; c < end; c++) {
        if (*c == '$' && c + 1 < end && (c[1] == '$' || c[1] == '{')) {
            depth += c[1] == '{';
            c++;
        } else if (*c == '}' && --depth == 0) {
            return c;
        }
    }
    return NULL;
}

static size_t name_size(struct ow_bytes inside)
{
    size_t n = 0;
    for (; n < inside.size; n++) {
        char c = inside.data[n];
        bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!is_letter && !(n > 0 && c >= '0' && c <= '9'))
            break;
    }
    return n;
}

static int put_file(struct substitution *s, struct ow_bytes path)
{
    char name[PATH_SIZE_MAX + 1];
    if (path.size == 0 || path.size > PATH_SIZE_MAX || memchr(path.data, '\0', path.size) ||
        memchr(path.data, '$', path.size))
        return ow_error_set(s->err, OW_EINVALID,
                            "\"${file:\" needs the path of a file, without a dollar sign: "
                            "${file:/run/secrets/url}");
    memcpy(name, path.data, path.size);
    name[path.size] = '\0';
    OW_CLEANUP(ow_buf_done) struct ow_buf content = {0};
    int r = s->world->read_file(s->world->context, name, OW_SUBSTITUTE_SIZE_MAX, &content, s->err);
    if (r < 0)
        return r;
    struct ow_bytes bytes = ow_buf_bytes(&content);
    if (bytes.size > 0 && bytes.data[bytes.size - 1] == '\n')
        bytes.size -= bytes.size > 1 && bytes.data[bytes.size - 2] == '\r' ? 2 : 1;
    return put(s, bytes);
}

static int put_variable(struct substitution *s, struct ow_bytes inside, const char *at, unsigned depth)
{
    size_t n = name_size(inside);
    struct ow_bytes rest = {inside.data + n, inside.size - n};
    bool has_default = rest.size >= 2 && rest.data[0] == ':' && rest.data[1] == '-';
    bool has_message = rest.size >= 2 && rest.data[0] == ':' && rest.data[1] == '?';
    if (n == 0 || n > VARIABLE_SIZE_MAX || (rest.size > 0 && !has_default && !has_message))
        return ow_error_set(s->err, OW_EINVALID,
                            "character %zu: this is no substitution; write ${NAME}, ${NAME:-default}, "
                            "${NAME:?message} or ${file:PATH}, and $$ for a dollar sign",
                            place_of(s, at));
    char name[VARIABLE_SIZE_MAX + 1];
    memcpy(name, inside.data, n);
    name[n] = '\0';
    const char *value = s->world->get_variable(s->world->context, name);
    if (value && (*value || rest.size == 0))
        return put(s, ow_bytes_of(value));
    if (has_default)
        return substitute(s, (struct ow_bytes){rest.data + 2, rest.size - 2}, depth + 1);
    const char *state = value ? "is empty" : "is not set";
    if (has_message && rest.size > 2)
        return ow_error_set(s->err, OW_EINVALID, "variable %s %s: %.*s", name, state,
                            OW_PRINT(((struct ow_bytes){rest.data + 2, rest.size - 2})));
    if (s->is_template)
        return ow_error_set(s->err, OW_EINVALID,
                            "variable %s %s; set it, or write ${%s:-default}; a field of the message is ${!%s}", name,
                            state, name, name);
    return ow_error_set(s->err, OW_EINVALID, "variable %s %s; set it, or write ${%s:-default}", name, state, name);
}

/* What stands at `at`, which is a dollar sign; *ret_next is where the text goes on. */
static int put_dollar(struct substitution *s, const char *at, const char *end, unsigned depth, const char **ret_next)
{
    if (at + 1 < end && at[1] == '$') {
        *ret_next = at + 2;
        return put(s, s->is_template ? OW_BYTES("$$") : OW_BYTES("$"));
    }
    if (at + 1 >= end || at[1] != '{')
        return ow_error_set(s->err, OW_EINVALID,
                            "character %zu: a dollar sign alone; write ${NAME} for a variable, $$ for a dollar sign",
                            place_of(s, at));
    const char *close = find_close(at + 2, end);
    if (!close)
        return ow_error_set(s->err, OW_EINVALID, "character %zu: \"${\" is never closed; add \"}\"", place_of(s, at));
    *ret_next = close + 1;
    struct ow_bytes inside = {at + 2, (size_t)(close - at - 2)};
    if (inside.size > 0 && inside.data[0] == '!') {
        if (s->is_template)
            return put(s, (struct ow_bytes){at, (size_t)(close + 1 - at)});
        return ow_error_set(s->err, OW_EINVALID,
                            "character %zu: ${!FIELD} is a field of a message and belongs into topic and key; "
                            "a variable is ${NAME}",
                            place_of(s, at));
    }
    if (inside.size >= 5 && memcmp(inside.data, "file:", 5) == 0)
        return put_file(s, (struct ow_bytes){inside.data + 5, inside.size - 5});
    return put_variable(s, inside, at, depth);
}

static int substitute(struct substitution *s, struct ow_bytes text, unsigned depth)
{
    const char *at = text.data, *end = text.data + text.size;
    if (depth > OW_SUBSTITUTE_DEPTH_MAX)
        return ow_error_set(s->err, OW_EINVALID, "defaults stand within defaults more than %d deep; use fewer",
                            OW_SUBSTITUTE_DEPTH_MAX);
    while (at < end) {
        const char *dollar = memchr(at, '$', (size_t)(end - at));
        const char *stop = dollar ? dollar : end;
        int r = put(s, (struct ow_bytes){at, (size_t)(stop - at)});
        if (r < 0)
            return r;
        at = stop;
        if (dollar) {
            r = put_dollar(s, dollar, end, depth, &at);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

int ow_substitute(struct ow_bytes text, bool is_template, const struct ow_substitution_world *world, struct ow_buf *to,
                  struct ow_error *err)
{
    struct substitution s = {
        .world = world, .to = to, .start = to->size, .is_template = is_template, .text = text.data, .err = err};
    return substitute(&s, text, 0);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

int ow_config_read_file(const char *path, size_t size_max, struct ow_buf *to, struct ow_error *err)
{
    OW_CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return ow_error_errno(err, errno, "cannot read \"%s\"", path);
    size_t start = to->size;
    for (;;) {
        char *room = ow_buf_reserve(to, 4096);
        if (!room)
            return ow_buf_check(to, err);
        ssize_t n = read(fd, room, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ow_error_errno(err, errno, "cannot read \"%s\"", path);
        if (n == 0)
            return 0;
        to->size += (size_t)n;
        if (to->size - start > size_max) {
            char limit[OW_UNIT_TEXT_SIZE];
            return ow_error_set(err, OW_ETOOBIG, "\"%s\" is larger than %s", path,
                                ow_size_format((int64_t)size_max, limit));
        }
    }
}

static const char *get_variable(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

static int read_file(void *context, const char *path, size_t size_max, struct ow_buf *to, struct ow_error *err)
{
    (void)context;
    return ow_config_read_file(path, size_max, to, err);
}

const struct ow_substitution_world ow_substitution_world_real = {get_variable, read_file, NULL};
