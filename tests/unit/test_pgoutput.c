/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "codec/pgoutput.h"

/* Bytes by hand: numbers in network order, names with their NUL. */
static void put(struct ow_buf *to, uint64_t number, int size)
{
    while (size-- > 0)
        ow_buf_add_char(to, (char)(number >> (8 * size)));
}

static void put_name(struct ow_buf *to, const char *name)
{
    ow_buf_add(to, name, strlen(name) + 1);
}

static void put_text(struct ow_buf *to, const char *text)
{
    ow_buf_add_char(to, 't');
    put(to, strlen(text), 4);
    ow_buf_add_text(to, text);
}

static void must_read(const struct ow_buf *bytes, bool in_stream, struct ow_pgoutput *ret)
{
    struct ow_error err = {0};
    if (ow_pgoutput_read(ow_buf_bytes(bytes), in_stream, ret, &err) < 0)
        fail_msg("%s", err.text);
}

/* Any message is refused when it is shorter or longer by a byte, wherever it is cut. */
static void must_be_strict(struct ow_buf *bytes, bool in_stream)
{
    struct ow_pgoutput m;
    struct ow_error err = {0};
    for (size_t size = 0; size < bytes->size; size++) {
        assert_int_equal(ow_pgoutput_read((struct ow_bytes){bytes->data, size}, in_stream, &m, &err), OW_ECORRUPT);
        assert_true(err.text[0]);
    }
    ow_buf_add_char(bytes, 0);
    assert_int_equal(ow_pgoutput_read(ow_buf_bytes(bytes), in_stream, &m, &err), OW_ECORRUPT);
}

static void test_transactions(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf b = {0};
    struct ow_pgoutput m;
    ow_buf_add_char(&b, 'B');
    put(&b, 0x16B374D848, 8), put(&b, 1000000, 8), put(&b, 731, 4);
    must_read(&b, false, &m);
    assert_int_equal(m.kind, OW_PGOUTPUT_BEGIN);
    assert_true(m.transaction.commit_lsn == 0x16B374D848 && m.transaction.time_us == 1000000 && m.xid == 731);
    must_be_strict(&b, false);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'C');
    put(&b, 0, 1), put(&b, 5, 8), put(&b, 6, 8), put(&b, (uint64_t)-7, 8);
    must_read(&b, false, &m);
    assert_true(m.transaction.commit_lsn == 5 && m.transaction.end_lsn == 6 && m.transaction.time_us == -7);
    must_be_strict(&b, false);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'O');
    put(&b, 9, 8), put_name(&b, "elsewhere");
    must_read(&b, false, &m);
    assert_true(m.origin.lsn == 9 && ow_bytes_is(m.origin.name, "elsewhere"));
    must_be_strict(&b, false);
}

static void test_streams(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf b = {0};
    struct ow_pgoutput m;
    ow_buf_add_char(&b, 'S');
    put(&b, 8, 4), put(&b, 1, 1);
    must_read(&b, false, &m);
    assert_true(m.kind == OW_PGOUTPUT_STREAM_START && m.xid == 8 && m.stream.is_first);
    must_be_strict(&b, false);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'E');
    must_read(&b, true, &m);
    must_be_strict(&b, true);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'c');
    put(&b, 8, 4), put(&b, 0, 1), put(&b, 5, 8), put(&b, 6, 8), put(&b, 7, 8);
    must_read(&b, false, &m);
    assert_true(m.xid == 8 && m.transaction.commit_lsn == 5 && m.transaction.end_lsn == 6);
    must_be_strict(&b, false);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'A');
    put(&b, 8, 4), put(&b, 9, 4);
    must_read(&b, false, &m);
    assert_true(m.xid == 8 && m.abort.subxid == 9);
    must_be_strict(&b, false);
    b.size--;
    put(&b, 1, 8), put(&b, 2, 8); /* version 4 */
    must_read(&b, false, &m);
    assert_true(m.xid == 8 && m.abort.subxid == 9);
}

static void put_relation(struct ow_buf *b)
{
    put(b, 16384, 4), put_name(b, "onewrite"), put_name(b, "outbox"), ow_buf_add_char(b, 'd'), put(b, 2, 2);
    put(b, 1, 1), put_name(b, "seq"), put(b, 20, 4), put(b, UINT32_MAX, 4);
    put(b, 0, 1), put_name(b, "payload"), put(b, 25, 4), put(b, 7, 4);
}

static void test_relation(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf b = {0};
    struct ow_pgoutput m;
    ow_buf_add_char(&b, 'R');
    put_relation(&b);
    must_read(&b, false, &m);
    assert_true(m.relation.id == 16384 && ow_bytes_is(m.relation.schema, "onewrite") && m.relation.identity == 'd');
    struct ow_pg_relation rest = m.relation;
    assert_int_equal(rest.column_count, 2);
    struct ow_pg_column column = ow_pg_next_column(&rest);
    assert_true(column.is_key && ow_bytes_is(column.name, "seq") && column.type == 20 && column.modifier == -1);
    column = ow_pg_next_column(&rest);
    assert_true(!column.is_key && ow_bytes_is(column.name, "payload") && column.type == 25 && column.modifier == 7);
    assert_int_equal(rest.column_count, 0);
    must_be_strict(&b, false);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'R');
    put(&b, 99, 4);
    put_relation(&b);
    must_read(&b, true, &m);
    assert_true(m.xid == 99 && m.relation.id == 16384);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'Y');
    put(&b, 600, 4), put_name(&b, "public"), put_name(&b, "mood");
    must_read(&b, false, &m);
    assert_true(m.type.id == 600 && ow_bytes_is(m.type.name, "mood"));
    must_be_strict(&b, false);
}

static void test_values(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf b = {0};
    struct ow_pgoutput m;
    ow_buf_add_char(&b, 'I');
    put(&b, 16384, 4), ow_buf_add_char(&b, 'N'), put(&b, 5, 2);
    put_text(&b, "one"), put_text(&b, ""), ow_buf_add_char(&b, 'n'), ow_buf_add_char(&b, 'u');
    ow_buf_add_char(&b, 'b'), put(&b, 4, 4), put(&b, 42, 4);
    must_read(&b, false, &m);
    assert_true(m.row.relation == 16384 && m.row.has_new && !m.row.old_kind);
    struct ow_pg_tuple rest = m.row.new_row;
    struct ow_pg_value v = ow_pg_next_value(&rest);
    assert_true(v.kind == OW_PG_TEXT && ow_bytes_is(v.bytes, "one"));
    v = ow_pg_next_value(&rest);
    assert_true(v.kind == OW_PG_TEXT && v.bytes.data && v.bytes.size == 0);
    v = ow_pg_next_value(&rest);
    assert_true(v.kind == OW_PG_NULL && !v.bytes.data);
    v = ow_pg_next_value(&rest);
    assert_true(v.kind == OW_PG_UNCHANGED && !v.bytes.data);
    v = ow_pg_next_value(&rest);
    assert_true(v.kind == OW_PG_BINARY && v.bytes.size == 4 && v.bytes.data[3] == 42);
    assert_int_equal(rest.count, 0);
    must_be_strict(&b, false);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'I');
    put(&b, 1, 4), ow_buf_add_char(&b, 'N'), put(&b, 1, 2), ow_buf_add_char(&b, 't'), put(&b, UINT32_MAX, 4);
    assert_int_equal(ow_pgoutput_read(ow_buf_bytes(&b), false, &m, NULL), OW_ECORRUPT);
    b.data[b.size - 5] = 'x';
    assert_int_equal(ow_pgoutput_read(ow_buf_bytes(&b), false, &m, NULL), OW_ECORRUPT);
}

static void test_updates_and_deletes(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf b = {0};
    struct ow_pgoutput m;
    for (const char *old = "KO-"; *old; old++) {
        ow_buf_clear(&b);
        ow_buf_add_char(&b, 'U');
        put(&b, 7, 4);
        if (*old != '-')
            ow_buf_add_char(&b, *old), put(&b, 1, 2), put_text(&b, "old");
        ow_buf_add_char(&b, 'N'), put(&b, 1, 2), put_text(&b, "new");
        must_read(&b, false, &m);
        assert_int_equal(m.row.old_kind, *old == '-' ? 0 : *old);
        assert_int_equal(m.row.old_row.count, *old != '-');
        struct ow_pg_tuple rest = m.row.new_row;
        assert_true(ow_bytes_is(ow_pg_next_value(&rest).bytes, "new"));
        must_be_strict(&b, false);
    }
    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'D');
    put(&b, 7, 4), ow_buf_add_char(&b, 'K'), put(&b, 1, 2), put_text(&b, "old");
    must_read(&b, false, &m);
    assert_true(m.row.old_kind == 'K' && !m.row.has_new);
    must_be_strict(&b, false);
    b.data[5] = 'N'; /* a delete has no new row, and an insert no old one */
    assert_int_equal(ow_pgoutput_read((struct ow_bytes){b.data, b.size - 1}, false, &m, NULL), OW_ECORRUPT);
    b.data[0] = 'I';
    b.data[5] = 'K';
    assert_int_equal(ow_pgoutput_read((struct ow_bytes){b.data, b.size - 1}, false, &m, NULL), OW_ECORRUPT);
}

static void test_truncate_and_message(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf b = {0};
    struct ow_pgoutput m;
    ow_buf_add_char(&b, 'T');
    put(&b, 2, 4), put(&b, 3, 1), put(&b, 11, 4), put(&b, 12, 4);
    must_read(&b, false, &m);
    assert_true(m.truncate.count == 2 && m.truncate.is_cascade && m.truncate.restarts_identity);
    assert_true(ow_pg_truncated(&m, 0) == 11 && ow_pg_truncated(&m, 1) == 12);
    must_be_strict(&b, false);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'M');
    put(&b, 1, 1), put(&b, 77, 8), put_name(&b, "onewrite"), put(&b, 2, 4), ow_buf_add_text(&b, "{}");
    must_read(&b, false, &m);
    assert_true(m.message.is_transactional && m.message.lsn == 77 && ow_bytes_is(m.message.prefix, "onewrite"));
    assert_true(ow_bytes_is(m.message.content, "{}"));
    must_be_strict(&b, false);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'P');
    assert_int_equal(ow_pgoutput_read(ow_buf_bytes(&b), false, &m, NULL), OW_EUNSUPPORTED);
    b.data[0] = '?';
    assert_int_equal(ow_pgoutput_read(ow_buf_bytes(&b), false, &m, NULL), OW_ECORRUPT);
    assert_int_equal(ow_pgoutput_read(OW_NULL_BYTES, false, &m, NULL), OW_ECORRUPT);
}

static void test_frames(void **state)
{
    (void)state;
    OW_CLEANUP(ow_buf_done) struct ow_buf b = {0};
    struct ow_pg_frame f;
    ow_buf_add_char(&b, 'w');
    put(&b, 1, 8), put(&b, 2, 8), put(&b, 3, 8), ow_buf_add_text(&b, "data");
    assert_int_equal(ow_pg_frame_read(ow_buf_bytes(&b), &f, NULL), 0);
    assert_true(f.kind == OW_PG_DATA && f.start_lsn == 1 && f.end_lsn == 2 && f.time_us == 3 &&
                ow_bytes_is(f.data, "data"));
    assert_int_equal(ow_pg_frame_read((struct ow_bytes){b.data, 24}, &f, NULL), OW_ECORRUPT);

    ow_buf_clear(&b);
    ow_buf_add_char(&b, 'k');
    put(&b, 2, 8), put(&b, 3, 8), put(&b, 1, 1);
    assert_int_equal(ow_pg_frame_read(ow_buf_bytes(&b), &f, NULL), 0);
    assert_true(f.kind == OW_PG_KEEPALIVE && f.end_lsn == 2 && f.wants_reply);
    for (size_t size = 0; size < b.size; size++)
        assert_int_equal(ow_pg_frame_read((struct ow_bytes){b.data, size}, &f, NULL), OW_ECORRUPT);
    b.data[0] = '?';
    assert_int_equal(ow_pg_frame_read(ow_buf_bytes(&b), &f, NULL), OW_ECORRUPT);

    char status[OW_PG_STATUS_SIZE];
    ow_pg_status_write(0x0102030405060708, 9, -1, true, status);
    assert_memory_equal(status,
                        "r\1\2\3\4\5\6\7\10\0\0\0\0\0\0\0\11\0\0\0\0\0\0\0\11\377\377\377\377\377\377\377\377\1", 34);
}

static void test_text_forms(void **state)
{
    (void)state;
    char text[OW_PG_LSN_TEXT_SIZE];
    uint64_t lsn;
    assert_string_equal(ow_pg_lsn_format(0x16B374D848, text), "16/B374D848");
    assert_int_equal(ow_pg_lsn_parse(ow_bytes_of("16/b374D848"), &lsn, NULL), 0);
    assert_true(lsn == 0x16B374D848);
    static const char *const wrong[] = {"", "/", "1/", "/1", "1/2/3", "1/123456789", "x/1", "1/1 "};
    for (size_t i = 0; i < OW_COUNT_OF(wrong); i++)
        assert_int_equal(ow_pg_lsn_parse(ow_bytes_of(wrong[i]), &lsn, NULL), OW_EINVALID);

    OW_CLEANUP(ow_buf_done) struct ow_buf bytes = {0};
    assert_int_equal(ow_pg_bytea_decode(&bytes, ow_bytes_of("\\x48656c6C6f00"), NULL), 0);
    assert_true(bytes.size == 6 && memcmp(bytes.data, "Hello\0", 6) == 0);
    assert_int_equal(ow_pg_bytea_decode(&bytes, ow_bytes_of("\\x"), NULL), 0);
    assert_int_equal(bytes.size, 6);
    static const char *const not_bytea[] = {"", "\\", "\\x1", "x12", "\\y12", "\\x1g"};
    for (size_t i = 0; i < OW_COUNT_OF(not_bytea); i++)
        assert_int_equal(ow_pg_bytea_decode(&bytes, ow_bytes_of(not_bytea[i]), NULL), OW_EINVALID);

    static const struct {
        const char *text;
        int64_t ms;
    } times[] = {
        {"2026-11-21 13:55:55.123456+00", 1795269355123}, {"2026-11-21 13:55:55+00", 1795269355000},
        {"2026-11-21 15:25:55.123+01:30", 1795269355123}, {"2026-11-21 13:55:55", 1795269355000},
        {"2000-01-01 00:00:00-00", OW_PG_EPOCH_MS},
    };
    int64_t ms;
    for (size_t i = 0; i < OW_COUNT_OF(times); i++) {
        assert_int_equal(ow_pg_time_parse(ow_bytes_of(times[i].text), &ms, NULL), 0);
        assert_true(ms == times[i].ms);
    }
    static const char *const not_times[] = {"", "infinity", "2026-11-21", "0044-03-15 00:00:00+00 BC",
                                            "2026-11-21T13:55:55Z"};
    for (size_t i = 0; i < OW_COUNT_OF(not_times); i++)
        assert_int_equal(ow_pg_time_parse(ow_bytes_of(not_times[i]), &ms, NULL), OW_EINVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_relation),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_updates_and_deletes),
        cmocka_unit_test(test_truncate_and_message),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_text_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
