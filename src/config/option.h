/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option: one row of a table that says what may be set: key, type, default, bounds, help, and where the
 * value goes. The same tables drive the reading of YAML and of URLs, the defaults and the reference in
 * the documentation. A table ends with a row whose key is NULL.
 */
#ifndef OW_CONFIG_OPTION_H
#define OW_CONFIG_OPTION_H

#include "base/bytes.h"

enum ow_option_type {
    OW_OPTION_TEXT,      /* char *, owned */
    OW_OPTION_WORDS,     /* char *, owned: a text, or a list of texts, which are joined by ", " */
    OW_OPTION_NAME,      /* char *, owned: 1 to 64 of A-Z a-z 0-9 _ . - */
    OW_OPTION_TEMPLATE,  /* char *, owned: see core/route.h */
    OW_OPTION_STATEMENT, /* char *, owned: SQL with ${!FIELD} in it, see codec/sql_template.h; may have several lines */
    OW_OPTION_URL,       /* char *, owned */
    OW_OPTION_INTEGER,   /* 32 or 64 bits; low .. high */
    OW_OPTION_NUMBER,    /* double; low .. high */
    OW_OPTION_DURATION,  /* 32 or 64 bits, milliseconds; low .. high */
    OW_OPTION_SIZE,      /* 32 or 64 bits, bytes; low .. high */
    OW_OPTION_CHOICE,    /* 32 bits: the index in `choices` */
    /* Not scalars; read by config.c. */
    OW_OPTION_GROUP, /* a map with the keys of `group`, whose offsets count from the same base; with `choices`, one of
                        these words may stand in its place: 32 bits, as of a CHOICE */
    OW_OPTION_MAP,   /* names -> something; the place takes a pointer to the node */
    OW_OPTION_LIST,  /* likewise; `group` is one item */
    OW_OPTION_NODE,  /* whatever it is; the place takes a pointer to the node */
    OW_OPTION_LATER, /* planned, and refused with a clear text for now */
};

struct ow_option {
    const char *key;
    enum ow_option_type type;
    const char *fallback; /* the default, written as a person would; NULL: none */
    const char *sample;   /* a value for the reference and for "missing"; NULL: the default */
    const char *help;     /* sentences; lines of at most 90 characters */
    const char *needs;    /* what else must be set for this one to mean something, e.g. "after: mark" */
    bool is_required;
    int64_t low, high;          /* high 0: as far as the type goes */
    const char *const *choices; /* ends with NULL */
    const struct ow_option *group;
    size_t offset, width;
};

#define OW_OPTION_AT(struct_type, field) \
    .offset = offsetof(struct_type, field), .width = sizeof(((struct_type *)0)->field)

#define OW_OPTION_DURATION_MAX_MS ((int64_t)36500 * 86400000) /* a hundred years: sums stay far from overflow */
#define OW_OPTION_SIZE_MAX_BYTES  ((int64_t)1 << 49)

/* Sets a scalar option in the struct at `base`. `shown` is what an error prints in place of the value, which
   may hold a secret. OW_EINVALID: "expected …, found "shown"". A value that was there is freed. */
int ow_option_set(const struct ow_option *option, void *base, struct ow_bytes value, struct ow_bytes shown,
                  struct ow_error *err) OW_MUST_CHECK;
/* Sets every option of the table, and of its groups, that has a default. */
int ow_option_set_defaults(const struct ow_option *table, void *base, struct ow_error *err) OW_MUST_CHECK;
/* Frees the texts, in groups too, and makes them NULL. */
void ow_option_done(const struct ow_option *table, void *base);

/* The row of this key, or NULL. */
const struct ow_option *ow_option_find(const struct ow_option *table, struct ow_bytes key);
/* "a duration such as 250ms, 10s, 5m, 2h, 7d", "a whole number from 1 to 1024", "delete or mark". */
void ow_option_expected(const struct ow_option *option, struct ow_buf *to);
bool ow_name_is_valid(struct ow_bytes name);

/* The nearest of many words to what was written: by edits (insert, remove, replace, swap two neighbours),
   at most a third of the longer word, rounded up. Start with {.word = …}, offer each, take `best`. */
struct ow_nearest {
    struct ow_bytes word;
    const char *best; /* NULL: none is near */
    size_t distance;
};
void ow_nearest_offer(struct ow_nearest *nearest, const char *candidate);

#endif
