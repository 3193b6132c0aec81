#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Relays: ours beside the limit of the machine, in one run, on the same data, in random order.

SQLite -> journal, and PostgreSQL -> Kafka by log (1 and 100 rows a transaction), by message and by polling: messages a
second, CPU, memory, latency, time to start. Debezium Server takes part where JAVA21 names a Java 21 and Maven can fetch it.
Tables go to standard output and everything to a JSON file. Exit status 1 if a bound is missed.
"""
import argparse
import datetime
import json
import os
import pathlib
import sys

import relay_postgres
import relay_sqlite
from measure import machine

SECTIONS = ["sqlite", "log_1", "log_100", "polling", "latency", "start"]


def parse():
    parser = argparse.ArgumentParser(prog="./dev bench relay", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=300000, help="by log and by message, in each round")
    parser.add_argument("--polling-rows", type=int, default=1000000)
    parser.add_argument("--sqlite-rows", type=int, default=1000000)
    parser.add_argument("--rounds", type=int, default=5, help="that count; one more comes before them")
    parser.add_argument("--seconds", type=int, default=10, help="of load, for the latency")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help="of: " + ", ".join(SECTIONS))
    parser.add_argument("--contender", nargs="+", metavar="TEXT", help="only those with this in their name")
    parser.add_argument("--no-debezium", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few rows, two rounds: to see that it works; bounds do not count")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="default: build/bench/relay.json")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.polling_rows, options.sqlite_rows, options.rounds, options.seconds = 50000, 100000, 100000, 2, 2
    return options


def main():
    options = parse()
    wanted = options.only or SECTIONS
    report = {"when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "machine": machine(), "results": {},
              "options": {name: value for name, value in vars(options).items() if name != "json"}}
    tables, bounds = [], []
    if "sqlite" in wanted and not options.contender:
        report["results"]["sqlite"], found, held = relay_sqlite.run(options)
        tables, bounds = tables + found, bounds + held
    options.only = [section for section in wanted if section != "sqlite"]
    if options.only:
        results, found, held, report["versions"] = relay_postgres.run(options)
        report["results"].update(results)
        tables, bounds = tables + found, bounds + held
    bounds = [bound for bound in bounds if bound[1] is not None]
    report["bounds"] = [{"what": what, "value": round(value, 3), "bound": f"{sign} {bound}",
                         "holds": relay_postgres.judge(value, sign, bound)} for what, value, sign, bound in bounds]
    print("\n".join(tables))
    for bound in report["bounds"]:
        print(f"{'holds ' if bound['holds'] else 'MISSED'}  {bound['what']}: {bound['value']} ({bound['bound']})")
    path = options.json or pathlib.Path(os.environ["BUILD"]).parent / "bench" / "relay.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\n{path}", file=sys.stderr)
    sys.exit(0 if options.quick or all(bound["holds"] for bound in report["bounds"]) else 1)


main()
