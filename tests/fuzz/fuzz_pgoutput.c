/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, read as a frame of the replication stream and as a message, inside a stream and outside of one. What
 * is given out lies within what was read, to the last byte.
 */
#include "fuzz.h"

#include "codec/pgoutput.h"

static void lies_within(struct ow_bytes part, struct ow_bytes whole)
{
    if (part.data && part.size)
        must(part.data >= whole.data && part.data + part.size <= whole.data + whole.size, "it lies within the input");
}

static void try_tuple(struct ow_pg_tuple tuple, struct ow_bytes input)
{
    while (tuple.count > 0)
        lies_within(ow_pg_next_value(&tuple).bytes, input);
    must(tuple.raw.size == 0, "a tuple ends with its last value");
}

static void try_message(struct ow_bytes input, bool in_stream)
{
    struct ow_pgoutput m;
    struct ow_error err = {0};
    if (ow_pgoutput_read(input, in_stream, &m, &err) < 0) {
        must(err.code < 0 && err.text[0], "an error says what it is");
        return;
    }
    switch (m.kind) {
    case OW_PGOUTPUT_RELATION:
        lies_within(m.relation.schema, input);
        while (m.relation.column_count > 0)
            lies_within(ow_pg_next_column(&m.relation).name, input);
        must(m.relation.raw.size == 0, "a relation ends with its last column");
        break;
    case OW_PGOUTPUT_INSERT:
    case OW_PGOUTPUT_UPDATE:
    case OW_PGOUTPUT_DELETE:
        try_tuple(m.row.old_row, input);
        try_tuple(m.row.new_row, input);
        break;
    case OW_PGOUTPUT_TRUNCATE:
        for (uint32_t i = 0; i < m.truncate.count; i++)
            (void)ow_pg_truncated(&m, i);
        break;
    case OW_PGOUTPUT_MESSAGE:
        lies_within(m.message.prefix, input);
        lies_within(m.message.content, input);
        break;
    default:
        break;
    }
}

static void try_texts(struct ow_bytes input)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf bytes = {0};
    char text[OW_PG_LSN_TEXT_SIZE];
    uint64_t lsn, again;
    int64_t ms;
    if (ow_pg_lsn_parse(input, &lsn, NULL) == 0)
        must(ow_pg_lsn_parse(ow_bytes_of(ow_pg_lsn_format(lsn, text)), &again, NULL) == 0 && lsn == again,
             "the same LSN");
    if (ow_pg_bytea_decode(&bytes, input, NULL) == 0)
        must(bytes.size * 2 + 2 == input.size, "two digits a byte");
    if (ow_pg_time_parse(input, &ms, NULL) < 0)
        ms = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes input = {size ? (const char *)data : "", size};
    struct ow_pg_frame frame;
    try_message(input, false);
    try_message(input, true);
    try_texts(input);
    if (ow_pg_frame_read(input, &frame, NULL) == 0 && frame.kind == OW_PG_DATA)
        try_message(frame.data, false);
    return 0;
}
