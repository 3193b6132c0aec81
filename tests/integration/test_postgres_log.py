# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's log as a source: order, kills, restarts, large transactions, snapshots, gaps, and the slot's progress.

`./dev test --long` runs the long forms: more kills and restarts, and one transaction of a gigabyte.
"""

import json
import random
import signal
import subprocess
import time

import pytest
from conftest import wait_for
from oracle import Verdict, compare, records_of
from postgres import INSERT, PgShop, PgWriter, new_server, pg_database, pg_server, query  # noqa: F401

WINDOW = 50
# So many random characters, which do not become less when they are compressed.
RANDOM = "(SELECT string_agg(md5(random()::text || n || i), '') FROM generate_series(1, {}) i)"
TO = ["journal:bus.db", "file:events.jsonl"]


def relay(url, to, *more):
    return ("relay", "--window-messages", WINDOW, *more, url, to)


def accepted(run, tmp_path, to):
    if to.startswith("journal:"):
        return records_of(run("tail", to, "--topic", "outbox.event.order", "--from", "beginning", "--until-end",
                              "-o", "jsonl").stdout)
    path = tmp_path / to.removeprefix("file:")
    return records_of(path.read_text()) if path.exists() else []


def ids(run, tmp_path, to="file:events.jsonl"):
    return [record["id"] for record in accepted(run, tmp_path, to)]


def once(run, url, *more, to="file:events.jsonl", status=0, env=None):
    return run(*relay(url, to, "--until-end", *more), status=status, env=env)


@pytest.fixture
def shop(run, pg_database):
    run("init", pg_database.url)
    return PgShop(pg_database)


def insert(database, *identities, key="k"):
    for identity in identities:
        database.query(INSERT, identity, key, "{}")


def slot_of(database):
    rows = database.query("SELECT confirmed_flush_lsn - '0/0', active_pid FROM pg_replication_slots WHERE database = %s", database.name)
    return rows[0] if rows else None


# --- the first start ------------------------------------------------------------------------------------


def test_rows_before_the_first_start(run, shop, pg_database, tmp_path):
    """They come first, from the snapshot; then the log; what is confirmed leaves the table."""
    for _ in range(30):
        shop.place(orders=5)
    once(run, pg_database.url)
    assert compare(shop.truth(), accepted(run, tmp_path, "file:events.jsonl")) == Verdict(0, 0, 0, 0)
    shop.place(orders=5)
    once(run, pg_database.url)
    assert compare(shop.truth(), accepted(run, tmp_path, "file:events.jsonl")) == Verdict(0, 0, 0, 0)
    assert shop.waiting() == 0


def test_without_init(run, pg_database, tmp_path):
    """A role that may makes what is missing; the publication is of the outbox alone."""
    once(run, pg_database.url)
    insert(pg_database, "a")
    once(run, pg_database.url)
    assert ids(run, tmp_path) == ["a"]
    assert pg_database.query("SELECT tablename FROM pg_publication_tables") == [("outbox",)]


@pytest.mark.parametrize("label", ["log.slot-made", "log.snapshot-noted", "log.mid-snapshot", "log.snapshot-read", "log.before-record", "log.after-record",
                                   "relay.after-read", "relay.after-send", "relay.after-accept", "relay.after-confirm",
                                   "relay.before-aside", "relay.after-aside"])
@pytest.mark.parametrize("to", TO)
def test_kill_at_each_point_of_the_first_start(run, shop, pg_database, tmp_path, label, to):
    for passage in (1, 2):
        if to.startswith("journal:") and label in ("log.before-record", "log.after-record"):
            pytest.skip("the journal keeps the position itself")
        if label in ("log.slot-made", "log.snapshot-noted", "log.mid-snapshot", "log.snapshot-read") and passage == 2:
            break  # there is a first start only once
        for _ in range(20):
            shop.place(orders=4)
            pg_database.query(INSERT.replace("'OrderPlaced'", "E'bad\\ntype'"), f"poison-{passage}-{_}", "k", "x")
        crash = run(*relay(pg_database.url, to, "--until-end"), status=-signal.SIGKILL,
                    env={"ONEWRITE_CRASH": f"{label}:{passage}"})
        assert crash.returncode == -signal.SIGKILL
        wait_for(lambda: slot_of(pg_database) is None or slot_of(pg_database)[1] is None, "the slot to be left")
        once(run, pg_database.url, to=to)
        verdict = compare(shop.truth(), accepted(run, tmp_path, to))
        assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= (0 if to.startswith("journal:") else passage * WINDOW)
        assert len(shop.dead_letters()) == 20 * passage
        assert shop.waiting() == 0, passage


# --- order, kills and restarts --------------------------------------------------------------------------


@pytest.mark.parametrize("to", TO)
def test_random_kills(onewrite_release, run, shop, pg_database, is_long, tmp_path, to):
    kills, dice, really = 200 if is_long else 10, random.Random(len(to)), 0
    once(run, pg_database.url, to=to)
    writers = [PgWriter(pg_database, random.Random(i), writer=f"w{i}") for i in range(2)]
    while really < kills:
        process = subprocess.Popen([onewrite_release, "-q", *map(str, relay(pg_database.url, to))], cwd=tmp_path)
        time.sleep(0.05 + dice.random() * 0.3)
        process.kill()
        really += process.wait() == -signal.SIGKILL
    for writer in writers:
        writer.stop()
    wait_for(lambda: slot_of(pg_database)[1] is None, "the slot to be left")
    once(run, pg_database.url, to=to)
    verdict = compare(shop.truth(), accepted(run, tmp_path, to))
    assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= (0 if to.startswith("journal:") else kills * WINDOW), verdict
    assert len(shop.truth()) > 10 * kills, "the writers hardly wrote"
    assert shop.waiting() == 0


@pytest.mark.parametrize("to", TO)
def test_immediate_restarts_of_the_server(onewrite_release, start, run, is_long, tmp_path, to):
    """The slot goes back to the last checkpoint: what is on record is passed over."""
    server = new_server(checkpoint_timeout="1h")
    try:
        from postgres import Database
        query(server.connect(), "CREATE DATABASE shop")
        database = Database(server, "shop")
        run("init", database.url)
        writer = PgWriter(database, random.Random(3))
        process = start("-q", *relay(database.url, to), program=onewrite_release)
        restarts = 20 if is_long else 4
        for _ in range(restarts):
            time.sleep(0.7)
            server.restart("immediate")
        time.sleep(0.5)
        writer.stop()
        shop = PgShop(database, writer="last")
        wait_for(lambda: shop.waiting() == 0, "the outbox to be empty", 40)
        process.terminate()
        assert process.wait(15) == 0, process.stderr.read()
        verdict = compare(shop.truth(), accepted(run, tmp_path, to))
        assert verdict[:3] == (0, 0, 0), verdict
        assert verdict.duplicates <= (0 if to.startswith("journal:") else restarts * WINDOW), verdict
        assert len(shop.truth()) > 100
        database.db.close()
        shop.db.close()
    finally:
        server.remove()


@pytest.mark.parametrize("streamed", [False, True])
def test_rows_that_share_an_lsn(run, shop, pg_database, tmp_path, streamed):
    """COPY and an insert of many rows have one LSN for all of them; a kill after any of them loses none."""
    pg_database.query(f"ALTER SYSTEM SET logical_decoding_work_mem = '{'64kB' if streamed else '64MB'}'")
    pg_database.query("SELECT pg_reload_conf()")
    once(run, pg_database.url)
    expected = 0
    for k in range(1, 11):
        pg_database.query("INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
                          f"SELECT 'i-' || %s || '-' || n, 'order', 'k', 'T', {RANDOM.format(300 if streamed else 1)} FROM generate_series(1, 12) n",
                          str(k))
        expected += 12
        run(*relay(pg_database.url, "file:events.jsonl", "--until-end"), status=-signal.SIGKILL,
            env={"ONEWRITE_CRASH": f"{'log.mid-replay' if streamed else 'relay.after-send'}:{k}"})
        wait_for(lambda: slot_of(pg_database)[1] is None, "the slot to be left")
        once(run, pg_database.url)
        assert len(set(ids(run, tmp_path))) == expected, k
    firsts = list(dict.fromkeys(ids(run, tmp_path)))
    assert firsts == [f"i-{k}-{n}" for k in range(1, 11) for n in range(1, 13)]


def test_interleaved_long_transactions(start, run, shop, pg_database, tmp_path):
    """Commit order, whatever began first; a restart of the relay while some are open loses nothing."""
    once(run, pg_database.url)  # a slot is made only when what was open before has ended
    process = start(*relay(pg_database.url, "file:events.jsonl"))
    open_ones = [pg_database.connect() for _ in range(4)]
    for n, connection in enumerate(open_ones):
        query(connection, "BEGIN")
        for i in range(5):
            query(connection, INSERT, f"{n}-{i}", "k", "{}")
    insert(pg_database, "between")
    wait_for(lambda: "between" in ids(run, tmp_path), "the short one")
    process.kill()
    process.wait()
    for n in (2, 0):
        query(open_ones[n], "COMMIT")
    query(open_ones[3], "ROLLBACK")
    process = start(*relay(pg_database.url, "file:events.jsonl"))
    wait_for(lambda: "0-4" in ids(run, tmp_path), "those that committed meanwhile")
    query(open_ones[1], "COMMIT")
    wait_for(lambda: "1-4" in ids(run, tmp_path), "the last one")
    got = list(dict.fromkeys(ids(run, tmp_path)))
    assert got == ["between", *(f"{n}-{i}" for n in (2, 0, 1) for i in range(5))]


def test_late_commits(start, run, shop, pg_database, is_long, tmp_path):
    """A low seq that commits last is not passed over."""
    once(run, pg_database.url)
    process = start(*relay(pg_database.url, "file:events.jsonl"))
    late, total = pg_database.connect(), 1000 if is_long else 100
    for n in range(total):
        query(late, "BEGIN")
        query(late, INSERT, f"late-{n}", f"l{n}", "{}")
        insert(pg_database, f"soon-{n}", key=f"s{n}")
        query(late, "COMMIT")
    wait_for(lambda: len(ids(run, tmp_path)) == 2 * total, "all of them")
    assert len(set(ids(run, tmp_path))) == 2 * total
    process.terminate()
    assert process.wait(10) == 0


@pytest.mark.parametrize("memory", ["64MB", "64kB"])
def test_savepoints(run, shop, pg_database, tmp_path, memory):
    """What was rolled back is not published; ordinals are the same whether the transaction was streamed or not."""
    pg_database.query(f"ALTER SYSTEM SET logical_decoding_work_mem = '{memory}'")
    pg_database.query("SELECT pg_reload_conf()")
    once(run, pg_database.url)
    expected = []
    db = pg_database.connect()
    for round_ in range(3):
        query(db, "BEGIN")
        for n in range(120):
            query(db, "SAVEPOINT s")
            identity = f"{round_}-{n}"
            query(db, "INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
                      f"SELECT %s, 'order', 'k', 'T', {RANDOM.format(40)} FROM generate_series(1, 1) n", identity)
            if n % 3 == 1:
                query(db, "ROLLBACK TO SAVEPOINT s")
            else:
                query(db, "RELEASE SAVEPOINT s")
                expected.append(identity)
        query(db, "ROLLBACK" if round_ == 1 else "COMMIT")
        if round_ == 1:
            expected = [e for e in expected if not e.startswith("1-")]
        run(*relay(pg_database.url, "file:events.jsonl", "--until-end"), status=0 if round_ == 1 else -signal.SIGKILL,
            env={"ONEWRITE_CRASH": f"{'log.mid-replay' if memory == '64kB' else 'relay.after-send'}:{round_ + 7}"})
        wait_for(lambda: slot_of(pg_database)[1] is None, "the slot to be left")
        once(run, pg_database.url)
    pg_database.query("ALTER SYSTEM RESET logical_decoding_work_mem")
    pg_database.query("SELECT pg_reload_conf()")
    assert list(dict.fromkeys(ids(run, tmp_path))) == expected


def test_one_large_transaction(onewrite_release, run, shop, pg_database, is_long, tmp_path):
    """Resident memory stays small, whatever the transaction holds."""
    megabytes = 1024 if is_long else 96
    once(run, pg_database.url, to="stdout:")
    pg_database.query("ALTER SYSTEM SET logical_decoding_work_mem = '1MB'")
    pg_database.query("SELECT pg_reload_conf()")
    pg_database.query("INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
                      "SELECT n::text, 'order', n::text, 'T', repeat(md5(n::text), 1024) FROM generate_series(1, %s) n", megabytes * 32)
    script = ("import resource, subprocess, sys; s = subprocess.call(sys.argv[1:], stdout=open('/dev/null', 'w'));"
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(s)")
    done = subprocess.run(["python3", "-c", script, onewrite_release, "-q", "relay", "--until-end", pg_database.url, "file:large.jsonl"],
                          capture_output=True, text=True, timeout=600, cwd=tmp_path)
    pg_database.query("ALTER SYSTEM RESET logical_decoding_work_mem")
    pg_database.query("SELECT pg_reload_conf()")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "large.jsonl") as file:
        assert sum(1 for _ in file) == megabytes * 32
    assert int(done.stdout) < 128 * 1024, f"{done.stdout} KiB"


# --- more than one relay --------------------------------------------------------------------------------


def test_standby_takes_over(onewrite_release, start, run, shop, pg_database, tmp_path):
    relays = [start(*relay(pg_database.url, "file:events.jsonl"), program=onewrite_release)]
    wait_for(lambda: slot_of(pg_database) and slot_of(pg_database)[1], "the first one to work")
    relays.append(start(*relay(pg_database.url, "file:events.jsonl"), program=onewrite_release))
    assert "standing by" in relays[1].stderr.readline()
    insert(pg_database, "a")
    wait_for(lambda: ids(run, tmp_path) == ["a"], "the first message")
    relays[0].kill()
    insert(pg_database, "b")
    wait_for(lambda: "b" in ids(run, tmp_path), "the other one to take over", 10)
    relays[1].terminate()
    assert relays[1].wait(10) == 0


# --- gaps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", TO)
def test_slot_dropped_behind_our_back(run, shop, pg_database, tmp_path, to):
    insert(pg_database, "a")
    once(run, pg_database.url, to=to)
    pg_database.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
    insert(pg_database, "b")
    stopped = once(run, pg_database.url, to=to, status=1)
    assert "is gone, although position" in stopped.stderr and "--accept-gap" in stopped.stderr
    assert [r["id"] for r in accepted(run, tmp_path, to)] == ["a"]
    once(run, pg_database.url, "--accept-gap", to=to)
    insert(pg_database, "c")
    once(run, pg_database.url, to=to)
    assert [r["id"] for r in accepted(run, tmp_path, to)] == ["a", "b", "c"], "our outbox still had the row"


@pytest.mark.parametrize("to", TO)
def test_slot_made_anew_or_read_by_another(run, shop, pg_database, tmp_path, to):
    insert(pg_database, "a")
    once(run, pg_database.url, to=to)
    insert(pg_database, "b")
    pg_database.query("SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots "
                      "WHERE database = current_database()")
    stopped = once(run, pg_database.url, to=to, status=1)
    assert "ahead of the recorded position" in stopped.stderr
    once(run, pg_database.url, "--accept-gap", to=to)
    assert [r["id"] for r in accepted(run, tmp_path, to)] == ["a", "b"]


def test_record_of_another_server_or_a_longer_log(run, shop, pg_database):
    insert(pg_database, "a")
    once(run, pg_database.url)
    pg_database.query("UPDATE onewrite.position SET system_identifier = '1' WHERE source NOT LIKE '%%/%%'")
    assert "another server" in once(run, pg_database.url, status=1).stderr
    pg_database.query("UPDATE onewrite.position p SET system_identifier = s.system_identifier, position = '99999999999/1' "
                      "FROM onewrite.position s WHERE p.source NOT LIKE '%%/%%' AND s.source LIKE '%%/%%'")
    assert "before the recorded position" in once(run, pg_database.url, status=1).stderr


# --- what the server may forget -------------------------------------------------------------------------


def test_idle_database_lets_the_slot_go_on(start, run, shop, pg_database, pg_server):
    """Others write the log; this database does not, and neither does the relay, but for one row now and then."""
    start(*relay(pg_database.url, "file:events.jsonl"))
    wait_for(lambda: slot_of(pg_database), "the slot")
    other = pg_server.connect()
    query(other, "CREATE TABLE IF NOT EXISTS noise (n int)")
    query(other, "INSERT INTO noise SELECT generate_series(1, 20000)")
    target = query(other, "SELECT pg_current_wal_lsn() - '0/0'")[0][0]
    wait_for(lambda: slot_of(pg_database)[0] >= target, "the slot to go on")  # by itself the server speaks every 30 s


def test_idle_database_behind_a_journal(start, run, shop, pg_database, pg_server):
    """Where the broker keeps the position the database is not written at all."""
    start(*relay(pg_database.url, "journal:bus.db"))
    wait_for(lambda: slot_of(pg_database), "the slot")
    other = pg_server.connect()
    query(other, "CREATE TABLE IF NOT EXISTS noise (n int)")
    for _ in range(3):
        query(other, "INSERT INTO noise SELECT generate_series(1, 20000)")
        target = query(other, "SELECT pg_current_wal_lsn() - '0/0'")[0][0]
        wait_for(lambda: slot_of(pg_database)[0] >= target, "the slot to go on", 10)
    assert pg_database.query("SELECT source FROM onewrite.position WHERE source NOT LIKE '%%/%%'") == []


def test_idle_for_long(onewrite_release, start, run, is_long, tmp_path):
    """What its own record adds to the log is no reason for another record."""
    if not is_long:
        pytest.skip("with --long")
    server = new_server(autovacuum="off", checkpoint_timeout="1h")
    try:
        run("init", server.url("postgres"))
        start(*relay(server.url("postgres"), "file:events.jsonl"), program=onewrite_release)
        count = "SELECT n_tup_upd + n_tup_ins FROM pg_stat_all_tables WHERE relname = 'position'"
        db = server.connect()
        time.sleep(35)
        before = query(db, count)
        time.sleep(65)
        assert query(db, count) == before
    finally:
        server.remove()


def test_rows_that_were_left_behind(start, run, shop, pg_database):
    """They are confirmed and still in the table; the next relay finds them by looking."""
    insert(pg_database, "first")
    once(run, pg_database.url)
    insert(pg_database, *map(str, range(20)))
    run(*relay(pg_database.url, "file:events.jsonl", "--until-end", "--prune", "never"))
    assert shop.waiting() == 20
    start(*relay(pg_database.url, "file:events.jsonl"))
    pg_database.query("CREATE TABLE noise AS SELECT generate_series(1, 1000)")
    wait_for(lambda: shop.waiting() == 0, "the rows that were left over to go", 30)


# --- rows and messages ----------------------------------------------------------------------------------


def test_rows_as_they_stand(run, shop, pg_database, tmp_path):
    pg_database.query("BEGIN")
    pg_database.query("""INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload, payload_bytes, headers, time) VALUES
        ('text', 'order', 'ä', 'T', E'{"a": 1,\\n "b":\t2}', NULL, '{"x": "1", "y": null}', '2026-11-21 12:00:00.123456+02'),
        ('bytes', 'order', 'k', 'T', NULL, '\\x00ff80', NULL, '2026-11-21 12:00:00+00'),
        ('null', 'order', 'k', 'T', NULL, NULL, NULL, '2026-11-21 12:00:00+00')""")
    pg_database.query("DELETE FROM onewrite.outbox")
    pg_database.query("COMMIT")
    once(run, pg_database.url)
    assert ids(run, tmp_path) == [], "what came and went before the slot was never there"
    pg_database.query("BEGIN")
    pg_database.query("""INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload, payload_bytes, headers, time) VALUES
        ('text', 'order', 'ä', 'T', E'{"a": 1,\\n "b":\t2}', NULL, '{"x": "1", "y": null}', '2026-11-21 12:00:00.123456+02'),
        ('bytes', 'order', 'k', 'T', NULL, '\\x00ff80', NULL, '2026-11-21 12:00:00+00'),
        ('null', 'order', 'k', 'T', NULL, NULL, NULL, '2026-11-21 12:00:00+00')""")
    pg_database.query("DELETE FROM onewrite.outbox")
    pg_database.query("COMMIT")
    once(run, pg_database.url)
    text, data, null = accepted(run, tmp_path, "file:events.jsonl")
    assert text["value"] == '{"a": 1,\n "b":\t2}' and text["key"] == "ä" and text["time"] == "2026-11-21T10:00:00.123Z"
    assert text["headers"] == {"type": "T", "x": "1", "y": None}
    assert data["value"] == {"base64": "AP+A"}
    assert null["value"] is None


def test_a_table_of_debezium(run, pg_database, tmp_path):
    """jsonb comes in its own form; rows of a table that is not ours stay."""
    pg_database.query("CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregatetype varchar(255) NOT NULL, "
                      "aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, payload jsonb)")
    pg_database.query("INSERT INTO outbox (aggregatetype, aggregateid, type, payload) VALUES ('order', '1', 'T', '{\"b\":1, \"a\":2}')")
    once(run, pg_database.url, "--outbox", "public.outbox", "--slot", "mine")
    pg_database.query("INSERT INTO outbox (aggregatetype, aggregateid, type, payload) VALUES ('order', '2', 'T', NULL)")
    once(run, pg_database.url, "--outbox", "outbox", "--slot", "mine")
    one, two = accepted(run, tmp_path, "file:events.jsonl")
    assert (one["key"], one["value"]) == ("1", '{"a": 2, "b": 1}') and (two["key"], two["value"]) == ("2", None)
    assert pg_database.one("SELECT count(*) FROM outbox") == 2


def test_the_table_changes(run, shop, pg_database, tmp_path):
    """A column more is nothing; one that a message needs makes the row a dead letter, and the others go on."""
    once(run, pg_database.url)
    insert(pg_database, "a")
    pg_database.query("ALTER TABLE onewrite.outbox ADD COLUMN note text DEFAULT 'x'")
    insert(pg_database, "b")
    pg_database.query("ALTER TABLE onewrite.outbox RENAME COLUMN aggregateid TO other")
    pg_database.query(INSERT.replace("aggregateid", "other"), "c", "k", "{}")
    pg_database.query("ALTER TABLE onewrite.outbox RENAME COLUMN other TO aggregateid")
    insert(pg_database, "d")
    once(run, pg_database.url)
    assert ids(run, tmp_path) == ["a", "b", "d"]
    (identity, reason), = shop.dead_letters()
    assert identity == "c" and "no column aggregateid" in reason
    pg_database.query("ALTER TABLE onewrite.outbox DROP COLUMN payload_bytes, DROP COLUMN payload")
    assert "has no column payload" in once(run, pg_database.url, status=1).stderr


def test_headers_that_are_none(run, shop, pg_database, tmp_path):
    once(run, pg_database.url)
    pg_database.query("INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload, headers) VALUES ('a', 'order', 'k', 'T', 'p', '[1]')")
    once(run, pg_database.url)
    assert pg_database.query("SELECT id, payload, headers FROM onewrite.dead_letter") == [("a", "p", '{"headers":"[1]"}')]


def test_by_message(run, pg_database, tmp_path):
    run("init", "--outbox", "message", pg_database.url)
    pg_database.query("""SELECT onewrite.publish('order', 'k"1', 'T', E'{"a":\\n1}', id => 'a', headers => '{"x":"1"}')""")
    pg_database.query("SELECT onewrite.publish_bytes('order', 'k2', 'T', '\\x00ff80', id => 'b')")
    pg_database.query("BEGIN")
    pg_database.query("SELECT onewrite.publish('order', 'k', 'T', 'x', id => 'ghost')")
    pg_database.query("ROLLBACK")
    pg_database.query("SELECT pg_logical_emit_message(true, 'other', 'x'), pg_logical_emit_message(false, 'onewrite', '{}')")
    pg_database.query("SELECT pg_logical_emit_message(true, 'onewrite', 'no json')")
    pg_database.query("SELECT onewrite.publish('order', 'k', 'T', NULL, id => 'c')")
    once(run, pg_database.url, "--by", "message")
    a, b, c = accepted(run, tmp_path, "file:events.jsonl")
    assert (a["id"], a["key"], a["value"], a["headers"]) == ("a", 'k"1', '{"a":\n1}', {"type": "T", "x": "1"})
    assert (b["id"], b["value"]) == ("b", {"base64": "AP+A"}) and (c["id"], c["value"]) == ("c", None)
    assert pg_database.query("SELECT payload FROM onewrite.dead_letter") == [("no json",)]
    once(run, pg_database.url, "--by", "message")
    assert ids(run, tmp_path) == ["a", "b", "c"]


def test_by_message_in_large_transactions(run, pg_database, tmp_path):
    run("init", "--outbox", "message", pg_database.url)
    pg_database.query("ALTER SYSTEM SET logical_decoding_work_mem = '64kB'")
    pg_database.query("SELECT pg_reload_conf()")
    run(*relay(pg_database.url, "file:events.jsonl", "--by", "message", "--until-end"))
    db = pg_database.connect()
    query(db, "BEGIN")
    for n in range(100):
        query(db, "SAVEPOINT s")
        query(db, "SELECT onewrite.publish('order', 'k', 'T', repeat('x', 3000), id => %s)", str(n))
        query(db, "ROLLBACK TO SAVEPOINT s" if n % 4 == 0 else "RELEASE SAVEPOINT s")
    query(db, "COMMIT")
    once(run, pg_database.url, "--by", "message")
    pg_database.query("ALTER SYSTEM RESET logical_decoding_work_mem")
    pg_database.query("SELECT pg_reload_conf()")
    assert ids(run, tmp_path) == [str(n) for n in range(100) if n % 4]


# --- bad input ------------------------------------------------------------------------------------------


def test_what_cannot_be(run, pg_database):
    url = pg_database.url
    assert "cannot name a slot" in run("relay", "--slot", "Bad-Name", url, "stdout:", status=2).stderr
    assert "cannot name a slot" in run("relay", "--slot", "", url, "stdout:", status=2).stderr
    assert "write it as schema.table" in run("relay", "--outbox", "a.b.c", url, "stdout:", status=2).stderr
    assert "--topic: it is empty" in run("relay", "--topic", "", url, "stdout:", status=2).stderr
    assert "no table public.none" in run("relay", "--outbox", "none", url, "stdout:", status=69).stderr
    assert "no log to read" in run("relay", "--by", "log", "sqlite:x.db", "stdout:", status=2).stderr
    assert "is for a source that is read by log" in run("relay", "--by", "polling", "--slot", "x", url, "stdout:", status=2).stderr
