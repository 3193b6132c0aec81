/* SPDX-License-Identifier: Apache-2.0 */
/* A logical decoding message as the change event that Debezium's connector makes of it. */
#include "codec/debezium_message.h"

#include "codec/debezium_block.h"
#include "codec/debezium_convert.h"

static int add_message(struct ow_dbz_block *to, const struct ow_debezium_options *options,
                       const struct ow_debezium_message *message, struct ow_error *err)
{
    struct ow_dbz_block block;
    struct ow_dbz_value content;
    int r = ow_dbz_bytes_value(&options->modes, to->arena, message->content, &content, err);
    ow_dbz_block_begin(&block, to->arena, "io.debezium.connector.postgresql.Message", 2);
    ow_dbz_block_add_new(&block, "prefix", OW_DBZ_STRING, true, ow_dbz_text(message->prefix));
    ow_dbz_block_add_new(&block, "content", options->modes.binary == OW_DBZ_BINARY_BYTES ? OW_DBZ_BYTES : OW_DBZ_STRING,
                         true, content);
    ow_dbz_block_add(to, "message", block.schema, ow_dbz_block_end(&block));
    return r;
}

int ow_dbz_message_convert(const struct ow_debezium_options *options, struct ow_dbz_arena *arena,
                           const struct ow_debezium_message *message, struct ow_debezium_record *ret,
                           struct ow_error *err)
{
    struct ow_dbz_block key, value;
    ow_dbz_block_begin(&key, arena, "io.debezium.connector.postgresql.MessageKey", 1);
    ow_dbz_block_add_new(&key, "prefix", OW_DBZ_STRING, true, ow_dbz_text(message->prefix));
    ow_dbz_block_begin(&value, arena, "io.debezium.connector.postgresql.MessageValue", 5);
    ow_dbz_block_add_new(&value, "op", OW_DBZ_STRING, false, ow_dbz_text(OW_BYTES("m")));
    ow_dbz_block_add_new(&value, "ts_ms", OW_DBZ_INT64, true, ow_dbz_integer(message->now_us / 1000));
    const struct ow_dbz_source source = {
        .version = message->version,
        .database = message->database,
        .schema = OW_BYTES(""),
        .table = OW_BYTES(""),
        .has_transaction = message->is_transactional,
        .transaction = message->transaction_id,
        .lsn = message->lsn,
        .previous_commit_lsn = message->previous_commit_lsn,
        .time_us = message->time_us,
    };
    ow_dbz_block_add_source(&value, options, &source);
    ow_dbz_block_add_transaction(&value);
    int r = add_message(&value, options, message, err);
    if (r == 0)
        r = ow_dbz_arena_check(arena, err);
    if (r != 0)
        return r;
    struct ow_dbz_value key_value = ow_dbz_block_end(&key), value_value = ow_dbz_block_end(&value);
    ret->topic = ow_dbz_printf(arena, "%s.message", options->topic_prefix);
    r = ow_dbz_convert(&options->key, arena, key.schema, &key_value, false, &ret->key, err);
    if (r == 0)
        r = ow_dbz_convert(&options->value, arena, value.schema, &value_value, false, &ret->value, err);
    return r;
}
