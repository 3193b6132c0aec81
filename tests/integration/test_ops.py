# SPDX-License-Identifier: Apache-2.0
"""What an operator of PostgreSQL asks and does: status with slots and leases, drop, and relays that exclude one another."""

import json
import random
import re
import signal
import sqlite3
import time

import pytest
from conftest import wait_for
from oracle import compare, records_of
from postgres import PgShop, PgWriter, pg_database, pg_server, query  # noqa: F401 (fixtures)

psycopg2 = pytest.importorskip("psycopg2", reason="psycopg2 is not installed (package python3-psycopg2)")

POLLING, LOG = ("relay", "--by", "polling"), ("relay", "--by", "log")


@pytest.fixture
def shop(run, pg_database):
    run("init", pg_database.url)
    return PgShop(pg_database)


def status(run, url, kind):
    return [row for row in map(json.loads, run("status", url, "-o", "jsonl").stdout.splitlines()) if row["kind"] == kind]


def slots(database):
    return [name for name, in database.query("SELECT slot_name FROM pg_replication_slots WHERE database = current_database() ORDER BY 1")]


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def read_by_log(run, url, to="file:events.jsonl", *more):
    return run(*LOG, *more, "--until-end", url, to)


# --- status ----------------------------------------------------------------------------------------------


def test_status_of_a_slot(run, start, shop, pg_database):
    name = f"onewrite_{pg_database.name}_log"
    assert status(run, pg_database.url, "slot") == []
    relay = start(*LOG, pg_database.url, "file:events.jsonl")
    shop.place(orders=3)
    wait_for(lambda: shop.waiting() == 0, "the relay to work")
    [slot] = status(run, pg_database.url, "slot")
    assert slot["slot"] == name and slot["by"] == "log" and slot["active"] is True and slot["pid"] > 0
    assert slot["wal_status"] == "reserved" and 0 <= slot["retained"] < 1 << 30 and slot["lag"] >= 0
    assert status(run, pg_database.url, "outbox")[0]["relay_at_work"] is True
    stop(relay)
    wait_for(lambda: status(run, pg_database.url, "slot")[0]["active"] is False, "the slot to be free")
    [slot] = status(run, pg_database.url, "slot")
    assert slot["pid"] is None and "/" in slot["position"] and slot["recorded_ms"] >= 0
    assert status(run, pg_database.url, "outbox")[0]["relay_at_work"] is False
    text = run("status", pg_database.url).stdout
    assert name in text and "WAL STATUS" in text


def test_a_slot_that_keeps_much_is_named(run, shop, pg_database):
    read_by_log(run, pg_database.url)
    assert run("status", pg_database.url).stderr == ""
    for _ in range(6):  # 16 MiB each
        pg_database.query("SELECT pg_logical_emit_message(false, 'filler', 'x'); SELECT pg_switch_wal()")
    told = run("status", pg_database.url).stderr
    assert f"onewrite_{pg_database.name}_log" in told and "MiB" in told and "onewrite drop --slot" in told
    assert len(told.splitlines()) == 1


def test_a_slot_that_is_gone_is_named(run, shop, pg_database):
    name = f"onewrite_{pg_database.name}_log"
    read_by_log(run, pg_database.url)
    pg_database.query("SELECT pg_drop_replication_slot(%s)", name)
    done = run("status", pg_database.url, "-o", "jsonl")
    assert "is gone" in done.stderr and f"onewrite drop --slot {name}" in done.stderr
    [slot] = [row for row in map(json.loads, done.stdout.splitlines()) if row["kind"] == "slot"]
    assert slot["wal_status"] == "gone" and slot["retained"] is None


def test_status_of_a_configuration(run, shop, pg_database, tmp_path):
    (tmp_path / "onewrite.yaml").write_text(
        f"version: 1\nstores: {{shop: {{url: '{pg_database.url}'}}}}\nbrokers: {{out: {{url: 'stdout:'}}}}\n"
        f"relays:\n  - {{name: orders, from: {{store: shop, slot: mine_{pg_database.name}}}, to: {{broker: out}}}}\n")
    pg_database.query("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", f"mine_{pg_database.name}")
    assert status(run, pg_database.url, "slot") == []
    [slot] = status(run, "onewrite.yaml", "slot")
    assert slot["slot"] == f"mine_{pg_database.name}" and slot["store"] == "shop"


def test_status_of_leases(run, start, shop, pg_database):
    relay = start(*POLLING, pg_database.url, "file:events.jsonl")
    wait_for(lambda: len(status(run, pg_database.url, "lease")) == 8, "the leases")
    leases = status(run, pg_database.url, "lease")
    assert len({lease["holder"] for lease in leases}) == 1 and all(lease["left_ms"] > 0 for lease in leases)
    stop(relay)
    assert status(run, pg_database.url, "lease") == []


LETTER = "INSERT INTO {} (source, position, state, reason, attempts, set_aside_at) VALUES ('{}', '{}', '{}', 'r', 1, {})"


def put_letters(execute, table, now):
    for i, (source, state) in enumerate([("consumer/billing", "dead"), ("consumer/billing", "parked"), ("consumer/billing", "dead"),
                                         ("consumer/mail", "queued"), ("another", "dead")]):
        execute(LETTER.format(table, source, i, state, now))


def test_status_of_dead_letters(run, shop, pg_database, tmp_path):
    run("init", "sqlite:pay.db")
    with sqlite3.connect(tmp_path / "pay.db") as pay:
        put_letters(pay.execute, "onewrite_dead_letter", 0)
    put_letters(pg_database.query, "onewrite.dead_letter", "now()")
    for url in (pg_database.url, "sqlite:pay.db"):
        rows = status(run, url, "dead_letters")
        # What was put back and is not looked at by any relay counts as long as it is there.
        assert [(row["source"], row["state"], row["letters"]) for row in rows] == \
            [("another", "dead", 1), ("consumer/billing", "dead", 2), ("consumer/billing", "parked", 1), ("consumer/mail", "queued", 1)]
        assert status(run, url, "outbox")[0]["dead_letters"] == 4


def test_status_says_the_same_in_each_form(run, start, shop, pg_database, tmp_path):
    """Tables, an array of objects, an object a line: the same sections, columns and cells."""
    put_letters(pg_database.query, "onewrite.dead_letter", "now()")
    (tmp_path / "c.yaml").write_text(
        f"version: 1\nstores: {{shop: {{url: '{pg_database.url}'}}}}\nbrokers: {{bus: 'journal:bus.db', lines: 'file:x.jsonl'}}\n"
        "relays:\n  - {name: orders, from: {store: shop}, to: {broker: bus}}\n")
    relay = start("run", "c.yaml")
    shop.place(orders=3)
    wait_for(lambda: shop.waiting() == 0, "the relay to work")
    (tmp_path / "x.jsonl").write_text("")
    stop(relay)
    run("tail", "--group", "readers", "--until-end", "journal:bus.db", "outbox.event.customer", status=None)
    lines = [json.loads(line) for line in run("status", "c.yaml", "-o", "jsonl").stdout.splitlines()]
    array = json.loads(run("status", "c.yaml", "-o", "json").stdout)
    moving = {"oldest_ms", "inactive_ms", "recorded_ms", "time_ms", "left_ms", "retained", "lag"}
    steady = lambda rows: [{key: value for key, value in row.items() if key not in moving} for row in rows]  # noqa: E731
    assert steady(lines) == steady(array)
    kinds = list(dict.fromkeys(row["kind"] for row in lines))
    assert kinds[:3] == ["outbox", "dead_letters", "slot"] and {"journal", "partition", "source", "file"} <= set(kinds)
    tables = [block.splitlines() for block in run("status", "c.yaml").stdout.split("\n\n")]
    assert len(tables) == len(kinds)
    for kind, table in zip(kinds, tables):
        rows = [row for row in lines if row["kind"] == kind]
        heads = [re.sub(r"_ms$", "", key).replace("_", " ").upper() for key in rows[0] if key != "kind"]
        assert re.split(r"  +", table[0].strip()) == heads, kind
        assert len(table) == len(rows) + 1
        for row, line in zip(rows, table[1:]):
            for key, value in row.items():
                if isinstance(value, str) and key not in moving | {"kind"}:
                    assert value in line, (key, line)


def test_status_where_something_is_missing(run, pg_database, tmp_path):
    """The rest is shown; the exit status is that of the first thing that is not."""
    assert "onewrite init" in run("status", pg_database.url, status=4).stderr
    assert run("status", "sqlite:none.db", status=4).stdout == "" and "has no status" in run("status", "kafka://127.0.0.1:1", status=1).stderr
    run("status", "postgres://127.0.0.1:1/x", status=69)
    run("init", "sqlite:pay.db")
    (tmp_path / "c.yaml").write_text(f"version: 1\nstores: {{shop: '{pg_database.url}', pay: 'sqlite:pay.db', none: 'sqlite:none.db'}}\n"
                                     "brokers: {out: 'stdout:'}\nrelays:\n  - {name: r, from: {store: pay}, to: {broker: out}}\n")
    done = run("status", "c.yaml", "-o", "jsonl", status=4)
    assert [json.loads(line)["store"] for line in done.stdout.splitlines()] == ["pay"]
    told = done.stderr.splitlines()
    assert len(told) == 2 and told[0].startswith("onewrite: shop: ") and told[1].startswith("onewrite: none: ")


# --- drop ------------------------------------------------------------------------------------------------


def test_drop(run, start, shop, pg_database):
    name = f"onewrite_{pg_database.name}_log"
    relay = start(*LOG, pg_database.url, "file:events.jsonl")
    shop.place(orders=3)
    wait_for(lambda: shop.waiting() == 0, "the relay to work")
    refused = run("drop", pg_database.url, status=69).stderr
    assert "stop it first" in refused and len(refused.splitlines()) == 1
    assert slots(pg_database) == [name]
    stop(relay)
    dry = [json.loads(line) for line in run("drop", "--dry-run", pg_database.url, "-o", "jsonl").stdout.splitlines()]
    assert {(row["what"], row["name"]) for row in dry} >= {("slot", name), ("publication", "onewrite_outbox"), ("position", name)}
    assert not any(row["done"] for row in dry) and slots(pg_database) == [name]
    printed = run("drop", "--print", pg_database.url).stdout
    assert f"SELECT pg_drop_replication_slot('{name}');" in printed and slots(pg_database) == [name]
    dropped = run("drop", pg_database.url)
    assert name in dropped.stdout and f"onewrite-postgres/…/{name}" in dropped.stderr
    assert slots(pg_database) == []
    assert pg_database.one("SELECT count(*) FROM pg_publication") == 0
    assert pg_database.one("SELECT count(*) FROM onewrite.position") == 0
    assert "nothing to drop" in run("drop", pg_database.url, status=4).stderr
    # A relay that comes back begins anew, with the rows that are there.
    shop.place(orders=2)
    read_by_log(run, pg_database.url)
    assert shop.waiting() == 0


def test_drop_what_was_printed(run, shop, pg_database):
    read_by_log(run, pg_database.url)
    for statement in run("drop", "--print", pg_database.url).stdout.splitlines():
        pg_database.query(statement)
    run("drop", pg_database.url, status=4)


def test_drop_one_slot(run, shop, pg_database):
    """The other one, and the publication that it needs, stay."""
    usual, mine = f"onewrite_{pg_database.name}_log", f"onewrite_mine_{pg_database.name}"
    read_by_log(run, pg_database.url)
    read_by_log(run, pg_database.url, "file:mine.jsonl", "--slot", mine)
    run("drop", "--slot", mine, pg_database.url)
    assert slots(pg_database) == [usual]
    assert pg_database.one("SELECT count(*) FROM pg_publication WHERE pubname = 'onewrite_outbox'") == 1
    assert pg_database.one("SELECT count(*) FROM onewrite.position WHERE source LIKE %s", mine + "%") == 0
    run("drop", "--slot", mine, pg_database.url, status=4)
    run("drop", pg_database.url)
    assert slots(pg_database) == []


def test_drop_after_polling(run, start, shop, pg_database):
    relay = start(*POLLING, pg_database.url, "file:events.jsonl")
    wait_for(lambda: len(status(run, pg_database.url, "lease")) == 8, "the leases")
    assert "by polling" in run("drop", pg_database.url, status=69).stderr
    stop(relay)
    run("drop", pg_database.url)
    assert pg_database.one("SELECT count(*) FROM onewrite.lease") == 0
    shop.place(orders=2)
    run(*POLLING, "--until-end", pg_database.url, "file:events.jsonl")
    assert shop.waiting() == 0


def test_drop_the_schema(run, shop, pg_database):
    shop.place(orders=3)
    told = run("drop", "--schema", pg_database.url, status=2).stderr
    assert "3 messages that wait" in told and "--yes" in told
    assert shop.waiting() == 3
    run("drop", "--schema", "--yes", pg_database.url)
    assert pg_database.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'onewrite'") == 0
    run("drop", "--schema", "--yes", pg_database.url, status=4)
    run("init", pg_database.url)
    run("status", pg_database.url)


def test_drop_without_the_right(run, pg_server, shop, pg_database):
    read_by_log(run, pg_database.url)
    role = f"nobody_{pg_database.name}"
    pg_database.query(f"CREATE ROLE {role} LOGIN; GRANT onewrite_relay TO {role}")
    done = run("drop", pg_server.url(pg_database.name, user=role), status=77)
    assert "pg_drop_replication_slot" in done.stdout and len(done.stderr.splitlines()) == 1
    assert len(slots(pg_database)) == 1
    pg_database.query(f"DROP ROLE {role}")


def test_drop_elsewhere(run, tmp_path):
    run("init", "sqlite:shop.db")
    assert "--schema" in run("drop", "sqlite:shop.db", status=2).stderr
    assert "0 messages" in run("drop", "--schema", "sqlite:shop.db", status=2).stderr
    run("drop", "--schema", "--yes", "sqlite:shop.db")
    run("drop", "--schema", "--yes", "sqlite:shop.db", status=4)
    run("init", "sqlite:shop.db")
    assert "drops nothing" in run("drop", "journal:bus.db", status=2).stderr
    assert "--slot" in run("drop", "--slot", "x", "sqlite:shop.db", status=2).stderr


# --- the guard -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first, second, how", [(POLLING, LOG, "by polling"), (LOG, POLLING, "by the log")])
def test_polling_and_log_exclude_one_another(run, start, shop, pg_database, tmp_path, first, second, how):
    relay = start(*first, pg_database.url, "file:events.jsonl")
    shop.place(orders=3)
    wait_for(lambda: shop.waiting() == 0, "the first to work")
    refused = run(*second, "--until-end", pg_database.url, "file:other.jsonl", status=1).stderr.splitlines()
    assert len(refused) == 1 and how in refused[0] and "twice" in refused[0], refused
    assert not (tmp_path / "other.jsonl").exists() or not (tmp_path / "other.jsonl").read_text()
    relay.kill()
    relay.wait()
    shop.place(orders=2)
    run(*second, "--until-end", pg_database.url, "file:other.jsonl")
    assert len(records_of((tmp_path / "other.jsonl").read_text())) == 2


# --- partitions ------------------------------------------------------------------------------------------

ROWS = 200  # a partition; the smaller, the more often one of the eight is emptied


def lines(path):
    return records_of(path.read_text()) if path.exists() else []


def filled(database):
    """The partitions that take room."""
    return [name for name, in database.query(
        "SELECT relname FROM pg_class WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'onewrite.outbox'::regclass) "
        "AND pg_relation_size(oid) > 0 ORDER BY 1")]


@pytest.fixture
def partitioned(run, pg_database):
    run("init", "--outbox", "partitioned", "--partition-rows", ROWS, pg_database.url)
    return PgShop(pg_database)


def waiting(run, database):
    return status(run, database.url, "outbox")[0]["waiting"]


def fill(database, count, key="k", first=1):
    database.query("INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
                   "SELECT 'm' || i, 'order', %s, 'T', 'x' FROM generate_series(%s, %s) i", key, first, first + count - 1)


def test_partitions_are_emptied(run, start, partitioned, pg_database, tmp_path):
    """No row is deleted; whole partitions go, but the one that is written to; more rows than all eight hold are no trouble."""
    fill(pg_database, 12 * ROWS)
    assert len(filled(pg_database)) == 8 and waiting(run, pg_database) == 12 * ROWS
    relay = start(*POLLING, pg_database.url, "file:events.jsonl")
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 12 * ROWS, "all of it")
    wait_for(lambda: len(filled(pg_database)) <= 1, "the partitions to be emptied")
    assert waiting(run, pg_database) == 0
    for n in range(5):
        fill(pg_database, ROWS, first=10000 + n * ROWS)
        wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == (13 + n) * ROWS, "all of it")
    wait_for(lambda: len(filled(pg_database)) <= 1 and pg_database.one("SELECT count(*) FROM onewrite.accepted") < 50, "again")
    stop(relay)
    got = [r["id"] for r in lines(tmp_path / "events.jsonl")]
    assert got == [f"m{i}" for i in range(1, 12 * ROWS + 1)] + [f"m{i}" for i in range(10000, 10000 + 5 * ROWS)]


def test_what_is_accepted_is_not_published_again(run, partitioned, pg_database, tmp_path):
    """Rows that are accepted and still there: after a restart, after a late commit below them, over another number of shards."""
    late = pg_database.connect()
    query(late, "BEGIN")
    query(late, "INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type) VALUES ('late', 'order', 'l', 'T')")
    for n in range(3):
        fill(pg_database, ROWS, first=n * 1000)
        assert len(records_of(run(*POLLING, "--until-end", pg_database.url, "stdout:").stdout)) == ROWS
        assert waiting(run, pg_database) == 0
    assert run(*POLLING, "--until-end", pg_database.url, "stdout:").stdout == ""
    query(late, "COMMIT")
    assert waiting(run, pg_database) == 1
    assert [r["id"] for r in records_of(run(*POLLING, "--until-end", pg_database.url + "?shards=3", "stdout:").stdout)] == ["late"]
    assert run(*POLLING, "--until-end", pg_database.url + "?shards=5", "stdout:").stdout == "" and waiting(run, pg_database) == 0


def test_a_partition_that_may_still_get_rows_stays(run, start, partitioned, pg_database, tmp_path):
    late = pg_database.connect()
    query(late, "BEGIN")
    query(late, "INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type) VALUES ('late', 'order', 'l', 'T')")
    relay = start(*POLLING, pg_database.url, "file:events.jsonl")
    fill(pg_database, 5 * ROWS)
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 5 * ROWS, "all but one")
    now = pg_database.one("SELECT expires_at FROM onewrite.lease WHERE name = 'outbox/0'")
    wait_for(lambda: pg_database.one("SELECT expires_at > %s + interval '4 s' FROM onewrite.lease WHERE name = 'outbox/0'", now),
             "some turns of the relay")
    assert len(filled(pg_database)) == 6
    query(late, "COMMIT")
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 5 * ROWS + 1, "the late one")
    wait_for(lambda: len(filled(pg_database)) <= 1, "the partitions to be emptied")
    stop(relay)


def test_a_partition_in_use_is_emptied_later(start, partitioned, pg_database, tmp_path):
    reader = pg_database.connect()
    fill(pg_database, 3 * ROWS)
    query(reader, "BEGIN; SELECT count(*) FROM onewrite.outbox")
    relay = start(*POLLING, pg_database.url, "file:events.jsonl")
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 3 * ROWS, "all of it")
    fill(pg_database, 10, first=5000)
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 3 * ROWS + 10, "the relay to go on")
    assert len(filled(pg_database)) == 4
    query(reader, "COMMIT")
    wait_for(lambda: len(filled(pg_database)) <= 1, "the partitions to be emptied")
    stop(relay)


def test_kills_over_partitions(run, start, partitioned, pg_database, onewrite_release, tmp_path):
    """Nothing is lost, nothing of a key is out of order, a window at most comes twice."""
    dice = random.Random(5)
    writer = PgWriter(pg_database, random.Random(6), customers=20)
    for _ in range(12):
        relay = start("-q", *POLLING, "--window-messages", "50", pg_database.url, "file:events.jsonl", program=onewrite_release)
        time.sleep(0.1 + dice.random() * 0.4)
        relay.kill()
        relay.wait()
    writer.stop()
    run(*POLLING, "--until-end", pg_database.url, "file:events.jsonl")
    verdict = compare(writer.shop.truth(), lines(tmp_path / "events.jsonl"))
    assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= 12 * 50, verdict
    assert waiting(run, pg_database) == 0


def test_relays_share_partitions(run, start, partitioned, pg_database, onewrite_release, tmp_path):
    """One stays, others come and are killed: what one has accepted the next one knows."""
    dice = random.Random(7)
    with open(tmp_path / "events.jsonl", "a") as out:
        def relay():
            return start("-q", *POLLING, "--window-messages", "50", pg_database.url, "stdout:", program=onewrite_release, stdout=out)
        first = relay()
        writer = PgWriter(pg_database, random.Random(8), customers=20)
        for _ in range(6):
            other = relay()
            wait_for(lambda: len(set(pg_database.query("SELECT holder FROM onewrite.lease WHERE name LIKE 'outbox/%' AND holder <> ''"))) == 2,
                     "two to share the keys")
            time.sleep(dice.random() * 0.4)
            other.kill()
            other.wait()
        writer.stop()
        wait_for(lambda: waiting(run, pg_database) == 0, "the outbox to be empty")
        wait_for(lambda: len(filled(pg_database)) <= 1, "the partitions to be emptied")
        stop(first)
    verdict = compare(writer.shop.truth(), lines(tmp_path / "events.jsonl"))
    assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= 6 * 50, verdict


def test_not_into_partitions_below_a_slot(run, pg_database):
    run("relay", "--until-end", pg_database.url, "stdout:")
    said = run("init", "--outbox", "partitioned", pg_database.url, status=1).stderr.splitlines()[-1]
    assert said.count(pg_database.url) == 1 and "drop it first (onewrite drop)" in said and "tried again" not in said
    run("drop", pg_database.url)
    assert "partitions of" in run("init", "--outbox", "partitioned", pg_database.url).stderr


def test_an_outbox_becomes_partitioned(run, shop, pg_database, pg_server):
    shop.place(orders=3)
    query(shop.db, "UPDATE onewrite.outbox SET accepted_at = now() WHERE seq = 1")
    assert "partitions of 100" in run("init", "--outbox", "partitioned", "--partition-rows", "100", pg_database.url).stderr
    assert "nothing" in run("init", "--outbox", "partitioned", pg_database.url).stderr
    assert "after=mark" in run(*POLLING, "--until-end", pg_database.url + "?after=mark", "stdout:", status=1).stderr
    with pytest.raises(psycopg2.Error, match="GENERATED ALWAYS|non-DEFAULT"):
        query(shop.db, "INSERT INTO onewrite.outbox (seq, id, aggregatetype, aggregateid, type) VALUES (1, 'x', 'order', 'k', 'T')")
    query(shop.db, "ALTER SEQUENCE onewrite.outbox_seq_seq CACHE 10")
    assert "CACHE 1" in run(*POLLING, "--until-end", pg_database.url, "stdout:", status=1).stderr
    query(shop.db, "ALTER SEQUENCE onewrite.outbox_seq_seq CACHE 1")
    shop.place(orders=1)
    query(shop.db, "SELECT onewrite.publish('order', 'k', 'T', 'published', id => 'published')")
    query(shop.db, "SELECT onewrite.publish('order', 'k', 'T', 'x', headers => '{\"h\":\"a\\nb\"}')")
    role = f"relay_{pg_database.name}"
    query(shop.db, f"CREATE ROLE {role} LOGIN; GRANT onewrite_relay TO {role}; ALTER ROLE {role} SET role = onewrite_relay")
    got = records_of(run(*POLLING, "--until-end", pg_server.url(pg_database.name, user=role), "stdout:").stdout)
    assert len(got) == 4 and got[-1]["id"] == "published"
    assert len(shop.dead_letters()) == 1 and waiting(run, pg_database) == 0
    query(shop.db, f"DROP ROLE {role}")


def test_a_slot_and_partitions(run, shop, pg_database, tmp_path):
    shop.place(orders=3)
    read_by_log(run, pg_database.url)
    assert "drop it first" in run("init", "--outbox", "partitioned", pg_database.url, status=1).stderr
    run("drop", pg_database.url)
    run("init", "--outbox", "partitioned", "--partition-rows", "100", pg_database.url)
    shop.place(orders=250)
    read_by_log(run, pg_database.url)
    shop.place(orders=7)
    read_by_log(run, pg_database.url)
    assert compare(shop.truth(), lines(tmp_path / "events.jsonl"))[:2] == (0, 0)
    assert len(lines(tmp_path / "events.jsonl")) == 260


# --- being woken -----------------------------------------------------------------------------------------


def test_notify(run, start, shop, pg_database, tmp_path):
    assert "wake the relay" in run("init", "--notify", "1s", pg_database.url).stderr
    listener = pg_database.connect()
    query(listener, "LISTEN onewrite_outbox")
    for n in range(30):
        shop.place(orders=1)
    listener.poll()
    assert 1 <= len(listener.notifies) <= 8  # 30 but for the second
    run("init", "--notify", "1ms", pg_database.url)
    relay = start(*POLLING, pg_database.url, "file:events.jsonl")
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 30, "the relay to work")
    took = []
    for n in range(7):
        time.sleep(1)  # it looks twice a second then
        began = time.monotonic()
        shop.place(orders=1)
        wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 31 + n, "the message")
        took.append(time.monotonic() - began)
    assert sorted(took)[3] < 0.15, took
    stop(relay)
    assert "wake nobody" in run("init", "--notify", "0", pg_database.url).stderr
    assert pg_database.one("SELECT count(*) FROM pg_trigger WHERE tgname = 'outbox_notify'") == 0
    shop.place(orders=1)
    assert "no duration" in run("init", "--notify", "often", pg_database.url, status=2).stderr
    assert "PostgreSQL" in run("init", "--notify", "1s", "sqlite:shop.db", status=2).stderr


def test_the_layout_as_sql(run, pg_database):
    """What --print gives does the same."""
    sql = run("init", "--print", "--outbox", "partitioned", "--partition-rows", "500", "--notify", "5ms", pg_database.url).stdout
    pg_database.query(sql)
    assert pg_database.one("SELECT value FROM onewrite.meta WHERE name = 'partition_rows'") == "500"
    assert "nothing to do" in run("init", "--outbox", "partitioned", "--notify", "5ms", pg_database.url).stderr
    PgShop(pg_database).place(orders=2)
    assert len(records_of(run(*POLLING, "--until-end", pg_database.url, "stdout:").stdout)) == 2
