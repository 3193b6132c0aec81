/* SPDX-License-Identifier: Apache-2.0 */
/* Where another program has left off, as text. */
#include "base/units.h"
#include "source/postgres_log.h"

static int refuse(const char *text, struct ow_error *err)
{
    return ow_error_set(err, OW_EINVALID, "\"%s\" is no place in the log; write an LSN, as 0/16B3748, or LSN, XID, LSN",
                        text);
}

/* Takes what stands before the next comma, without blanks. */
static struct ow_bytes next_part(const char **at)
{
    *at += strspn(*at, " ");
    size_t size = strcspn(*at, ",");
    struct ow_bytes part = {*at, size};
    *at += size + ((*at)[size] == ',');
    while (part.size > 0 && part.data[part.size - 1] == ' ')
        part.size--;
    return part;
}

int ow_pg_takeover_parse(const char *text, struct ow_pg_takeover *ret, struct ow_error *err)
{
    struct ow_pg_takeover found = {0};
    struct ow_error ignored;
    int64_t xid = 0;
    *ret = found;
    if (!text)
        return 0;
    const char *at = text;
    if (ow_pg_lsn_parse(next_part(&at), &found.commit_lsn, &ignored) < 0)
        return refuse(text, err);
    if (*at) {
        if (ow_integer_parse(next_part(&at), 1, UINT32_MAX, &xid, &ignored) < 0 ||
            ow_pg_lsn_parse(next_part(&at), &found.lsn, &ignored) < 0 || *at)
            return refuse(text, err);
        found.xid = (uint32_t)xid;
    }
    *ret = found;
    return 0;
}

int ow_postgres_log_check_start(const char *text, struct ow_error *err)
{
    struct ow_pg_takeover ignored;
    return ow_pg_takeover_parse(text, &ignored, err);
}
