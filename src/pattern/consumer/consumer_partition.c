/* SPDX-License-Identifier: Apache-2.0 */
/* Partitions come and go; their records are read, held back, and settled. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "codec/json.h"
#include "core/mutant.h"
#include "pattern/consumer/consumer_private.h"

enum {
    READ_MAX = 1000,   /* records in one step */
    LETTERS_MAX = 256, /* that are replayed at a time */
    LETTERS_EVERY_MS = 1000,
    SETTLE_EVERY_MS = 200,
    ID_BYTES_MAX = 1000, /* it is a key of the inbox */
};

/* --- partitions ---------------------------------------------------------------------------------------- */

static void free_partition(struct ow_consumer *c, struct ow_consumer_partition *p)
{
    if (!p)
        return;
    ow_consumer_forget(c, p);
    c->bytes -= p->window.bytes;
    ow_window_done(&p->window);
    free(p->notes);
    free(p->topic);
    free(p);
}

static int new_partition(struct ow_consumer *c, struct ow_bytes topic, int64_t partition,
                         struct ow_consumer_partition **ret, struct ow_error *err)
{
    struct ow_consumer_partition *p = calloc(1, sizeof *p);
    struct ow_window_limits limits = c->options.window;
    limits.order = c->options.order;
    limits.keeps_order = c->handler->ops->in_transaction;
    if (!topic.data) {
        limits.count_max = LETTERS_MAX;
        limits.order = OW_ORDER_KEY;
    }
    int r = p ? ow_window_init(&p->window, &limits, err) : ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r == 0 && topic.data && !(p->topic = ow_bytes_text(topic)))
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r < 0) {
        free_partition(c, p);
        return r;
    }
    p->partition = partition;
    p->settle_offset = -1;
    p->needs_offset = topic.data && c->options.keeps_offsets;
    *ret = p;
    return 0;
}

static struct ow_consumer_partition *find(const struct ow_consumer *c, struct ow_bytes topic, int64_t partition)
{
    for (size_t i = 0; i < c->partition_count; i++) {
        struct ow_consumer_partition *p = c->partitions[i];
        if (!p->is_gone && p->partition == partition && ow_bytes_is(topic, p->topic))
            return p;
    }
    return NULL;
}

static int add_partition(struct ow_consumer *c, struct ow_bytes topic, int64_t partition,
                         struct ow_consumer_partition **ret, struct ow_error *err)
{
    void *more = realloc(c->partitions, (c->partition_count + 1) * sizeof(struct ow_consumer_partition *));
    if (!more)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    c->partitions = more;
    int r = new_partition(c, topic, partition, ret, err);
    if (r == 0)
        c->partitions[c->partition_count++] = *ret;
    return r;
}

/* A listener may be called while somebody goes through the partitions: they are freed later. */
static void leave_behind(struct ow_consumer *c, struct ow_consumer_partition *p)
{
    ow_consumer_forget(c, p);
    p->is_gone = true;
    p->settle_offset = -1;
    c->has_gone = true;
}

void ow_consumer_sweep(struct ow_consumer *c)
{
    size_t kept = 0;
    if (!c->has_gone)
        return;
    for (size_t i = 0; i < c->partition_count; i++)
        if (c->partitions[i]->is_gone)
            free_partition(c, c->partitions[i]);
        else
            c->partitions[kept++] = c->partitions[i];
    c->partition_count = kept;
    c->has_gone = false;
}

void ow_consumer_drop_partitions(struct ow_consumer *c)
{
    for (size_t i = 0; i < c->partition_count; i++)
        free_partition(c, c->partitions[i]);
    c->partition_count = 0;
    c->has_gone = c->is_paused = false;
    free(c->partitions);
    c->partitions = NULL;
}

struct ow_consumer_note *ow_consumer_note(struct ow_consumer_partition *p, const struct ow_slot *slot)
{
    if (!p->notes)
        p->notes = calloc(p->window.limits.count_max, sizeof *p->notes);
    return p->notes ? &p->notes[slot->token % p->window.limits.count_max] : NULL;
}

static struct ow_consumer_note *new_note(struct ow_consumer_partition *p, const struct ow_slot *slot)
{
    struct ow_consumer_note *note = p->notes || !p->topic ? ow_consumer_note(p, slot) : NULL;
    if (note)
        *note = (struct ow_consumer_note){0};
    return note;
}

/* --- settling ------------------------------------------------------------------------------------------- */

static void pop(struct ow_consumer *c, struct ow_consumer_partition *p)
{
    struct ow_message *message;
    bool is_aside;
    size_t before = p->window.bytes;
    while ((message = ow_window_pop(&p->window, &is_aside))) {
        p->settle_offset = (int64_t)message->position.major;
        ow_message_free(message);
    }
    if (OW_MUTANT(SETTLE_TOO_FAR) && p->settle_offset >= 0 && p->window.count > 0)
        p->settle_offset++;
    c->bytes -= before - p->window.bytes;
}

/* With the offsets in the inbox: one transaction for all of them. */
static int settle_in_inbox(struct ow_consumer *c, struct ow_error *err)
{
    int r = c->inbox->ops->begin(c->inbox, NULL, 0, err);
    for (size_t i = 0; r == 0 && i < c->partition_count; i++) {
        struct ow_consumer_partition *p = c->partitions[i];
        if (p->settle_offset >= 0)
            r = c->inbox->ops->store_offset(c->inbox, ow_bytes_of(p->topic), p->partition, p->settle_offset + 1, err);
    }
    if (r == 0)
        r = c->inbox->ops->commit(c->inbox, err);
    else
        c->inbox->ops->rollback(c->inbox);
    if (r < 0)
        return ow_consumer_side_failed(c, OW_SIDE_INBOX, err);
    for (size_t i = 0; i < c->partition_count; i++)
        c->partitions[i]->settle_offset = -1;
    return 0;
}

static int settle_in_broker(struct ow_consumer *c, struct ow_error *err)
{
    for (size_t i = 0; i < c->partition_count; i++) {
        struct ow_consumer_partition *p = c->partitions[i];
        if (p->settle_offset < 0)
            continue;
        OW_CRASH_POINT(CONSUMER_BEFORE_SETTLE);
        int64_t offset = p->settle_offset;
        p->settle_offset = -1;
        int r = c->subscriber->ops->settle(c->subscriber, ow_bytes_of(p->topic), (uint32_t)p->partition, offset, err);
        if (r < 0 && r != OW_ESTANDBY) /* a partition that is somebody else's is his to settle */
            return ow_consumer_side_failed(c, OW_SIDE_SUBSCRIBER, err);
        c->counters.settled++;
    }
    return 0;
}

int ow_consumer_settle(struct ow_consumer *c, bool at_once, struct ow_error *err)
{
    int64_t now = ow_consumer_now_ms(c);
    bool has_any = false;
    if (c->replays && c->replays->window.count > 0) {
        uint32_t before = c->replays->window.count;
        pop(c, c->replays);
        if (c->replays->window.count < before) { /* what was behind it may go now */
            c->letters_are_dry = false;
            c->replay_due_ms = now + 1000 / c->options.replay_rate;
        }
    }
    for (size_t i = 0; i < c->partition_count; i++) {
        pop(c, c->partitions[i]);
        has_any = has_any || c->partitions[i]->settle_offset >= 0;
    }
    if (!has_any || !c->subscriber || (!at_once && now < c->settle_due_ms))
        return 0;
    if (c->options.keeps_offsets && !ow_consumer_is_open(c, OW_SIDE_INBOX))
        return 0;
    c->settle_due_ms = now + SETTLE_EVERY_MS;
    return c->options.keeps_offsets ? settle_in_inbox(c, err) : settle_in_broker(c, err);
}

/* --- what the subscriber says of partitions --------------------------------------------------------------- */

/* Lets the calls of a partition that leaves come to their end, within a limit. */
static void drain(struct ow_consumer *c, struct ow_consumer_partition *p)
{
    struct ow_error ignored;
    int64_t until = ow_consumer_now_ms(c) + c->options.drain_ms;
    p->is_leaving = true;
    for (;;) {
        struct ow_wait wait;
        ow_wait_init(&wait);
        if ((!c->handler->ops->in_transaction && ow_consumer_take_outcomes(c, &ignored) < 0) ||
            ow_consumer_write_letters(c, &ignored) < 0 || ow_consumer_record(c, &ignored) < 0 || p->running == 0 ||
            ow_consumer_now_ms(c) >= until || !ow_consumer_is_open(c, OW_SIDE_HANDLER) ||
            (c->inbox && !ow_consumer_is_open(c, OW_SIDE_INBOX)))
            return; /* without the inbox nothing would be recorded */
        if (c->handler->ops->wait)
            c->handler->ops->wait(c->handler, &wait);
        if (c->letters && ow_consumer_is_open(c, OW_SIDE_LETTERS))
            c->letters->ops->wait(c->letters, &wait);
        ow_wait_until(&wait, until);
        ow_wait_sleep(&wait);
    }
}

static void leave(struct ow_consumer *c, struct ow_consumer_partition *p)
{
    struct ow_error ignored;
    drain(c, p);
    pop(c, p);
    /* Another one goes on from here; without it that one only asks the inbox more often. */
    if (p->settle_offset >= 0 && !c->options.keeps_offsets)
        (void)c->subscriber->ops->settle(c->subscriber, ow_bytes_of(p->topic), (uint32_t)p->partition, p->settle_offset,
                                         &ignored);
    p->settle_offset = -1;
}

/* To where the inbox has it; where it knows of none, the subscriber's own choice stands. < 0, and *ret_side failed. */
static int place(struct ow_consumer *c, const struct ow_consumer_partition *p, enum ow_consumer_side *ret_side,
                 struct ow_error *err)
{
    int64_t offset;
    struct ow_bytes topic = ow_bytes_of(p->topic);
    *ret_side = OW_SIDE_INBOX;
    int r = c->inbox->ops->read_offset(c->inbox, topic, p->partition, &offset, err);
    if (r != 1)
        return r;
    *ret_side = OW_SIDE_SUBSCRIBER;
    return c->subscriber->ops->seek(c->subscriber, topic, (uint32_t)p->partition, offset, err);
}

/* Nothing of a partition is read before its place is known: it could be passed over. */
static int place_those_that_wait(struct ow_consumer *c, struct ow_error *err)
{
    enum ow_consumer_side side;
    for (size_t i = 0; i < c->partition_count; i++) {
        struct ow_consumer_partition *p = c->partitions[i];
        if (!p->needs_offset || !ow_consumer_is_open(c, OW_SIDE_INBOX))
            continue;
        if (place(c, p, &side, err) < 0)
            return ow_consumer_side_failed(c, side, err);
        p->needs_offset = false;
    }
    return 0;
}

void ow_consumer_on_partition(void *context, enum ow_subscriber_event event, struct ow_bytes topic, uint32_t partition)
{
    struct ow_consumer *c = context;
    struct ow_consumer_partition *p = find(c, topic, partition);
    struct ow_error err;
    if (event == OW_EVENT_REVOKED && p && !OW_MUTANT(REVOKE_UNSETTLED))
        leave(c, p);
    if (p) /* assigned anew: what is in flight comes again */
        leave_behind(c, p);
    if (event != OW_EVENT_ASSIGNED)
        return;
    enum ow_consumer_side side;
    if (add_partition(c, topic, partition, &p, &err) == 0 && p->needs_offset) {
        p->needs_offset = !ow_consumer_is_open(c, OW_SIDE_INBOX) || place(c, p, &side, &err) < 0;
        if (OW_MUTANT(OFFSET_UNREAD))
            p->needs_offset = false;
        if (p->needs_offset) /* the next step finds out what is the matter */
            p->is_paused = c->subscriber->ops->pause(c->subscriber, topic, partition) == 0;
    }
    char text[300];
    (void)snprintf(text, sizeof text, "%.*s/%u", OW_PRINT(topic), partition);
    ow_consumer_tell(c, OW_CONSUMER_ASSIGNED, "%s", text);
}

/* --- reading -------------------------------------------------------------------------------------------- */

static bool is_full(const struct ow_consumer_partition *p)
{
    return !ow_window_has_room(&p->window, 0);
}

static bool is_half_done(const struct ow_consumer_partition *p)
{
    return p->window.count <= p->window.limits.count_max / 2;
}

static bool has_eased(const struct ow_consumer *c)
{
    bool has_room = c->partition_count == 0;
    for (size_t i = 0; i < c->partition_count; i++)
        has_room = has_room || is_half_done(c->partitions[i]);
    return !c->is_held && has_room && c->bytes < c->options.window.bytes_max / 2 + 1;
}

bool ow_consumer_may_resume(const struct ow_consumer *c)
{
    if (OW_MUTANT(RESUME_FORGOTTEN))
        return false;
    bool may = c->is_paused && has_eased(c);
    for (size_t i = 0; i < c->partition_count && !may; i++) {
        const struct ow_consumer_partition *p = c->partitions[i];
        may = p->needs_offset ? ow_consumer_is_open(c, OW_SIDE_INBOX)
                              : !c->is_paused && p->is_paused && is_half_done(p);
    }
    return may;
}

/* What is enough is held back until half of it is done. All of it at once where all are full, which is the usual case
   and costs nothing; else single ones, so that one that is stuck does not stop the others. */
static void apply_pressure(struct ow_consumer *c)
{
    size_t full = 0;
    for (size_t i = 0; i < c->partition_count; i++)
        full += is_full(c->partitions[i]);
    bool is_enough = c->is_held || c->bytes >= c->options.window.bytes_max || (full > 0 && full == c->partition_count);
    if (!c->is_paused && is_enough)
        c->is_paused = c->subscriber->ops->pause(c->subscriber, OW_NULL_BYTES, 0) == 0;
    else if (c->is_paused && has_eased(c))
        c->is_paused = c->subscriber->ops->resume(c->subscriber, OW_NULL_BYTES, 0) != 0;
    for (size_t i = 0; !c->is_paused && i < c->partition_count; i++) {
        struct ow_consumer_partition *p = c->partitions[i];
        struct ow_bytes topic = ow_bytes_of(p->topic);
        if (!p->is_paused && is_full(p))
            p->is_paused = c->subscriber->ops->pause(c->subscriber, topic, (uint32_t)p->partition) == 0;
        else if (p->is_paused && !p->needs_offset && is_half_done(p))
            p->is_paused = c->subscriber->ops->resume(c->subscriber, topic, (uint32_t)p->partition) != 0;
    }
}

/* NULL: it is a good one. What is none is not given up in silence: without it a repeat would not be known. */
static const char *flaw_of_id(struct ow_bytes id)
{
    if (id.size > ID_BYTES_MAX)
        return "its id is longer than 1000 bytes";
    if (!ow_utf8_is_valid(id))
        return "its id is no UTF-8 text";
    for (size_t i = 0; i < id.size; i++)
        if ((unsigned char)id.data[i] < ' ' || id.data[i] == 0x7f)
            return "its id has a control character";
    return NULL;
}

/* It goes by another id, and its letter shows the one that it came with. A subscriber may have taken that header away.
 */
static int keep_bad_id(struct ow_consumer *c, struct ow_message *m, struct ow_error *err)
{
    for (size_t i = 0; i < m->header_count; i++)
        if (ow_bytes_is(m->headers[i].name, "id") && ow_bytes_equal(m->headers[i].value, m->id))
            return 0;
    struct ow_header *grown = reallocarray(c->headers, m->header_count + 1, sizeof *grown);
    if (!grown)
        return ow_error_set(err, OW_ENOMEM, "out of memory for %zu headers", m->header_count + 1);
    c->headers = grown;
    grown[0] = (struct ow_header){OW_BYTES("id"), m->id};
    if (m->header_count > 0)
        memcpy(grown + 1, m->headers, m->header_count * sizeof *grown);
    m->headers = grown;
    m->header_count++;
    return 0;
}

/* The id that the inbox knows it by. */
static int name_record(struct ow_consumer *c, struct ow_record *record, struct ow_error *err)
{
    struct ow_message *m = &record->message;
    ow_buf_clear(&c->scratch);
    if (c->id.count > 0) {
        struct ow_bytes id = OW_NULL_BYTES;
        struct ow_error why;
        int r = ow_route_render(&c->id, m, ow_json_lookup, &c->scratch, &id, &why);
        if (r == OW_ENOMEM)
            return ow_error_set(err, r, "%s", why.text);
        const char *flaw = r == 1 ? flaw_of_id(id) : NULL;
        if (r == 1 && id.size > 0 && !flaw) {
            m->id = id;
            return 0;
        }
        ow_buf_clear(&c->letter_scratch);
        if (flaw)
            ow_buf_printf(&c->letter_scratch, "%s (%s)", flaw, c->options.id);
        else
            ow_buf_printf(&c->letter_scratch, "it has no id: %s gives nothing%s%s", c->options.id, r < 0 ? ": " : "",
                          r < 0 ? why.text : "");
        if (!m->defect.data)
            m->defect = ow_buf_bytes(&c->letter_scratch);
    }
    if (c->id.count == 0 && m->id.size > 0) {
        const char *flaw = flaw_of_id(m->id);
        if (!flaw)
            return 0;
        m->defect = m->defect.data ? m->defect : ow_bytes_of(flaw);
        int r = keep_bad_id(c, m, err);
        if (r < 0)
            return r;
    }
    ow_buf_clear(&c->scratch);
    ow_buf_add_bytes(&c->scratch, m->topic);
    ow_buf_printf(&c->scratch, "/%lld/%lld", (long long)record->partition, (long long)record->offset);
    m->id = ow_buf_bytes(&c->scratch);
    return ow_buf_check(&c->scratch, err);
}

/* The minor part of a position is what the record's time is. */
static int admit(struct ow_consumer *c, struct ow_consumer_partition *p, struct ow_message *view, uint64_t at,
                 enum ow_time_type time_type, struct ow_consumer_note **ret_note, struct ow_error *err)
{
    view->position = (struct ow_position){at, time_type};
    struct ow_message *copy = ow_message_copy(view);
    if (!copy)
        return ow_error_set(err, OW_ENOMEM, "out of memory for a message of %zu bytes", ow_message_size(view));
    c->bytes += ow_message_size(copy);
    *ret_note = new_note(p, ow_window_admit(&p->window, copy));
    return 0;
}

/* 1: go on; 0: no more now. */
static int take_record(struct ow_consumer *c, struct ow_record *record, struct ow_error *err)
{
    struct ow_consumer_partition *p = find(c, record->message.topic, record->partition);
    struct ow_consumer_note *note;
    int r = p ? 0 : add_partition(c, record->message.topic, record->partition, &p, err);
    if (r < 0)
        return r;
    if (is_full(p) || p->needs_offset) { /* it was on its way when the partition was held back */
        r = c->subscriber->ops->seek(c->subscriber, record->message.topic, (uint32_t)record->partition, record->offset,
                                     err);
        return r < 0 ? r : 0;
    }
    r = name_record(c, record, err);
    if (r == 0)
        r = admit(c, p, &record->message, (uint64_t)record->offset, record->time_type, &note, err);
    if (r < 0)
        return r;
    c->counters.read++;
    if (is_full(p) && !OW_MUTANT(FULL_IS_READ_ON)) /* at once: to seek back costs all that was fetched ahead */
        apply_pressure(c);
    return 1;
}

int ow_consumer_read(struct ow_consumer *c, struct ow_error *err)
{
    struct ow_record record;
    int r = 1;
    if (!ow_consumer_is_open(c, OW_SIDE_SUBSCRIBER))
        return 0;
    ow_consumer_sweep(c);
    r = place_those_that_wait(c, err);
    if (r < 0 || !ow_consumer_is_open(c, OW_SIDE_SUBSCRIBER))
        return r;
    apply_pressure(c);
    r = 1;
    for (int i = 0; r == 1 && i < READ_MAX && (c->bytes < c->options.window.bytes_max || i == 0); i++) {
        r = c->subscriber->ops->next(c->subscriber, &record, err);
        if (r == 1)
            r = take_record(c, &record, err);
    }
    c->is_dry = r == 0;
    if (r < 0)
        return ow_consumer_side_failed(c, OW_SIDE_SUBSCRIBER, err);
    const char *trouble = c->subscriber->ops->trouble ? c->subscriber->ops->trouble(c->subscriber) : NULL;
    if (!trouble)
        ow_consumer_side_works(c, OW_SIDE_SUBSCRIBER);
    else if (!c->sides[OW_SIDE_SUBSCRIBER].has_trouble) {
        c->sides[OW_SIDE_SUBSCRIBER].has_trouble = true;
        ow_consumer_tell(c, OW_CONSUMER_TROUBLE, "%s", trouble);
    }
    return 0;
}

/* --- letters that are replayed ---------------------------------------------------------------------------- */

/* At its rate; a number comes again when it has failed again and was queued again, hence the start from 0 when all that
   was taken is done. */
int ow_consumer_read_letters(struct ow_consumer *c, struct ow_error *err)
{
    int64_t now = ow_consumer_now_ms(c);
    if (!c->inbox || !c->options.keeps_letters || !ow_consumer_is_open(c, OW_SIDE_INBOX) || c->is_draining ||
        c->is_held || now < c->replay_due_ms)
        return 0;
    int r = c->replays ? 0 : new_partition(c, OW_NULL_BYTES, -1, &c->replays, err);
    if (r < 0)
        return r;
    if (c->replays->window.count == 0)
        c->replay_after = 0;
    if (!ow_window_has_room(&c->replays->window, 0))
        return 0;
    struct ow_inbox_letter letter;
    struct ow_consumer_note *note;
    r = c->inbox->ops->next_queued(c->inbox, c->replay_after, &letter, err);
    if (r < 0)
        return ow_consumer_side_failed(c, OW_SIDE_INBOX, err);
    c->letters_are_dry = r == 0 && c->replays->window.count == 0;
    if (r == 0) {
        c->replay_due_ms = now + LETTERS_EVERY_MS;
        return 0;
    }
    letter.record.message.id = letter.id;
    /* What its topic has said of its time is not kept; nearly all say this. */
    r = admit(c, c->replays, &letter.record.message, (uint64_t)letter.number, OW_TIME_CREATED, &note, err);
    if (r < 0)
        return r;
    if (!note)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    note->partition = letter.record.partition;
    note->offset = letter.record.offset;
    c->replay_after = letter.number;
    c->replay_due_ms = now + 1000 / c->options.replay_rate;
    return 0;
}
