/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of Debezium's outbox event router, under the names that Debezium and Kafka Connect give them: of the
 * router itself (route.…, table.…), of the connector where they change what is in a column (topic.prefix,
 * decimal.handling.mode, …), and of the converters (key.…, value.…, header.…).
 *
 * Texts are owned. One table drives setting, checking and the reference.
 */
#ifndef OW_CODEC_DEBEZIUM_OPTIONS_H
#define OW_CODEC_DEBEZIUM_OPTIONS_H

#include "codec/debezium_column.h"
#include "codec/debezium_expand.h"

enum ow_dbz_converter_kind {
    OW_DBZ_CONVERTER_STRING, /* org.apache.kafka.connect.storage.StringConverter */
    OW_DBZ_CONVERTER_JSON,   /* org.apache.kafka.connect.json.JsonConverter */
    OW_DBZ_CONVERTER_BYTES,  /* org.apache.kafka.connect.converters.ByteArrayConverter */
    OW_DBZ_CONVERTER_BINARY, /* io.debezium.converters.BinaryDataConverter */
    OW_DBZ_CONVERTER_SIMPLE, /* org.apache.kafka.connect.storage.SimpleHeaderConverter */
};

struct ow_dbz_converter {
    int32_t kind;
    int32_t delegate; /* of BINARY, for what is no bytes; -1: none */
    bool has_schemas, delegate_has_schemas;
    bool has_numeric_decimals;
    bool fills_nulls; /* of change events: a default in the place of a NULL */
};

enum ow_dbz_placement_kind { OW_DBZ_PLACED_IN_HEADER, OW_DBZ_PLACED_IN_ENVELOPE, OW_DBZ_PLACED_AS_PARTITION };

struct ow_dbz_placement {
    struct ow_bytes column, alias; /* point into the option's text */
    enum ow_dbz_placement_kind kind;
};

enum ow_dbz_invalid_operation { OW_DBZ_INVALID_WARN, OW_DBZ_INVALID_ERROR, OW_DBZ_INVALID_FATAL };

struct ow_debezium_options {
    char *topic_prefix;
    char *event_id, *event_key, *payload;
    char *timestamp, *schema_version;          /* NULL: not set */
    bool is_time_of_writing;                   /* `timestamp` is looked at, and not the record's time */
    char *additional_placement;                /* NULL: none */
    char *message_includes, *message_excludes; /* expressions for prefixes of messages; NULL: none */
    char *unavailable;                         /* what stands for a value that is not in the log */
    bool marks_deletes;                        /* a tombstone behind the event of a DELETE */
    char *route_by, *topic_regex, *topic_replacement;
    int32_t invalid_operation;
    int32_t naming; /* enum ow_dbz_naming */
    bool is_missing_ignored, has_tombstones, expands_json, null_is_bytes, empty_array_is_strings;
    struct ow_dbz_modes modes;
    struct ow_dbz_converter key, value, header;
    struct ow_dbz_placement *placements; /* of additional_placement, by ow_debezium_options_check() */
    size_t placement_count;
};

/* Debezium's defaults, but for the converters: texts as they are. */
int ow_debezium_options_init(struct ow_debezium_options *options, struct ow_error *err) OW_MUST_CHECK;
void ow_debezium_options_done(struct ow_debezium_options *options);
/* All but `placements`, which are found anew by a check. */
int ow_debezium_options_copy(const struct ow_debezium_options *from, struct ow_debezium_options *ret,
                             struct ow_error *err) OW_MUST_CHECK;
/* Everything that they say, as one text without meaning; equal options, equal texts. */
void ow_debezium_options_describe(const struct ow_debezium_options *options, struct ow_buf *to);

/* OW_ENOTFOUND: no option of this name; OW_ECONFIG: not a value of it, with what there is. */
int ow_debezium_options_set(struct ow_debezium_options *options, struct ow_bytes name, struct ow_bytes value,
                            struct ow_error *err) OW_MUST_CHECK;
/* What can be wrong with several together, and with the placement. OW_ECONFIG with the option's name. */
int ow_debezium_options_check(struct ow_debezium_options *options, struct ow_error *err) OW_MUST_CHECK;

/* One row of the table, for whoever reads or prints options. The last has no name. */
struct ow_debezium_option {
    const char *name;
    const char *fallback; /* NULL: none */
    const char *help;
    enum {
        OW_DEBEZIUM_TEXT,
        OW_DEBEZIUM_BOOLEAN,
        OW_DEBEZIUM_CHOICE,
        OW_DEBEZIUM_CONVERTER,
        OW_DEBEZIUM_DIGITS,
        OW_DEBEZIUM_NOTHING, /* accepted, and without effect, as in Debezium */
    } type;
    size_t offset;
    const char *const *choices; /* ended by NULL; their index is stored (BOOLEAN: 1 is true) */
};
extern const struct ow_debezium_option ow_debezium_option_table[];
/* NULL: none of this name. */
const struct ow_debezium_option *ow_debezium_option_find(struct ow_bytes name);

#endif
