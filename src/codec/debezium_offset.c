/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_offset.h"

#include <inttypes.h>

#include "base/units.h"
#include "codec/json.h"
#include "codec/pgoutput.h"

/* A member of an object; false: it is not there, or null, or no scalar. */
static bool look_up(struct ow_bytes object, const char *name, struct ow_buf *ret)
{
    ow_buf_clear(ret);
    return ow_json_lookup(object, ow_bytes_of(name), ret, NULL) == 1;
}

static bool look_up_number(struct ow_bytes object, const char *name, int64_t *ret)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    return look_up(object, name, &text) && ow_integer_parse(ow_buf_bytes(&text), 0, INT64_MAX, ret, NULL) == 0;
}

static bool is_said(struct ow_bytes object, const char *name)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    return look_up(object, name, &text) && !ow_bytes_is(ow_buf_bytes(&text), "false");
}

/* False: it is no offset of this connector. */
static bool read_offset(struct ow_bytes object, struct ow_debezium_offset *ret)
{
    int64_t lsn = 0, commit = 0, transaction = 0;
    if (!look_up_number(object, "lsn", &lsn))
        return false;
    bool is_snapshot = is_said(object, "snapshot");
    bool is_done = is_said(object, "last_snapshot_record") || is_said(object, "snapshot_completed");
    *ret = (struct ow_debezium_offset){.lsn = (uint64_t)lsn, .is_in_snapshot = is_snapshot && !is_done};
    if (is_snapshot) { /* what commits behind it was not in the snapshot */
        ret->commit_lsn = (uint64_t)lsn;
        return true;
    }
    if (look_up_number(object, "lsn_commit", &commit) || look_up_number(object, "lsn_proc", &commit))
        ret->commit_lsn = (uint64_t)commit;
    if (look_up_number(object, "txId", &transaction) && transaction <= UINT32_MAX)
        ret->transaction = (uint32_t)transaction;
    return true;
}

/* The object that begins here, with its braces; false: none does. */
static bool object_at(struct ow_bytes text, struct ow_bytes *ret)
{
    struct ow_json json;
    struct ow_error ignored;
    ow_json_init(&json, text);
    return ow_json_next(&json, &ignored) == OW_JSON_OBJECT_BEGIN && ow_json_skip(&json, ret, &ignored) >= 0;
}

static int fail(struct ow_bytes server, const struct ow_buf *others, struct ow_error *err)
{
    if (others->size > 0)
        return ow_error_set(err, OW_EINVALID,
                            "no offset of a connector with topic.prefix \"%.*s\" is in it; it has those of: %.*s",
                            OW_PRINT(server), OW_PRINT(ow_buf_bytes(others)));
    return ow_error_set(err, OW_EINVALID,
                        "no offset of a connector for PostgreSQL is in it: a JSON object with \"lsn\"");
}

int ow_debezium_offset_find(struct ow_bytes text, struct ow_bytes server, struct ow_debezium_offset *ret,
                            struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf named = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf name = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf others = {0};
    bool is_found = false;
    for (size_t i = 0; i < text.size; i++) {
        struct ow_bytes object;
        struct ow_debezium_offset offset;
        if (text.data[i] != '{' || !object_at((struct ow_bytes){text.data + i, text.size - i}, &object))
            continue;
        if (look_up(object, "server", &name)) {
            ow_buf_clear(&named);
            ow_buf_add_bytes(&named, ow_buf_bytes(&name));
        } else if (!read_offset(object, &offset)) {
            continue; /* what is looked for may be inside */
        } else if (named.size == 0 || ow_bytes_equal(ow_buf_bytes(&named), server)) {
            *ret = offset;
            is_found = true;
        } else {
            ow_buf_printf(&others, "%s%.*s", others.size > 0 ? ", " : "", OW_PRINT(ow_buf_bytes(&named)));
        }
        i += object.size - 1;
    }
    int r = ow_buf_check(&named, err);
    if (r == 0)
        r = ow_buf_check(&others, err);
    return r < 0 ? r : is_found ? 0 : fail(server, &others, err);
}

void ow_debezium_offset_format(const struct ow_debezium_offset *offset, struct ow_buf *to)
{
    char commit[OW_PG_LSN_TEXT_SIZE], lsn[OW_PG_LSN_TEXT_SIZE];
    ow_buf_add_text(to, ow_pg_lsn_format(offset->commit_lsn, commit));
    if (offset->transaction)
        ow_buf_printf(to, ", %" PRIu32 ", %s", offset->transaction, ow_pg_lsn_format(offset->lsn, lsn));
}
