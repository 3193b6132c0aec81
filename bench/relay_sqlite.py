# SPDX-License-Identifier: Apache-2.0
"""SQLite outbox -> journal, beside a bare SQLite program that moves the same rows.

Both empty a copy of the same outbox in the same run, in random order, several rounds after one that is not counted.
"""
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

from measure import middle, resident_mib, spread, table

BATCH = 10000  # rows in a batch of the limit program

FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload)
SELECT printf('%08x-0000-7000-8000-%012x', i, i), 'order', 'customer-' || (i % 10000), 'OrderPlaced',
       printf('{"order":%d,"customer":%d,"cents":%d,"items":[{"sku":"A-%d","quantity":%d}],"note":"%s"}',
              i, i % 10000, i * 7 % 100000, i % 997, 1 + i % 5, 'please leave the parcel at the back door, thank you')
FROM n
"""


def timed(command):
    """Seconds, and the largest resident set in MiB."""
    began = time.monotonic()
    child, memory = subprocess.Popen(command, stdout=subprocess.DEVNULL), 0
    while True:
        try:
            child.wait(0.05)
            break
        except subprocess.TimeoutExpired:
            memory = max(memory, resident_mib(child.pid))
    if child.returncode != 0:
        sys.exit("%s failed with status %d" % (command[0], child.returncode))
    return time.monotonic() - began, memory


def count(path, table):
    with sqlite3.connect(path) as db:
        return db.execute("SELECT count(*) FROM " + table).fetchone()[0]


def run(options):
    """The results, the tables, and the bounds."""
    onewrite, limit = os.environ["ONEWRITE_RELEASE"], os.path.join(os.environ["BUILD"], "bench", "limit_relay")
    rows, results = options.sqlite_rows, {"onewrite": [], "limit": []}

    with tempfile.TemporaryDirectory(prefix="onewrite-bench-") as folder:
        master = os.path.join(folder, "master.db")
        subprocess.run([onewrite, "-q", "init", "sqlite:" + master], check=True)
        with sqlite3.connect(master) as db:
            db.execute(FILL, (rows,))
        db.close()

        def once(name):
            source, target = os.path.join(folder, "from.db"), os.path.join(folder, "to.db")
            shutil.copyfile(master, source)
            os.sync()
            if name == "onewrite":
                command = [onewrite, "-q", "relay", "--until-end", "sqlite:" + source, "journal:" + target]
            else:
                command = [limit, source, target, str(BATCH)]
            seconds, memory = timed(command)
            assert count(source, "onewrite_outbox") == 0, "rows are left in the outbox"
            assert count(target, "journal_record" if name == "onewrite" else "record") == rows, "rows are missing"
            for path in os.listdir(folder):
                if not path.startswith("master"):
                    os.unlink(os.path.join(folder, path))
            return {"rate": rows / seconds, "memory": memory}

        for number in range(options.rounds + 1):
            for name in random.sample(list(results), len(results)):
                result = once(name)
                if number > 0:
                    results[name].append(result)
                    print(f"sqlite: {name}: rate {result['rate']:,.0f}", file=sys.stderr, flush=True)

    lines = [[name] + [spread([result[key] for result in found], digits) for key, digits in (("rate", 0), ("memory", 1))]
             for name, found in results.items()]
    rates = {name: middle([result["rate"] for result in found]) for name, found in results.items()}
    bounds = [("sqlite: rate of onewrite / limit", rates["onewrite"] / rates["limit"], ">=", 0.7),
              ("sqlite: MiB", max(result["memory"] for result in results["onewrite"]), "<=", 32)]
    return results, [table("SQLite -> journal", ["", "messages/s", "MiB"], lines)], bounds
