/* SPDX-License-Identifier: Apache-2.0 */
/* A task as a message of the public header, the call, and what its answer means. */
#include <stdio.h>
#include <stdlib.h>

#include "library/member.h"
#include "store/postgres.h"

/* --- texts ------------------------------------------------------------------------------------------------ */

void ow_member_say(struct ow_consumer_reply *reply, const char *error_class, const char *reason)
{
    (void)snprintf(reply->error_class, sizeof reply->error_class, "%s", error_class);
    (void)snprintf(reply->reason, sizeof reply->reason, "%s", reason);
}

enum ow_consumer_answer ow_consumer_failed_error(const struct ow_error *err, struct ow_consumer_reply *reply)
{
    ow_member_say(reply, ow_error_name(err->code), err->text);
    return ow_error_class(err->code) == OW_CLASS_RETRYABLE ? OW_ANSWER_STORE : OW_ANSWER_RETRY;
}

/* --- the message -------------------------------------------------------------------------------------------- */

/* The buffer was reserved: it does not move. */
static const char *keep(struct ow_buf *to, struct ow_bytes bytes)
{
    size_t at = to->size;
    if (!bytes.data)
        return NULL;
    ow_buf_add_bytes(to, bytes);
    ow_buf_add_char(to, '\0');
    return to->data + at;
}

static int make_room(struct ow_member *member, const struct ow_task *task, struct ow_error *err)
{
    const struct ow_message *m = &task->record->message;
    size_t size = task->id.size + m->topic.size + m->type.size + m->aggregate_type.size + m->aggregate_id.size +
                  m->key.size + m->payload.size + 7;
    for (size_t i = 0; i < m->header_count; i++)
        size += m->headers[i].name.size + m->headers[i].value.size + 2;
    if (m->header_count > member->header_max) {
        struct ow_consumer_header *more = reallocarray(member->headers, m->header_count, sizeof *more);
        if (!more)
            return ow_error_set(err, OW_ENOMEM, "out of memory for %zu headers", m->header_count);
        member->headers = more;
        member->header_max = m->header_count;
    }
    ow_buf_clear(&member->scratch);
    return ow_buf_reserve(&member->scratch, size) ? 0 : ow_error_set(err, OW_ENOMEM, "out of memory for a message");
}

static int show(struct ow_member *member, const struct ow_task *task, struct ow_consumer_message *ret,
                struct ow_error *err)
{
    const struct ow_message *m = &task->record->message;
    struct ow_buf *to = &member->scratch;
    int r = make_room(member, task, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < m->header_count; i++)
        member->headers[i] = (struct ow_consumer_header){.name = keep(to, m->headers[i].name),
                                                         .value = keep(to, m->headers[i].value),
                                                         .value_size = m->headers[i].value.size};
    *ret = (struct ow_consumer_message){.id = keep(to, task->id),
                                        .topic = keep(to, m->topic),
                                        .partition = task->record->partition,
                                        .offset = task->record->offset,
                                        .type = keep(to, m->type),
                                        .aggregate_type = keep(to, m->aggregate_type),
                                        .aggregate_id = keep(to, m->aggregate_id),
                                        .key = keep(to, m->key),
                                        .key_size = m->key.size,
                                        .payload = keep(to, m->payload),
                                        .payload_size = m->payload.size,
                                        .headers = member->headers,
                                        .header_count = m->header_count,
                                        .time_ms = m->time_ms,
                                        .attempt = task->attempt};
    return 0;
}

/* --- the call ------------------------------------------------------------------------------------------------ */

static int look(struct ow_member *member, struct ow_error *err)
{
    return member->connection.postgres ? ow_member_look_postgres(member->connection.postgres, err)
                                       : ow_member_look_sqlite(member, err);
}

static void answer_to_outcome(enum ow_consumer_answer answer, struct ow_consumer_reply *reply,
                              struct ow_outcome *outcome)
{
    reply->error_class[sizeof reply->error_class - 1] = '\0';
    reply->reason[sizeof reply->reason - 1] = '\0';
    ow_text_make_plain(reply->error_class);
    ow_text_make_plain(reply->reason);
    outcome->kind = answer == OW_ANSWER_REJECT ? OW_OUTCOME_REFUSED : OW_OUTCOME_FAILED;
    outcome->retry_after_ms = reply->retry_after_ms > 0 ? reply->retry_after_ms : -1;
    (void)snprintf(outcome->class, sizeof outcome->class, "%s",
                   reply->error_class[0] ? reply->error_class : "callback");
    (void)snprintf(outcome->reason, sizeof outcome->reason, "%s",
                   reply->reason[0] ? reply->reason : "the callback gave no reason");
}

/* What it said, unless the connection tells otherwise. */
static enum ow_consumer_answer weigh(enum ow_consumer_answer answer, bool has_failed, struct ow_consumer_reply *reply)
{
    char text[96];
    switch (answer) {
    case OW_ANSWER_DONE:
        if (!has_failed)
            return OW_ANSWER_DONE;
        ow_member_say(
            reply, "callback",
            "a statement failed or the transaction was rolled back, and the callback answered that all is done");
        return OW_ANSWER_RETRY;
    case OW_ANSWER_RETRY:
    case OW_ANSWER_REJECT:
    case OW_ANSWER_STORE:
        return answer;
    }
    (void)snprintf(text, sizeof text, "the callback answered %d, which is no answer", (int)answer);
    ow_member_say(reply, "callback", text);
    return OW_ANSWER_RETRY;
}

int ow_member_handle(void *context, struct ow_store *store, const struct ow_task *task, struct ow_outcome *outcome,
                     struct ow_error *err)
{
    struct ow_member *member = context;
    struct ow_consumer_reply reply = {0};
    struct ow_consumer_message message;
    (void)store;
    int r = show(member, task, &message, err);
    if (r < 0)
        return r;
    member->is_in_call = true;
    enum ow_consumer_answer answer = member->program.handle(member->program.arg, &member->connection, &message, &reply);
    r = look(member, err);
    member->is_in_call = false;
    if (r < 0)
        return ow_error_prefix(err, "message %.*s", OW_PRINT(task->id));
    answer = weigh(answer, r == 1, &reply);
    if (answer == OW_ANSWER_DONE)
        return 0;
    answer_to_outcome(answer, &reply, outcome);
    return answer == OW_ANSWER_STORE ? ow_error_set(err, OW_EBUSY, "%s", outcome->reason) : 0;
}

/* --- connections ------------------------------------------------------------------------------------------------ */

int ow_member_connected(void *context, struct ow_store *store, struct ow_error *err)
{
    struct ow_member *member = context;
    struct ow_error said = {0};
    bool is_postgres = strcmp(store->ops->name, "postgres") == 0;
    member->connection = (struct ow_consumer_connection){0};
    if (is_postgres)
        member->connection.postgres = ow_postgres_connection(store);
    else
        member->connection.sqlite = ow_sqlite_connection(store);
    if (!is_postgres)
        ow_member_guard_sqlite(member);
    int r = member->program.connected ? member->program.connected(member->program.arg, &member->connection, &said) : 0;
    if (r >= 0)
        return 0;
    said.text[sizeof said.text - 1] = '\0';
    ow_text_make_plain(said.text);
    if (ow_error_class(r) == OW_CLASS_BUG)
        r = OW_EINVALID;
    return ow_error_set(err, r, "connected(): %s", said.text[0] ? said.text : ow_error_name(r));
}

void ow_member_disconnecting(void *context, struct ow_store *store)
{
    struct ow_member *member = context;
    (void)store;
    if (member->program.disconnecting)
        member->program.disconnecting(member->program.arg, &member->connection);
    member->connection = (struct ow_consumer_connection){0};
}
