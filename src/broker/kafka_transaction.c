/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"
#include "broker/kafka.h"

/* Ends `error`. OW_EIO or OW_EUNREACHABLE: begin anew; OW_ESTANDBY: another one is at work. */
static int refuse(const struct ow_kafka_txn *t, rd_kafka_error_t *error, const char *what, struct ow_error *err)
{
    const char *text = t->settings->text;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    int r = ow_kafka_client_fatal(t->client, t->settings, err);
    if (r == 0 && (code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED))
        r = ow_error_set(err, OW_ESTANDBY, "%s: another relay of the same source publishes there now", text);
    if (r == 0 && code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        r = ow_error_set(err, OW_EDENIED, "%s: this user may not use the transactional id onewrite-%s", text,
                         t->source);
    if (r == 0 && code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
        r = ow_error_set(err, OW_EDENIED, "%s: this user may not use the group onewrite-%s", text, t->source);
    if (r == 0)
        r = ow_error_set(err, code == RD_KAFKA_RESP_ERR__TIMED_OUT ? OW_EUNREACHABLE : OW_EIO, "%s: cannot %s: %s",
                         text, what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return r;
}

/* Before each try of a call whose `error` of the last try is given; *slice is 0 before the first. False: it has worked,
   or failed for good, or the time is over, and `error` says so. */
static bool may_try(const struct ow_kafka_txn *t, rd_kafka_error_t **error, int *slice)
{
    bool is_first = *slice == 0;
    if (!is_first && (!*error || !rd_kafka_error_is_retriable(*error)))
        return false;
    if (!is_first && rd_kafka_error_code(*error) != RD_KAFKA_RESP_ERR__TIMED_OUT)
        ow_kafka_nap();
    int next = ow_kafka_client_slice(t->client, t->deadline_ms, *slice);
    if (next == 0 && is_first)
        *error = rd_kafka_error_new(RD_KAFKA_RESP_ERR__TIMED_OUT, "there was no time left for it");
    if (next == 0)
        return false;
    if (*error)
        rd_kafka_error_destroy(*error);
    *error = NULL;
    *slice = next;
    return true;
}

int ow_kafka_txn_init(const struct ow_kafka_txn *t, struct ow_error *err)
{
    rd_kafka_error_t *error = NULL;
    for (int slice = 0; may_try(t, &error, &slice);)
        error = rd_kafka_init_transactions(t->client->rk, slice);
    return error ? refuse(t, error, "begin with transactions", err) : 0;
}

int ow_kafka_txn_begin(const struct ow_kafka_txn *t, struct ow_error *err)
{
    rd_kafka_error_t *error = rd_kafka_begin_transaction(t->client->rk);
    return error ? refuse(t, error, "begin a transaction", err) : 0;
}

int ow_kafka_txn_add_position(const struct ow_kafka_txn *t, const char *topic, struct ow_position position,
                              struct ow_error *err)
{
    char group[OW_KAFKA_GROUP_SIZE];
    rd_kafka_error_t *error = NULL;
    int r = 0;
    ow_kafka_group_name(t->source, group);
    for (int slice = 0; r == 0 && may_try(t, &error, &slice);) {
        int64_t left_ms = t->deadline_ms - ow_clock_monotonic_ms();
        r = ow_kafka_offsets_send(t->client, group, topic, position, left_ms > 0 ? (int)left_ms : 0, &error, err);
    }
    if (r < 0)
        return r;
    return error ? refuse(t, error, "add the position to the transaction", err) : 0;
}

int ow_kafka_txn_commit(const struct ow_kafka_txn *t, struct ow_error *err)
{
    rd_kafka_error_t *error = NULL;
    for (int slice = 0; may_try(t, &error, &slice);)
        error = rd_kafka_commit_transaction(t->client->rk, slice);
    return error ? refuse(t, error, "commit", err) : 0;
}

void ow_kafka_txn_abort(const struct ow_kafka_txn *t)
{
    rd_kafka_error_t *error = NULL;
    for (int slice = 0; may_try(t, &error, &slice);)
        error = rd_kafka_abort_transaction(t->client->rk, slice);
    if (error) /* Kafka aborts it by itself: at our next init_transactions(), or when its time is over */
        rd_kafka_error_destroy(error);
}
