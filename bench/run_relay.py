#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Relay of a backlog, SQLite outbox -> journal, beside a bare SQLite program that moves the same rows.

Both empty a copy of the same outbox in the same run, in random order, several rounds after one that is not
counted. Printed: rows a second of each (min, median, max), the ratio ours/limit (of the medians, and of each
round), and the largest resident memory of ours. Exit status 1 if the ratio or the memory misses its bound.
"""
import argparse
import json
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

RATIO_MIN = 0.7
MEMORY_MIB_MAX = 32

FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload)
SELECT printf('%08x-0000-7000-8000-%012x', i, i), 'order', 'customer-' || (i % 10000), 'OrderPlaced',
       printf('{"order":%d,"customer":%d,"cents":%d,"items":[{"sku":"A-%d","quantity":%d}],"note":"%s"}',
              i, i % 10000, i * 7 % 100000, i % 997, 1 + i % 5, 'please leave the parcel at the back door, thank you')
FROM n
"""


def resident_kib(process):
    """The largest resident set so far. Not getrusage: that counts what this script had before the exec, too."""
    try:
        with open("/proc/%d/status" % process.pid, encoding="ascii") as status:
            return max([int(line.split()[1]) for line in status if line.startswith("VmHWM")], default=0)
    except OSError:
        return 0


def run(command):
    """Seconds and the largest resident set in KiB."""
    began = time.monotonic()
    child, memory = subprocess.Popen(command, stdout=subprocess.DEVNULL), 0
    while True:
        try:
            child.wait(0.05)
            break
        except subprocess.TimeoutExpired:
            memory = max(memory, resident_kib(child))
    if child.returncode != 0:
        sys.exit("%s failed with status %d" % (command[0], child.returncode))
    return time.monotonic() - began, memory


def count(path, table):
    with sqlite3.connect(path) as db:
        return db.execute("SELECT count(*) FROM " + table).fetchone()[0]


def main():
    parser = argparse.ArgumentParser(prog="./dev bench relay", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=10000, help="rows in a batch of the limit program")
    parser.add_argument("--json", action="store_true", help="print one object, last line of standard output")
    options = parser.parse_args()
    onewrite, limit = os.environ["ONEWRITE_RELEASE"], os.path.join(os.environ["BUILD"], "bench", "limit_relay")

    with tempfile.TemporaryDirectory(prefix="onewrite-bench-") as folder:
        master = os.path.join(folder, "master.db")
        subprocess.run([onewrite, "-q", "init", "sqlite:" + master], check=True)
        with sqlite3.connect(master) as db:
            db.execute(FILL, (options.rows,))
        db.close()

        def once(name):
            source, target = os.path.join(folder, "from.db"), os.path.join(folder, "to.db")
            shutil.copyfile(master, source)
            os.sync()
            if name == "ours":
                command = [onewrite, "-q", "relay", "--until-end", "sqlite:" + source, "journal:" + target]
            else:
                command = [limit, source, target, str(options.batch)]
            seconds, memory = run(command)
            assert count(source, "onewrite_outbox") == 0, "rows are left in the outbox"
            assert count(target, "journal_record" if name == "ours" else "record") == options.rows, "rows are missing"
            for path in os.listdir(folder):
                if not path.startswith("master"):
                    os.unlink(os.path.join(folder, path))
            return options.rows / seconds, memory / 1024

        rates, memory = {"ours": [], "limit": []}, 0
        for number in range(options.rounds + 1):
            for name in random.sample(["ours", "limit"], 2):
                rate, mib = once(name)
                if number > 0:
                    rates[name].append(rate)
                if name == "ours":
                    memory = max(memory, mib)
            if number > 0:
                print("round %d: ours %.0f rows/s, limit %.0f rows/s, ratio %.2f" % (
                    number, rates["ours"][-1], rates["limit"][-1], rates["ours"][-1] / rates["limit"][-1]), file=sys.stderr)

    ratios = [ours / bare for ours, bare in zip(rates["ours"], rates["limit"])]
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["limit"])
    print("relay of %d rows, SQLite -> journal, %d rounds" % (options.rows, options.rounds))
    print("%-10s %12s %12s %12s" % ("", "min", "median", "max"))
    for name in ("ours", "limit"):
        print("%-10s %12.0f %12.0f %12.0f  rows/s" % (name, min(rates[name]), statistics.median(rates[name]), max(rates[name])))
    print("%-10s %12.2f %12.2f %12.2f  ours/limit (at least %.2f)" % ("ratio", min(ratios), ratio, max(ratios), RATIO_MIN))
    print("%-10s %38.1f  MiB resident (at most %d)" % ("memory", memory, MEMORY_MIB_MAX))
    if options.json:
        print(json.dumps({"ratio": round(ratio, 3), "ratio_min": round(min(ratios), 3), "ratio_max": round(max(ratios), 3),
                          "memory_mib": round(memory, 1), "rows": options.rows, "rounds": options.rounds}))
    sys.exit(0 if ratio >= RATIO_MIN and memory <= MEMORY_MIB_MAX else 1)


main()
