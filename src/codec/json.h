/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON: a small reader and writer (RFC 8259). Nothing is turned into a tree or into a double: numbers
 * stay the text that they are, and a string is copied only where it has escapes in it.
 *
 * The reader is pulled, one token a call, and holds no memory of its own:
 *
 *     struct ow_json json;
 *     ow_json_init(&json, text);
 *     while ((token = ow_json_next(&json, err)) > 0) …
 *
 * It is strict: one value and nothing after it, strings of valid UTF-8, no half of a surrogate pair, at
 * most OW_JSON_DEPTH_MAX levels. The first error stays: every later call returns it again. Errors are
 * OW_EINVALID, "not JSON: <what> at byte <counted from 1>".
 *
 *   json.c           the reader, pulled; strings, written
 *   json_path.c      the value at a path
 *   json_headers.c   headers as an object
 *   json_value.c     single values of our own formats: see json_value.h
 */
#ifndef OW_CODEC_JSON_H
#define OW_CODEC_JSON_H

#include "base/bytes.h"
#include "core/message.h"

#define OW_JSON_DEPTH_MAX 128

enum ow_json_token {
    OW_JSON_END, /* the one value is complete, and nothing but blanks follows */
    OW_JSON_OBJECT_BEGIN,
    OW_JSON_OBJECT_END,
    OW_JSON_ARRAY_BEGIN,
    OW_JSON_ARRAY_END,
    OW_JSON_KEY,
    OW_JSON_STRING,
    OW_JSON_NUMBER,
    OW_JSON_TRUE,
    OW_JSON_FALSE,
    OW_JSON_NULL,
};

struct ow_json {
    enum ow_json_token token; /* the one just read */
    struct ow_bytes text;     /* as written; of a KEY or STRING what stands between the quotes, still escaped */
    bool has_escapes;         /* of a KEY or STRING */
    unsigned depth;           /* objects and arrays open now */
    /* private to json.c */
    struct ow_bytes input;
    size_t at, token_at, error_at;
    const char *error;
    int state;
    uint64_t is_object[OW_JSON_DEPTH_MAX / 64];
};

/* The text is borrowed for as long as the reader is used. */
void ow_json_init(struct ow_json *json, struct ow_bytes text);
/* An enum ow_json_token, or < 0. */
int ow_json_next(struct ow_json *json, struct ow_error *err) OW_MUST_CHECK;
/* Passes over the value whose first token was just read, or, after a KEY, over the value of that key.
 *ret (may be NULL) is its JSON text. */
int ow_json_skip(struct ow_json *json, struct ow_bytes *ret, struct ow_error *err) OW_MUST_CHECK;
/* The KEY or STRING just read, unescaped: inside the text, or appended to `scratch` if there are escapes.
   Earlier results move when scratch grows; reserve the size of the whole text first, which is enough. */
int ow_json_string(const struct ow_json *json, struct ow_buf *scratch, struct ow_bytes *ret,
                   struct ow_error *err) OW_MUST_CHECK;

/* An ow_route_lookup: the scalar at a path such as "a.b.0.c" (numbers index arrays), appended as text:
   strings unescaped, numbers and booleans as written. Where a name stands twice in an object the last one
   counts. 1: found; 0: null, or not there; < 0: not JSON, or an object or array is there (OW_EINVALID). */
int ow_json_lookup(struct ow_bytes text, struct ow_bytes path, struct ow_buf *to, struct ow_error *err);

/* The same, but an object or array is found too, as its JSON text. */
int ow_json_lookup_any(struct ow_bytes text, struct ow_bytes path, struct ow_buf *to, struct ow_error *err);

/* An object of headers, in its order: strings unescaped, numbers and booleans as their text, null as a null
   value, nested values as their JSON text. No headers: an empty object, JSON null, blank or null bytes.
   What is found points into `text` or `scratch` (which is appended to, and may move: see ow_json_string).
   OW_EINVALID: not JSON, not an object; OW_ETOOBIG: more than `max`; OW_ENOMEM. */
int ow_json_read_headers(struct ow_bytes text, struct ow_header *headers, size_t max, size_t *ret_count,
                         struct ow_buf *scratch, struct ow_error *err) OW_MUST_CHECK;

/* "text" with its quotes, or null for null bytes. What is not UTF-8 is replaced by U+FFFD: ask
   ow_utf8_is_valid() first where that matters. */
void ow_json_write_string(struct ow_buf *to, struct ow_bytes text);
/* {"name":"value",…}, {} for none: what ow_json_read_headers() reads back as it was. */
void ow_json_write_headers(struct ow_buf *to, const struct ow_header *headers, size_t count);

#endif
