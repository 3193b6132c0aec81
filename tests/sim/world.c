/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>

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

/* The view that the source lends: its bytes lie in `bytes`, and there only. */
void sim_message_view(const struct sim_message *m, struct ow_message *ret, char *bytes, size_t size)
{
    static const char filler[2048] = "payload payload payload";
    size_t at = 0;
    *ret = (struct ow_message){
        .position = {m->seq, 0},
        .id = put(bytes, size, &at, m->id, strlen(m->id)),
        .type = put(bytes, size, &at, m->is_poison ? "bad\n" : "type", 4),
        .aggregate_type = put(bytes, size, &at, "thing", 5),
        .payload = put(bytes, size, &at, filler, m->payload_size),
        .headers = &header_of_all,
        .header_count = 1,
        .time_ms = (int64_t)m->seq,
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
    sim_message_view(m, &expected, bytes, sizeof bytes);
    if (view->position.major != m->seq || view->position.minor != 0 || !ow_bytes_equal(view->type, expected.type) ||
        !ow_bytes_equal(view->payload, expected.payload) || view->header_count != 1 ||
        !ow_bytes_equal(view->aggregate_id, expected.aggregate_id)) {
        sim_fail(world, "message %s is not what was committed", m->id);
        return NULL;
    }
    return m;
}

/* --- faults of calls --------------------------------------------------------------------------------- */

enum sim_fate sim_fate(struct sim_world *world, uint32_t per_mille, const char *call)
{
    if (world->is_dead)
        return SIM_FAILS;
    if (world->crash_in > 0 && --world->crash_in == 0) {
        world->is_dead = true;
        sim_happened(world->crashes_after ? SIM_CRASH_AFTER : SIM_CRASH_BEFORE);
        sim_trace(world, "KILLED %s %s", world->crashes_after ? "after" : "before", call);
        return world->crashes_after ? SIM_FAILS_AFTER : SIM_FAILS;
    }
    if (world->is_calm || !sim_chance(&world->dice, per_mille))
        return SIM_GOES;
    return sim_roll(&world->dice, 3) == 0 ? SIM_FAILS_AFTER : SIM_FAILS;
}

int sim_fate_error(struct sim_world *world, enum sim_fate fate, const char *call, struct ow_error *err)
{
    /* Busy and full leave nothing behind; the others may come after the deed. */
    static const int before[] = {OW_EBUSY, OW_EUNREACHABLE, OW_EIO, OW_EFULL, OW_ENOMEM};
    static const int after[] = {OW_EUNREACHABLE, OW_EIO};
    if (world->is_dead)
        return ow_error_set(err, OW_ECLOSED, "the relay is dead");
    int code = fate == SIM_FAILS ? before[sim_roll(&world->dice, 5)] : after[sim_roll(&world->dice, 2)];
    if (sim_chance(&world->dice, world->options.permanent)) {
        code = OW_EDENIED;
        world->has_permanent = true;
        sim_happened(SIM_PERMANENT);
    }
    if (fate == SIM_FAILS_AFTER)
        sim_happened(SIM_FAILED_AFTER);
    sim_trace(world, "%s fails%s: %s", call, fate == SIM_FAILS_AFTER ? " after it was done" : "", ow_error_name(code));
    return ow_error_set(err, code, "%s: %s", call, ow_error_name(code));
}
