# SPDX-License-Identifier: Apache-2.0
"""The oracle: a shop that knows what it committed, and the comparison with what was accepted.

A shop puts each order into its own table and the message into the outbox, in one transaction, so its table is
the truth. `compare` counts what a broker has that differs from it.
"""

import json
import sqlite3
from collections import Counter, namedtuple

Verdict = namedtuple("Verdict", "lost ghosts out_of_order duplicates")

INSERT = ("INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) "
          "VALUES (?, 'order', ?, 'OrderPlaced', ?)")


class Shop:
    """Orders of a few customers. The number of an order within its customer says where it belongs."""

    def __init__(self, path, customers=5):
        self.db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self.db.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, customer TEXT, number INTEGER)")
        self.db.execute("CREATE INDEX IF NOT EXISTS by_customer ON orders (customer, number)")
        self.customers = customers
        self.count = self.db.execute("SELECT count(*) FROM orders").fetchone()[0]

    def place(self, orders=1, rolled_back=False):
        """That many orders, one message each, all in one transaction."""
        self.db.execute("BEGIN IMMEDIATE")
        for _ in range(orders):
            self.count += 1
            customer = f"customer-{self.count % self.customers}"
            number, = self.db.execute("SELECT coalesce(max(number), 0) + 1 FROM orders WHERE customer = ?", (customer,)).fetchone()
            identity = f"{'ghost' if rolled_back else 'order'}-{self.count}"
            self.db.execute("INSERT INTO orders VALUES (?, ?, ?)", (identity, customer, number))
            self.db.execute(INSERT, (identity, customer, json.dumps({"number": number})))
        self.db.execute("ROLLBACK" if rolled_back else "COMMIT")
        if rolled_back:
            self.count -= orders

    def truth(self):
        return {identity: (customer, number) for identity, customer, number in self.db.execute("SELECT * FROM orders")}

    def waiting(self):
        return self.db.execute("SELECT count(*) FROM onewrite_outbox").fetchone()[0]

    def dead_letters(self):
        return self.db.execute("SELECT id, reason FROM onewrite_dead_letter ORDER BY number").fetchall()


def compare(truth, records):
    """truth: id -> (key, number); records: objects of `tail -o jsonl`, in the order in which they were accepted."""
    times = Counter(record["id"] for record in records)
    seen, last, out_of_order = set(), {}, 0
    for record in records:
        if record["id"] in seen or record["id"] not in truth:
            continue
        seen.add(record["id"])
        key, number = truth[record["id"]]
        assert record["key"] == key
        out_of_order += number < last.get(key, 0)
        last[key] = max(number, last.get(key, 0))
    return Verdict(lost=len(truth.keys() - times.keys()), ghosts=sum(n for i, n in times.items() if i not in truth),
                   out_of_order=out_of_order, duplicates=sum(n - 1 for n in times.values()))


def records_of(text):
    """Whole lines only: the last one may be torn where a process was killed."""
    return [json.loads(line) for line in text.split("\n")[:-1]]
