#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up the reports of several test suites.

    summary.py NAME:STATUS:REPORT …

REPORT is a JUnit file and STATUS the exit status of what wrote it. A suite without a readable report, one that
counted nothing, and one that ended badly although it counted no failure, each is one failure more. The last
line is `N passed, N failed`, with `, N skipped` if any were; the exit status is 0 only if nothing failed.
"""

import collections
import sys
import xml.etree.ElementTree


def read(report):
    """Counts by outcome; the names of what failed, and why how many were skipped."""
    counts, skips = collections.Counter(), collections.Counter()
    notes = []
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        if case.find("failure") is not None or case.find("error") is not None:
            counts["failed"] += 1
            notes.append(f"failed: {name}")
        elif (skipped := case.find("skipped")) is not None:
            counts["skipped"] += 1
            reason = (skipped.get("message") or "no reason given").splitlines()[0]
            skips[reason] += 1
        else:
            counts["passed"] += 1
    return counts, notes + [f"{count} skipped: {reason}" for reason, count in skips.items()]


def judge(status, report):
    try:
        counts, notes = read(report)
    except (OSError, xml.etree.ElementTree.ParseError) as problem:
        return collections.Counter(failed=1), [f"failed: no report: {problem}"]
    if not counts:
        return collections.Counter(failed=1), ["failed: it counted no test"]
    if status != 0 and not counts["failed"]:
        counts["failed"] += 1
        notes.append(f"failed: it ended with status {status} although no test of it failed")
    return counts, notes


def text(counts):
    skipped = f', {counts["skipped"]} skipped' if counts["skipped"] else ""
    return f'{counts["passed"]} passed, {counts["failed"]} failed{skipped}'


def main():
    total = collections.Counter()
    for argument in sys.argv[1:]:
        name, status, report = argument.split(":", 2)
        counts, notes = judge(int(status), report)
        for note in notes:
            print(f"{name}: {note}")
        print(f"{name}: {text(counts)}")
        total += counts
    if not total:
        total["failed"] = 1
    print(text(total))
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
