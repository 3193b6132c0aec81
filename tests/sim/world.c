/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>

#include "codec/row.h"

uint64_t sim_happenings[SIM_HAPPENING_COUNT];
const char *const sim_happening_texts[SIM_HAPPENING_COUNT] = {
#define TEXT(name, text) text,
    SIM_HAPPENINGS(TEXT)
#undef TEXT
};

void sim_fail(struct sim_world *world, const char *format, ...)
{
    if (world->has_failed)
        return;
    world->has_failed = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(world->failure, sizeof world->failure, format, args);
    va_end(args);
    sim_trace(world, "FAILED: %s", world->failure);
}

void sim_trace(struct sim_world *world, const char *format, ...)
{
    if (!world->traces)
        return;
    va_list args;
    va_start(args, format);
    (void)printf("%8lld  ", (long long)world->now_ms);
    (void)vprintf(format, args);
    (void)putchar('\n');
    va_end(args);
}

/* --- messages ---------------------------------------------------------------------------------------- */

static struct ow_bytes put(char *bytes, size_t size, size_t *at, const char *text, size_t text_size)
{
    if (text_size > size - *at)
        text_size = size - *at;
    struct ow_bytes run = {bytes + *at, text_size};
    memcpy(bytes + *at, text, text_size);
    *at += text_size;
    return run;
}

static const struct ow_header header_of_all = {{"origin", 6}, {"sim", 3}};
static const struct ow_row row_of_all = {.op = OW_ROW_INSERT};

struct sim_message *sim_message_add(struct sim_world *w, const struct sim_staged *staged, struct ow_position position)
{
    struct sim_message *m = &w->messages[w->count];
    *m = (struct sim_message){.position = position,
                              .key = staged->key,
                              .is_poison = staged->is_poison,
                              .is_unwanted = staged->is_unwanted,
                              .is_shaped_away = staged->is_shaped_away && !staged->is_poison,
                              .is_in_source = true,
                              .payload_size = staged->is_oversize ? 2000 : w->count % 7};
    (void)snprintf(m->id, sizeof m->id, "m%u", w->count);
    (void)snprintf(m->aggregate_id, sizeof m->aggregate_id, "k%u", m->key);
    char place[OW_POSITION_TEXT_SIZE];
    sim_trace(w, "committed %s%s%s%s (position %s, key %u)", m->id, m->is_poison ? ", poison" : "",
              m->is_unwanted ? ", unwanted" : "", m->is_shaped_away ? ", shaped away" : "",
              ow_position_format(position, place), m->key);
    if (m->is_poison)
        sim_happened(SIM_POISON);
    w->count++;
    return m;
}

/* The view that the source lends: its bytes lie in `bytes`, and there only. */
void sim_message_view(const struct sim_world *world, const struct sim_message *m, struct ow_message *ret, char *bytes,
                      size_t size)
{
    static const char filler[2048] = "payload payload payload";
    size_t at = 0;
    *ret = (struct ow_message){
        .position = m->position,
        .id = put(bytes, size, &at, m->id, strlen(m->id)),
        .type = put(bytes, size, &at, m->is_poison ? "bad\n" : "type", 4),
        .aggregate_type = put(bytes, size, &at, "thing", 5),
        .payload = put(bytes, size, &at, filler, m->payload_size),
        .headers = &header_of_all,
        .header_count = 1,
        .time_ms = (int64_t)m->position.major,
        .row = world->options.shapes ? &row_of_all : NULL,
    };
    if (m->key < SIM_KEYS_MAX - 1)
        ret->aggregate_id = put(bytes, size, &at, m->aggregate_id, strlen(m->aggregate_id));
}

struct sim_message *sim_message_of(struct sim_world *world, const struct ow_message *view)
{
    struct sim_message *m = NULL;
    for (uint32_t i = world->count; i-- > 0 && !m;)
        if (ow_bytes_is(view->id, world->messages[i].id))
            m = &world->messages[i];
    if (!m) {
        sim_fail(world, "ghost: a message \"%.*s\" that nobody committed", OW_PRINT(view->id));
        return NULL;
    }
    char bytes[4096];
    struct ow_message expected;
    sim_message_view(world, m, &expected, bytes, sizeof bytes);
    bool is_there = ow_position_compare(view->position, m->position) == 0 ||
                    (world->options.has_snapshot && sim_snapshot_has_place(world, m, view->position));
    if (!is_there || !ow_bytes_equal(view->type, expected.type) || !ow_bytes_equal(view->payload, expected.payload) ||
        view->header_count != 1 || !ow_bytes_equal(view->aggregate_id, expected.aggregate_id)) {
        sim_fail(world, "message %s is not what was committed", m->id);
        return NULL;
    }
    return m;
}

int sim_shape(void *context, const struct ow_row *row, struct ow_message *view, struct ow_error *err)
{
    struct sim_world *w = context;
    if (row != &row_of_all)
        sim_fail(w, "a message was shaped without its row");
    const struct sim_message *m = sim_message_of(w, view);
    if (!m || m->is_poison)
        return ow_error_set(err, OW_EINVALID, "the simulator cannot shape it");
    if (m->is_shaped_away) {
        sim_happened(SIM_SHAPED_AWAY);
        return 0;
    }
    view->topic = OW_BYTES("shaped");
    view->key = view->aggregate_id;
    view->is_shaped = true;
    return 1;
}

/* --- faults of calls --------------------------------------------------------------------------------- */

/* Stopped here, as by SIGSTOP, while the others go on. */
static void stop_inside(struct sim_node *node, const char *call)
{
    struct sim_world *w = node->world;
    sim_happened(SIM_STOPPED_INSIDE);
    sim_trace(w, "STOPPED before %s", call);
    node->is_stopped = true;
    for (uint32_t n = sim_between(&w->dice, 5, 80); n > 0 && !w->has_failed; n--) {
        sim_turn(w);
        sim_check_now(w);
    }
    node->is_stopped = false;
    sim_trace(w, "relay %u goes on with %s", node->life, call);
}

enum sim_fate sim_fate(struct sim_node *node, uint32_t per_mille, const char *call)
{
    struct sim_world *world = node->world;
    if (node->is_dead)
        return SIM_FAILS;
    if (node->stop_in > 0 && --node->stop_in == 0)
        stop_inside(node, call);
    if (node->crash_in > 0 && --node->crash_in == 0) {
        node->is_dead = true;
        sim_happened(node->crashes_after ? SIM_CRASH_AFTER : SIM_CRASH_BEFORE);
        sim_trace(world, "KILLED %s %s", node->crashes_after ? "after" : "before", call);
        return node->crashes_after ? SIM_FAILS_AFTER : SIM_FAILS;
    }
    if (world->is_calm || !sim_chance(&world->dice, per_mille))
        return SIM_GOES;
    return sim_roll(&world->dice, 3) == 0 ? SIM_FAILS_AFTER : SIM_FAILS;
}

int sim_fate_error(struct sim_node *node, enum sim_fate fate, const char *call, struct ow_error *err)
{
    /* Busy and full leave nothing behind; the others may come after the deed. */
    static const int before[] = {OW_EBUSY, OW_EUNREACHABLE, OW_EIO, OW_EFULL, OW_ENOMEM};
    static const int after[] = {OW_EUNREACHABLE, OW_EIO};
    struct sim_world *world = node->world;
    if (node->is_dead)
        return ow_error_set(err, OW_ECLOSED, "the relay is dead");
    int code = fate == SIM_FAILS ? before[sim_roll(&world->dice, 5)] : after[sim_roll(&world->dice, 2)];
    if (sim_chance(&world->dice, world->options.permanent)) {
        code = OW_EDENIED;
        node->has_permanent = true;
        sim_happened(SIM_PERMANENT);
    }
    if (fate == SIM_FAILS_AFTER)
        sim_happened(SIM_FAILED_AFTER);
    sim_trace(world, "%s fails%s: %s", call, fate == SIM_FAILS_AFTER ? " after it was done" : "", ow_error_name(code));
    return ow_error_set(err, code, "%s: %s", call, ow_error_name(code));
}
