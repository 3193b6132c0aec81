/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the log source that need no server: what may be forgotten, what is put aside, what a row means. */
#include "unit.h"

#include <stdio.h>

#include "source/postgres_log_rows.h"
#include "source/postgres_log_spill.h"
#include "source/postgres_log_track.h"

/* --- track -------------------------------------------------------------------------------------------- */

static int64_t forgotten;

static void forget(void *context, int64_t seq)
{
    (void)context;
    forgotten = forgotten * 10 + seq;
}

static struct ow_position at(uint64_t major, uint64_t minor)
{
    return (struct ow_position){major, minor};
}

static void row(struct ow_pg_track *track, uint64_t major, uint64_t minor, int64_t seq, int expected)
{
    assert_int_equal(ow_pg_track_row(track, at(major, minor), seq, NULL), expected);
}

static void test_what_may_be_forgotten(void **state)
{
    (void)state;
    OW_CLEANUP(ow_pg_track_done) struct ow_pg_track track = {0};
    struct ow_position idle;
    forgotten = 0;
    row(&track, 100, 1, 1, 1);
    row(&track, 100, 2, 2, 1);
    ow_pg_track_read(&track, 110);
    row(&track, 200, 1, 3, 1);
    assert_false(ow_pg_track_idle(&track, &idle));
    ow_pg_track_confirm(&track, at(100, 1), forget, NULL);
    assert_true(track.flush == 0 && forgotten == 1);
    /* The end of a transaction, once what is on record lies behind it. */
    ow_pg_track_confirm(&track, at(100, 2), forget, NULL);
    assert_true(track.done == 110 && track.flush == 0 && forgotten == 12);
    assert_true(ow_position_compare(ow_pg_track_record(&track, at(100, 2)), at(100, 2)) == 0);
    assert_int_equal(ow_pg_track_seq(&track, at(200, 1)), 3);
    ow_pg_track_confirm(&track, at(200, 1), forget, NULL);
    assert_true(track.flush == 110 && forgotten == 123);
    ow_pg_track_read(&track, 210);
    assert_true(track.flush == 110);
    assert_true(ow_pg_track_idle(&track, &idle) && ow_position_compare(idle, at(210, 0)) == 0);
    ow_pg_track_confirm(&track, idle, forget, NULL);
    assert_true(track.flush == 210 && !ow_pg_track_idle(&track, &idle));
}

static void test_what_is_on_record_is_passed_over(void **state)
{
    (void)state;
    OW_CLEANUP(ow_pg_track_done) struct ow_pg_track track = {.confirmed = {200, 2}};
    row(&track, 100, 1, 1, 0);
    ow_pg_track_read(&track, 110);
    assert_true(track.flush == 110); /* recorded before, so it may be told at once */
    row(&track, 200, 2, 2, 0);
    row(&track, 200, 3, 3, 1);
    ow_pg_track_read(&track, 210);
    assert_true(ow_position_compare(ow_pg_track_record(&track, at(200, 3)), at(210, 0)) == 0);
    ow_pg_track_restart(&track);
    row(&track, 200, 3, 3, 1); /* read again, for it was not confirmed */
    assert_true(track.flush == 0);
}

static void test_many_rows(void **state)
{
    (void)state;
    OW_CLEANUP(ow_pg_track_done) struct ow_pg_track track = {0};
    for (uint64_t i = 1; i <= 5000; i++) {
        row(&track, i * 10, 1, 0, 1);
        ow_pg_track_read(&track, i * 10 + 5);
        if (i % 3 == 0)
            ow_pg_track_confirm(&track, at(i / 2 * 10, 1), forget, NULL);
    }
    ow_pg_track_confirm(&track, at(50000, 1), forget, NULL);
    assert_true(track.done == 50005 && track.flush == 49995);
}

/* --- spill -------------------------------------------------------------------------------------------- */

static void add(struct ow_pg_spill *spill, uint32_t xid, uint32_t subxid, bool survives, const char *text)
{
    const struct ow_pg_change change = {xid, subxid, survives, strlen(text), ow_bytes_of(text)};
    assert_int_equal(ow_pg_spill_add(spill, &change, NULL), 0);
}

static void must_be(struct ow_pg_spill *spill, const char *text)
{
    struct ow_pg_change change;
    assert_int_equal(ow_pg_spill_next(spill, &change, NULL), 1);
    assert_true(ow_bytes_is(change.bytes, text) && change.lsn == strlen(text));
}

static void test_what_is_put_aside(void **state)
{
    (void)state;
    OW_CLEANUP(ow_pg_spill_done) struct ow_pg_spill spill = {0};
    struct ow_pg_change change;
    assert_int_equal(ow_pg_spill_init(&spill, NULL, NULL), 0);
    add(&spill, 7, 7, false, "a");
    add(&spill, 9, 9, false, "of another");
    add(&spill, 7, 8, false, "rolled back");
    add(&spill, 7, 8, true, "survives");
    add(&spill, 7, 10, false, "b");
    assert_int_equal(ow_pg_spill_abort(&spill, 7, 8, NULL), 0);
    assert_int_equal(ow_pg_spill_abort(&spill, 1, 1, NULL), 0);
    assert_true(ow_pg_spill_read(&spill, 7));
    must_be(&spill, "a");
    must_be(&spill, "survives");
    must_be(&spill, "b");
    assert_int_equal(ow_pg_spill_next(&spill, &change, NULL), 0);
    assert_false(ow_pg_spill_read(&spill, 7));
    assert_int_equal(ow_pg_spill_abort(&spill, 9, 9, NULL), 0);
    assert_null(spill.first);
}

static void test_more_than_memory_holds(void **state)
{
    (void)state;
    OW_CLEANUP(ow_pg_spill_done) struct ow_pg_spill spill = {0};
    static char large[300000];
    char text[32];
    struct ow_pg_change change;
    memset(large, 'x', sizeof large - 1);
    assert_int_equal(ow_pg_spill_init(&spill, "/tmp", NULL), 0);
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(text, sizeof text, "change number %d", i);
        add(&spill, 7, i % 5 ? 7 : 8, false, text);
        if (i % 7000 == 0)
            add(&spill, 7, 7, false, large);
    }
    assert_int_equal(ow_pg_spill_abort(&spill, 7, 8, NULL), 0);
    assert_true(ow_pg_spill_read(&spill, 7));
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(text, sizeof text, "change number %d", i);
        if (i % 5)
            must_be(&spill, text);
        if (i % 7000 == 0)
            must_be(&spill, large);
    }
    assert_int_equal(ow_pg_spill_next(&spill, &change, NULL), 0);

    struct ow_error err = {0};
    struct ow_pg_spill nowhere = {0};
    assert_int_equal(ow_pg_spill_init(&nowhere, "/no/such/folder", &err), 0);
    assert_int_equal(ow_pg_spill_add(&nowhere, &(struct ow_pg_change){7, 7, false, 1, ow_bytes_of(large)}, &err),
                     OW_ENOTFOUND);
    assert_text_has(err.text, "/no/such/folder");
    ow_pg_spill_done(&nowhere);
}

/* --- rows --------------------------------------------------------------------------------------------- */

static void test_logical_messages(void **state)
{
    (void)state;
    OW_CLEANUP(ow_pg_rows_done) struct ow_pg_rows rows = {0};
    struct ow_message m;
    assert_int_equal(ow_pg_rows_init(&rows, "onewrite.outbox", NULL), 0);
    ow_pg_rows_logical(&rows,
                       OW_BYTES("{\"id\":\"\\u0061\",\"aggregatetype\":\"order\",\"aggregateid\":\"k\",\"type\":\"T\","
                                "\"headers\":{\"x\":\"1\"},\"time\":5,\"payload\":\"a\\nb\"}"),
                       1, &m);
    assert_null(m.defect.data);
    assert_true(ow_bytes_is(m.id, "a") && ow_bytes_is(m.payload, "a\nb") && m.time_ms == 5 && m.header_count == 1);
    ow_pg_rows_logical(&rows,
                       OW_BYTES("{\"id\":\"\\u0061\",\"aggregatetype\":\"order\",\"aggregateid\":\"k\",\"type\":\"T\","
                                "\"payload_base64\":\"AP+A\"}"),
                       1, &m);
    assert_true(!m.defect.data && m.payload.size == 3 && m.time_ms == 1 && ow_bytes_is(m.id, "a"));
    static const char *const wrong[] = {
        "", "[]", "{", "{\"id\":\"a\"}", "{} x", "{\"payload_base64\":\"?\"}", "{\"time\":\"soon\"}"};
    for (size_t i = 0; i < OW_COUNT_OF(wrong); i++) {
        ow_pg_rows_logical(&rows, ow_bytes_of(wrong[i]), 1, &m);
        assert_non_null(m.defect.data);
    }
    ow_pg_rows_logical(&rows, OW_BYTES("no json"), 1, &m);
    assert_true(ow_bytes_is(m.payload, "no json"));
}

static void test_rows(void **state)
{
    (void)state;
    OW_CLEANUP(ow_pg_rows_done) struct ow_pg_rows rows = {0};
    struct ow_pg_layout layout;
    struct ow_message m;
    static const char *const names[] = {"payload",     "id",   "aggregatetype", "other",
                                        "aggregateid", "type", "seq",           "time"};
    static const uint32_t types[] = {17, 2950, 25, 25, 23, 25, 20, 1184};
    struct ow_bytes values[] = {
        OW_BYTES("\\x00ff"), OW_BYTES("i"), OW_BYTES("order"), OW_NULL_BYTES,
        OW_BYTES("7"),       OW_BYTES("T"), OW_BYTES("42"),    OW_BYTES("2000-01-01 00:00:00.001+00")};
    assert_int_equal(ow_pg_rows_init(&rows, "a.b.c", NULL), OW_EUSAGE);
    assert_int_equal(ow_pg_rows_init(&rows, ".b", NULL), OW_EUSAGE);
    assert_int_equal(ow_pg_rows_init(&rows, "outbox", NULL), 0);
    assert_string_equal(rows.outboxes[0].schema, "public");
    ow_pg_layout_init(&layout);
    for (size_t i = 0; i < OW_COUNT_OF(names); i++) {
        assert_int_equal(ow_pg_layout_missing(&layout) != NULL, i < 6); /* the first six are what a message needs */
        ow_pg_layout_add(&layout, ow_bytes_of(names[i]), types[i]);
    }
    ow_pg_rows_message(&rows, &layout, values, 1, &m);
    assert_true(!m.defect.data && m.payload.size == 2 && ow_bytes_is(m.aggregate_id, "7"));
    assert_true(m.time_ms == OW_PG_EPOCH_MS + 1 && ow_pg_rows_seq(&layout, values) == 42);
    values[0] = OW_BYTES("no bytea");
    ow_pg_rows_message(&rows, &layout, values, 1, &m);
    assert_non_null(m.defect.data);
    layout.column[OW_PG_TYPE] = -1;
    ow_pg_rows_message(&rows, &layout, values, 1, &m);
    assert_text_has(m.defect.data, "no column type");
}

/* What is known of the row before is no more than a short cut. */
static void test_times_of_rows(void **state)
{
    static const char *const texts[] = {"2026-11-21 16:20:05.926239+00", "2026-11-21 16:20:05.5+00",
                                        "2026-11-21 16:20:05+00",        "2026-11-21 16:20:05.92+02",
                                        "2026-11-21 16:20:05.92+00",     "2026-11-21 16:20:06.1+00",
                                        "2026-11-21 16:20:06.1+02:30",   "2026-11-21 16:20:06.25",
                                        "2026-11-21 16:20:06.1+02:30",   "2026-11-21 16:20:06.+02:30",
                                        "2026-11-21 16:20:06.1x+02:30",  "1969-12-31 23:59:59.999+00",
                                        "1969-12-31 23:59:59.001+00",    "infinity",
                                        "2026-11-21 16:20:06.1+02:30:59"};
    OW_CLEANUP(ow_pg_rows_done) struct ow_pg_rows rows = {0};
    struct ow_pg_layout layout;
    (void)state;
    assert_int_equal(ow_pg_rows_init(&rows, "outbox", NULL), 0);
    ow_pg_layout_init(&layout);
    for (int role = 0; role <= OW_PG_PAYLOAD; role++)
        layout.column[role] = 0;
    layout.column[OW_PG_TIME] = 1;
    layout.column_count = 2;
    for (size_t i = 0; i < 3 * OW_COUNT_OF(texts); i++) {
        struct ow_bytes values[] = {OW_BYTES("a"), ow_bytes_of(texts[i * 7 % OW_COUNT_OF(texts)])};
        struct ow_message m;
        int64_t expected = 0;
        int r = ow_pg_time_parse(values[1], &expected, NULL);
        ow_pg_rows_message(&rows, &layout, values, 1, &m);
        assert_int_equal(r < 0, m.defect.data != NULL);
        assert_int_equal(m.time_ms, r < 0 ? 1 : expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_may_be_forgotten),
        cmocka_unit_test(test_what_is_on_record_is_passed_over),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_what_is_put_aside),
        cmocka_unit_test(test_more_than_memory_holds),
        cmocka_unit_test(test_logical_messages),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_times_of_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
