/* SPDX-License-Identifier: Apache-2.0 */
/* In place of postgres.c where there is no libpq. */
#include "library/member.h"

int ow_member_look_postgres(struct pg_conn *conn, struct ow_error *err)
{
    (void)conn;
    return ow_error_set(err, OW_EUNSUPPORTED, "this build of onewrite has no support for postgres://");
}

enum ow_consumer_answer ow_consumer_failed_postgres(struct pg_conn *conn, const struct pg_result *result,
                                                    struct ow_consumer_reply *reply)
{
    (void)conn, (void)result;
    ow_member_say(reply, "callback", "this build of onewrite has no support for postgres://");
    return OW_ANSWER_RETRY;
}
