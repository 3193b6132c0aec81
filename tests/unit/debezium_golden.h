/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden cases: rows that a real PostgreSQL held, the properties of a real Debezium Server, and the records that it
 * wrote for them. A case is a JSON file in tests/golden/debezium:
 *
 *     {"description", "properties" (the text of the file), "stops" (whether Debezium stopped before the end),
 *      "tables": [{"name", "columns": [{"name","type","typname","element","typmod","enum","labels","not_null",
 *                 "default"}]}],
 *      "rows": [[table, "INSERT"|"UPDATE"|"DELETE", [text or null, …]], …],
 *      "records": [[topic, key, value, [[name, value], …]], …]}
 *
 * Keys, values and headers are base64; the order counts within each topic, or, where a fifth item of a record says its
 * partition, within that.
 */
#ifndef OW_TEST_DEBEZIUM_GOLDEN_H
#define OW_TEST_DEBEZIUM_GOLDEN_H

#include "base/bytes.h"

/* Appends what differs, a line each; nothing: the case comes out as it should. */
void golden_run(const char *path, struct ow_buf *differences);

#endif
