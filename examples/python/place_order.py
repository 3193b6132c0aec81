#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A service that places an order and says so, both or neither, with nothing but Python's own sqlite3.

    onewrite init sqlite:shop.db
    ./place_order.py shop.db 42 990
    onewrite relay sqlite:shop.db stdout:
"""

import json
import sqlite3
import sys
import uuid


def place_order(db, order, total):
    # BEGIN IMMEDIATE: waits for its turn here, and cannot fail half way because another one wrote first.
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("INSERT INTO orders (id, total) VALUES (?, ?)", (order, total))
        db.execute(
            "INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload, headers) VALUES (?, ?, ?, ?, ?, ?)",
            (str(uuid.uuid4()), "order", order, "OrderPlaced", json.dumps({"total": total}), json.dumps({"trace": "a1b2"})),
        )
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")  # neither the order nor the message
        raise


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: place_order.py DATABASE ID TOTAL")
    path, order, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # isolation_level=None: transactions begin where this program says so. timeout: for another writer to be done.
    db = sqlite3.connect(path, timeout=5, isolation_level=None)
    try:
        db.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, total INTEGER)")
        place_order(db, order, total)
    except sqlite3.Error as error:
        sys.exit(f"place_order.py: {path}: {error}")
    finally:
        db.close()


if __name__ == "__main__":
    main()
