# SPDX-License-Identifier: Apache-2.0
"""What an operator of PostgreSQL asks and does: status with slots and leases, drop, and relays that exclude one another."""

import json
import signal

import pytest
from conftest import wait_for
from oracle import records_of
from postgres import PgShop, pg_database, pg_server, query  # noqa: F401 (fixtures)

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
    assert name in run("drop", pg_database.url).stdout
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
