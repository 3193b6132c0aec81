# SPDX-License-Identifier: Apache-2.0
"""The journal as a file: what stands in it, how it stays bounded, and what becomes of it when things break."""

import json
import os
import sqlite3
import subprocess

import pytest
from conftest import wait_for


def publish(run, *ids, url="journal:bus.db", topic="t", size=10, **more):
    lines = [json.dumps({"topic": topic, "id": str(i), "key": str(i), "value": "x" * size}) for i in ids]
    return run("publish", url, "--jsonl", input="\n".join(lines) + "\n", **more)


def one(path, sql):
    with sqlite3.connect(path) as db:
        return db.execute(sql).fetchone()[0]


def test_people_can_read_it_by_sql(run, tmp_path):
    publish(run, 1, 2)
    with sqlite3.connect(tmp_path / "bus.db") as db:
        rows = db.execute("SELECT topic, id, key, value FROM journal ORDER BY seq").fetchall()
    assert rows == [("t", "1", "1", "x" * 10), ("t", "2", "2", "x" * 10)]
    assert one(tmp_path / "bus.db", "PRAGMA integrity_check") == "ok"


def test_partitions_of_the_url(run, tmp_path):
    publish(run, *range(200), url="journal:bus.db?partitions=7")
    assert one(tmp_path / "bus.db", "SELECT count(DISTINCT partition) FROM journal") == 7
    publish(run, *range(200, 300), url="journal:bus.db?partitions=3")  # a topic keeps what it was made with
    assert one(tmp_path / "bus.db", "SELECT partitions FROM journal_topic") == 7


def test_many_processes(onewrite, tmp_path):
    lines = ["".join(json.dumps({"topic": "t", "id": f"{p}-{i}", "key": str(p), "value": ""}) + "\n" for i in range(500))
             for p in range(4)]
    processes = [subprocess.Popen([onewrite, "publish", "journal:bus.db", "--jsonl"], stdin=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL, text=True, cwd=tmp_path) for _ in lines]
    for process, text in zip(processes, lines):
        process.stdin.write(text)
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    with sqlite3.connect(tmp_path / "bus.db") as db:
        assert db.execute("SELECT count(*), count(DISTINCT id) FROM journal").fetchone() == (2000, 2000)
        for p in range(4):  # what one process published stands in its order
            ids = [int(row[0].split("-")[1]) for row in db.execute("SELECT id FROM journal WHERE key = ? ORDER BY seq", (str(p),))]
            assert ids == list(range(500))
        gaps = db.execute('SELECT count(*) FROM (SELECT "offset" - lag("offset") OVER (PARTITION BY partition ORDER BY seq) AS d '
                          "FROM journal_record) WHERE d != 1").fetchone()[0]
        assert gaps == 0


def test_the_wal_stays_bounded_while_somebody_reads(run, start, tmp_path):
    publish(run, 0)
    start("tail", "journal:bus.db", "-o", "jsonl", stdout=subprocess.DEVNULL)
    largest = 0
    for i in range(8):
        publish(run, *range(i * 1000, i * 1000 + 1000), size=5000)
        wal = tmp_path / "bus.db-wal"
        largest = max(largest, wal.stat().st_size if wal.exists() else 0)
    assert largest < 64 << 20


def test_retention_by_size(run, tmp_path):
    url = "journal:bus.db?retention=0&retention_size=1MiB"
    for i in range(30):
        publish(run, *range(i * 100, i * 100 + 100), url=url, size=2000)
    used = one(tmp_path / "bus.db", "SELECT (SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count)")
    assert used * 8192 < 3 << 20
    # Reading from the very beginning starts at what is left, without a gap.
    records = [json.loads(line) for line in run("tail", "journal:bus.db", "--from", "0", "--until-end", "-o", "jsonl").stdout.splitlines()]
    ids = [int(record["id"]) for record in records]
    assert 0 < len(ids) < 3000 and ids == list(range(ids[0], 3000))


def test_a_newer_version_is_left_alone(run, tmp_path):
    publish(run, 1)
    with sqlite3.connect(tmp_path / "bus.db") as db:
        db.execute("UPDATE onewrite_meta SET value = '99' WHERE name = 'schema.journal'")
    for command in (("tail", "journal:bus.db", "--until-end"), ("publish", "journal:bus.db", "--topic", "t", "--payload", "x")):
        done = run(*command, status=1)
        assert "newer" in done.stderr and "99" in done.stderr and len(done.stderr.splitlines()) == 1
    assert one(tmp_path / "bus.db", "SELECT count(*) FROM journal_record") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to everything")
def test_a_file_that_may_only_be_read(run, tmp_path):
    publish(run, 1)
    os.chmod(tmp_path / "bus.db", 0o444)
    done = run("publish", "journal:bus.db", "--topic", "t", "--payload", "x", status=77)
    assert "read-only" in done.stderr
    assert run("tail", "journal:bus.db", "--until-end").stdout


def test_status_tells_of_groups_and_sources(run, start, tmp_path):
    publish(run, *range(50))
    run("tail", "journal:bus.db", "--group", "g", "--from", "beginning", "--count", "10")
    status = json.loads(run("status", "journal:bus.db", "-o", "json").stdout)
    assert sum(row["lag"] for row in status if "lag" in row) == 40
    tail = start("tail", "journal:bus.db", "--group", "g")
    wait_for(lambda: any(row.get("process") == tail.pid for row in json.loads(run("status", "journal:bus.db", "-o", "json").stdout)),
             "its process among the status")
    tail.kill()
    tail.wait()
    assert not any(row.get("process") for row in json.loads(run("status", "journal:bus.db", "-o", "json").stdout))


@pytest.mark.parametrize("point", ["journal.mid-publish:5", "journal.before-commit:1", "journal.after-commit:1"])
def test_killed_at_a_point_it_is_whole(run, onewrite, tmp_path, point):
    publish(run, *range(10))
    done = subprocess.run([onewrite, "publish", "journal:bus.db", "--jsonl"], cwd=tmp_path, text=True, capture_output=True,
                          input="".join(json.dumps({"topic": "t", "id": f"n{i}", "key": str(i), "value": ""}) + "\n" for i in range(20)),
                          env={**os.environ, "ONEWRITE_CRASH": point})
    assert done.returncode == -9
    count = one(tmp_path / "bus.db", "SELECT count(*) FROM journal WHERE id LIKE 'n%'")
    assert count == (20 if "after" in point else 0)
    publish(run, "after")
    assert one(tmp_path / "bus.db", "PRAGMA integrity_check") == "ok"
    assert one(tmp_path / "bus.db", "SELECT max(seq) FROM journal_record") == 11 + count
