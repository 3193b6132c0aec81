# SPDX-License-Identifier: Apache-2.0
"""Every version of PostgreSQL that is promised: the schema, polling, the log, messages without a table, gaps.

By default the oldest, the newest and the machine's own; with --long each of them. Those that Maven cannot fetch are skipped.
"""

import json
import os
import signal
import subprocess

import pytest
from conftest import wait_for
from oracle import compare, records_of
from postgres import INSERT, RELEASES, PgShop, new_server, pg_database, query  # noqa: F401 (fixtures)

VERSIONS = RELEASES if os.environ.get("LONG") == "1" else (10, 15, 18)
LARGE = ("INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
         "SELECT '{0}-' || n, 'order', 'k', 'T', (SELECT string_agg(md5(random()::text || n || i), '') FROM generate_series(1, 60) i) "
         "FROM generate_series({1}, {2}) n")


@pytest.fixture(scope="module", params=VERSIONS)
def pg_server(request):
    version = request.param
    more = {"logical_decoding_work_mem": "64kB"} if version >= 13 else {}
    server = new_server(version, **more)
    assert server.version == version
    yield server
    server.remove()


@pytest.fixture
def version(pg_server):
    return pg_server.version


@pytest.fixture
def drain(run, pg_database, tmp_path):
    """drain(option…): a relay until the end; the ids that are published since the first call, in their order."""

    def call(*options, status=0, env=None):
        run("relay", *options, "--window-messages", 50, "--until-end", pg_database.url, "file:events.jsonl", status=status, env=env)
        wait_for(lambda: not pg_database.query("SELECT FROM pg_replication_slots WHERE active"), "the slot to be left")
        return [record["id"] for record in records_of((tmp_path / "events.jsonl").read_text())]

    return call


def status_of(run, database):
    return json.loads(run("status", database.url, "-o", "jsonl").stdout.splitlines()[0])


def test_schema_and_its_printed_form(run, pg_database, tmp_path):
    (tmp_path / "init.sql").write_text(run("init", "--print", pg_database.url).stdout)
    subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", tmp_path / "init.sql", pg_database.url], check=True)
    assert "nothing to do" in run("init", pg_database.url).stderr
    run("check", pg_database.url)


def test_by_polling(run, pg_database, drain, tmp_path):
    run("init", pg_database.url)
    shop = PgShop(pg_database, publish=True)
    for n in range(12):
        shop.place(orders=3, rolled_back=n % 4 == 3)
    pg_database.query("SELECT onewrite.publish_bytes('order', 'k', 'T', '\\x00ff', id => 'bytes')")
    made = pg_database.one("SELECT onewrite.publish('order', 'k', E'bad\\ntype', 'x')")
    assert len(made) == 36 and made.count("-") == 4, "a UUID"
    assert status_of(run, pg_database)["waiting"] == 9 * 3 + 2
    assert "bytes" in drain("--by", "polling")
    records = records_of((tmp_path / "events.jsonl").read_text())
    assert compare(shop.truth(), [r for r in records if r["id"] != "bytes"]) == (0, 0, 0, 0)
    assert [r["value"] for r in records if r["id"] == "bytes"] == [{"base64": "AP8="}]
    assert [identity for identity, _ in shop.dead_letters()] == [made]
    assert status_of(run, pg_database)["waiting"] == 0


def test_by_log(run, pg_server, pg_database, drain, version, tmp_path):
    """First start with rows in the table, streaming, rollback, a dead letter, a crash of the server, a kill."""
    shop = PgShop(pg_database)
    run("init", pg_database.url)
    for _ in range(5):
        shop.place(orders=3)
    drain()
    for n in range(8):
        shop.place(orders=3, rolled_back=n % 4 == 1)
    pg_database.query("SELECT onewrite.publish('order', 'k', E'bad\\ntype', 'x', id => 'bad')")
    drain()
    pg_server.restart("immediate")
    pg_database.reconnect()
    shop.reconnect()
    shop.place(orders=3)
    drain("-q")
    shop.place(orders=3)
    drain(status=-signal.SIGKILL, env={"ONEWRITE_CRASH": "relay.after-send:2"})
    drain()
    verdict = compare(shop.truth(), records_of((tmp_path / "events.jsonl").read_text()))
    assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= 50, verdict
    assert [identity for identity, _ in shop.dead_letters()] == ["bad"]
    assert shop.waiting() == 0 and status_of(run, pg_database)["waiting"] == 0
    failover, = pg_database.query("SELECT to_jsonb(s) ->> 'failover' FROM pg_replication_slots s WHERE database = current_database()")[0]
    assert failover == ("true" if version >= 17 else None)


def test_large_transactions(run, pg_database, drain, version):
    """Streamed while they run (14 and later), with savepoints that are rolled back, and interleaved with another one."""
    run("init", pg_database.url)
    drain()
    one, two = pg_database.connect(), pg_database.connect()
    for n in range(3):
        query(one, "BEGIN" if n == 0 else "SAVEPOINT s")
        query(one, LARGE.format("one", n * 50, n * 50 + 49))
        query(two, "BEGIN" if n == 0 else "SAVEPOINT s")
        query(two, LARGE.format("two", n * 50, n * 50 + 49))
        if n == 1:
            query(one, "ROLLBACK TO SAVEPOINT s")
    query(two, "ROLLBACK")
    query(one, "COMMIT")
    expected = [f"one-{n}" for n in (*range(50), *range(100, 150))]
    label = "log.mid-replay" if version >= 14 else "relay.after-send"
    drain(status=-signal.SIGKILL, env={"ONEWRITE_CRASH": f"{label}:30"})
    assert list(dict.fromkeys(drain())) == expected


def test_by_message(run, pg_database, drain, version):
    if version < 14:
        for call in (("init", "--outbox", "message", pg_database.url), ("relay", "--by", "message", pg_database.url, "stdout:")):
            said = run(*call, status=None)
            assert said.returncode != 0 and said.stderr.count("\n") == 1, said.stderr
            assert "from 14 on" in said.stderr or "PostgreSQL 14 or later" in said.stderr, said.stderr
        assert not pg_database.query("SELECT FROM pg_replication_slots WHERE database = current_database()")
        return
    run("init", "--outbox", "message", pg_database.url)
    pg_database.query("SELECT onewrite.publish('order', 'k', 'T', E'\"é\\n', id => 'text', headers => '{\"h\": null}')")
    pg_database.query("SELECT onewrite.publish_bytes('order', 'k', 'T', '\\x00ff', id => 'bytes')")
    assert drain("--by", "message") == ["text", "bytes"]
    db = pg_database.connect()
    query(db, "BEGIN")
    for n in range(60):
        query(db, "SAVEPOINT s")
        query(db, "SELECT onewrite.publish('order', 'k', 'T', repeat(md5(random()::text), 100), id => %s)", str(n))
        query(db, "ROLLBACK TO SAVEPOINT s" if n % 3 == 0 else "RELEASE SAVEPOINT s")
    query(db, "COMMIT")
    assert drain("--by", "message")[2:] == [str(n) for n in range(60) if n % 3]


def test_messages_that_were_rolled_back(run, pg_database, drain, version):
    """Larger than what the server keeps in memory, at the time of the ROLLBACK TO SAVEPOINT. In a stream of a transaction
    in progress a message has the number of the transaction, and nobody could tell of which savepoint it was."""
    if version < 14:
        pytest.skip("decoding hands no messages out")
    run("init", "--outbox", "message", pg_database.url)
    db = pg_database.connect()
    query(db, "BEGIN")
    for n in range(4):
        query(db, "SAVEPOINT s")
        query(db, "SELECT onewrite.publish('order', 'k', 'T', repeat(md5(random()::text), 100), id => %s || '-' || n) "
                  "FROM generate_series(1, 100) n", str(n))
        query(db, "ROLLBACK TO SAVEPOINT s" if n % 2 else "RELEASE SAVEPOINT s")
    query(db, "COMMIT")
    assert drain("--by", "message") == [f"{n}-{i}" for n in (0, 2) for i in range(1, 101)]


def test_gap(run, pg_database, drain):
    run("init", pg_database.url)
    drain()
    pg_database.query(INSERT, "a", "k", "{}")
    drain()
    pg_database.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
    pg_database.query(INSERT, "b", "k", "{}")
    assert drain(status=1) == ["a"]
    assert drain("--accept-gap") == ["a", "b"]
    if pg_database.server.version >= 11:  # before, a slot cannot be advanced by hand
        pg_database.query(INSERT, "c", "k", "{}")
        pg_database.query("SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots "
                          "WHERE database = current_database()")
        assert drain(status=1) == ["a", "b"]
        assert drain("--accept-gap") == ["a", "b", "c"]


def test_partitioned_table(run, pg_database, drain, version):
    pg_database.query("CREATE TABLE box (id text, aggregatetype text, aggregateid text, type text, payload text) PARTITION BY LIST (type)")
    pg_database.query("CREATE TABLE box_a PARTITION OF box FOR VALUES IN ('A')")
    if version < 13:
        said = run("relay", "--outbox", "box", "--until-end", pg_database.url, "file:events.jsonl", status=None)
        assert said.returncode != 0 and said.stderr.count("\n") == 1 and "13" in said.stderr and "partition" in said.stderr, said.stderr
        return
    drain("--outbox", "box")
    pg_database.query("INSERT INTO box VALUES ('1', 'order', 'k', 'A', 'x')")
    assert drain("--outbox", "box") == ["1"]


def test_rows_for_a_router(run, pg_database, tmp_path):
    """`to: debezium:` asks for the columns' types and defaults as well."""
    pg_database.query("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    pg_database.query("CREATE TABLE box (id uuid NOT NULL, aggregatetype text NOT NULL DEFAULT 'order', aggregateid text, type text, payload text, "
                      "n bigint GENERATED ALWAYS AS IDENTITY, m mood DEFAULT 'sad')")
    (tmp_path / "onewrite.yaml").write_text(
        "version: 1\nstores: { shop: '" + pg_database.url + "' }\nbrokers: { out: 'file:events.jsonl' }\n"
        "relays:\n- name: shop\n  from: { store: shop, outbox: public.box }\n"
        "  to:\n    broker: out\n    debezium: { table.fields.additional.placement: 'm:header,n:header' }\n")
    run("run", "--until-end", "onewrite.yaml")
    pg_database.query("INSERT INTO box (id, aggregateid, type, payload, m) VALUES ('00000000-0000-4000-8000-000000000001', 'k', 'T', 'x', 'glad')")
    run("run", "--until-end", "onewrite.yaml")
    record, = records_of((tmp_path / "events.jsonl").read_text())
    assert record["key"] == "k" and "glad" in record["headers"]["m"], record
