/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes a dead letter, out of the log. */
#include <inttypes.h>
#include <stdio.h>

#include "codec/row_image.h"
#include "source/postgres_log.h"

static void add_all_columns(struct ow_pg_log *log, const struct ow_row_table *table, const struct ow_bytes *values)
{
    for (size_t i = 0; i < table->column_count; i++) {
        ow_row_image_add(&log->image, table->columns[i].name);
        ow_row_image_add(&log->image, values[i]);
    }
}

static void add_known_columns(struct ow_pg_log *log, const struct ow_pg_layout *layout, const struct ow_bytes *values)
{
    for (int role = 0; role < OW_PG_ROLE_COUNT; role++) {
        if (role == OW_PG_SEQ || layout->column[role] < 0)
            continue;
        ow_row_image_add(&log->image, ow_bytes_of(ow_pg_role_name((enum ow_pg_role)role)));
        ow_row_image_add(&log->image, values[layout->column[role]]);
    }
}

void ow_pg_log_add_image(struct ow_pg_log *log, const struct ow_pg_layout *layout, const struct ow_bytes *values,
                         struct ow_message *message)
{
    if (layout->outbox == log->own_outbox && !log->options.wants_rows)
        return;
    const struct ow_pg_outbox_table *outbox = &log->rows.outboxes[layout->outbox];
    ow_buf_clear(&log->image);
    ow_row_image_add(&log->image, ow_bytes_of(outbox->schema));
    ow_row_image_add(&log->image, ow_bytes_of(outbox->table));
    if (log->options.wants_rows)
        add_all_columns(log, &log->tables[layout->outbox].table, values);
    else
        add_known_columns(log, layout, values);
    message->image = log->image.has_failed ? OW_BYTES("") : ow_buf_bytes(&log->image);
}

static enum ow_letter_origin origin_of(const struct ow_pg_log *log, const struct ow_message *message)
{
    if (message->image.data)
        return message->image.size > 0 ? OW_LETTER_OF_ROW : OW_LETTER_OF_OTHER;
    if (!message->id.data) /* none of ours, whatever its prefix says */
        return OW_LETTER_OF_OTHER;
    return log->options.by_message ? OW_LETTER_OF_MESSAGE : OW_LETTER_OF_OUTBOX;
}

static int write_letter(struct ow_pg_log *log, const struct ow_message *message, const char *reason, uint32_t attempts,
                        struct ow_error *err)
{
    char place[OW_POSITION_TEXT_SIZE + 16];
    /* A snapshot that is begun again has other positions: there the row's own number names it. */
    int64_t seq = message->position.major < log->slot_start ? ow_pg_track_seq(&log->track, message->position) : 0;
    if (seq)
        (void)snprintf(place, sizeof place, "seq %" PRId64, seq);
    else
        (void)ow_position_format(message->position, place);
    const struct ow_dead_letter letter = {.message = message,
                                          .origin = origin_of(log, message),
                                          .place = place,
                                          .position = message->position.major,
                                          .reason = reason,
                                          .attempts = attempts};
    return ow_dead_letters_write(&log->letters, log->side.store, &letter, err);
}

int ow_pg_log_set_aside(struct ow_source *source, const struct ow_message *message, const char *reason,
                        uint32_t attempts, struct ow_error *err)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    int r = source->parks ? ow_dead_letters_note(&log->letters, message->key, err) : 0;
    return r < 0 ? r : write_letter(log, message, reason, attempts, err);
}

int ow_pg_log_park(struct ow_source *source, const struct ow_message *message, struct ow_error *err)
{
    struct ow_pg_log *log = ow_pg_log_of(source);
    int r = ow_dead_letters_stand_before(&log->letters, log->side.store, message, message->position.major, err);
    if (r == 1) {
        r = write_letter(log, message, NULL, 0, err);
        r = r < 0 ? r : 1;
    }
    return r;
}
