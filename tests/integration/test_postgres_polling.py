# SPDX-License-Identifier: Apache-2.0
"""The order and the safety of the polled PostgreSQL outbox: late commits, inversions, kills, restarts, many relays.

`./dev test --long` runs 1,000 forced interleavings, 200 kills and 20 restarts; otherwise a small form of each.
"""

import random
import signal
import subprocess
import time

import pytest
from conftest import wait_for
from oracle import Verdict, compare, records_of
from postgres import PgShop, PgWriter, new_server, pg_database, pg_server, query, Database  # noqa: F401 (fixtures)

psycopg2 = pytest.importorskip("psycopg2", reason="psycopg2 is not installed (package python3-psycopg2)")

WINDOW = 50
RELAY = ("relay", "--by", "polling")


def lines(path):
    return records_of(path.read_text()) if path.exists() else []


@pytest.fixture
def shop(run, pg_database):
    run("init", pg_database.url)
    return PgShop(pg_database)


def put(connection, identity, key, number=0):
    query(connection, "INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) VALUES (%s, 'order', %s, 'T', %s)",
          identity, key, str(number))


def test_three_transactions_and_one_key(start, shop, pg_database, tmp_path):
    """An old transaction writes the second message of a key, while another old one stays open. A reader that waited
    for a horizon of transaction ids would publish the second before the first."""
    query(shop.db, "CREATE TABLE k (v int); INSERT INTO k VALUES (0); CREATE TABLE elsewhere (v int)")
    start(*RELAY, pg_database.url, "file:events.jsonl")
    a, x, b = (pg_database.connect() for _ in range(3))
    query(a, "BEGIN; INSERT INTO elsewhere VALUES (1)")
    query(x, "BEGIN; INSERT INTO elsewhere VALUES (2)")
    put(x, "open", "other")
    query(b, "BEGIN; UPDATE k SET v = 1")
    put(b, "v1", "k")
    query(b, "COMMIT")
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 1, "v1")
    query(a, "UPDATE k SET v = 2")
    put(a, "v2", "k")
    query(a, "COMMIT")
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 2, "v2, although a transaction is open")
    query(x, "COMMIT")
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 3, "what was committed last")
    assert [r["id"] for r in lines(tmp_path / "events.jsonl")] == ["v1", "v2", "open"]


def test_forced_late_commits(start, shop, pg_database, is_long, tmp_path):
    """The lower number commits later, also in the middle of what is in flight; keys keep their order."""
    dice = random.Random(9)
    start(*RELAY, "--window-messages", "20", pg_database.url, "file:events.jsonl")
    connections = [pg_database.connect() for _ in range(6)]
    open_ones, truth, count, late = {}, {}, 0, 0
    for _ in range(1000 if is_long else 150):
        i = dice.randrange(len(connections))
        if i in open_ones:
            query(connections[i], "COMMIT" if dice.random() < 0.85 else "ROLLBACK")
            status = connections[i]
            late += any(j != i for j in open_ones)
            for identity, key, number in open_ones.pop(i):
                truth[identity] = (key, number)
            continue
        query(connections[i], "BEGIN")
        open_ones[i] = []
        for _ in range(dice.randint(1, 3)):  # a key for each transaction: nobody waits for a lock
            count += 1
            put(connections[i], f"m{count}", f"key-{count}")
            open_ones[i].append((f"m{count}", f"key-{count}", 1))
    for i in list(open_ones):
        query(connections[i], "COMMIT")
    assert late > 30
    committed = {f"m{n}" for n in range(1, count + 1)}
    wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
    got = [r["id"] for r in lines(tmp_path / "events.jsonl")]
    assert len(got) == len(set(got)) and set(got) <= committed
    assert not shop.dead_letters()


def test_transactions_that_stay_open(start, shop, pg_database, is_long, tmp_path):
    """Twenty transactions stay open until the relay waits for them no more. Each commits, and at once another message of its
    key does, with a number far above: in one snapshot the second is seen with the first, or not at all."""
    start(*RELAY, "--window-messages", "50", pg_database.url, "file:events.jsonl")
    writers = [pg_database.connect() for _ in range(20)]
    query(shop.db, "CREATE TABLE k (key int PRIMARY KEY); INSERT INTO k SELECT generate_series(0, 19)")
    count = 0
    for n in range(50 if is_long else 3):
        for i, writer in enumerate(writers):
            query(writer, "BEGIN")
            query(writer, "SELECT 1 FROM k WHERE key = %s FOR UPDATE", i)
            put(writer, f"first-{n}-{i}", f"key-{i}")
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            count += 1
            put(shop.db, f"between-{count}", f"key-{count}-other")
        for i, writer in enumerate(writers):
            query(writer, "COMMIT")
            put(shop.db, f"second-{n}-{i}", f"key-{i}")
    wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
    got = [r["id"] for r in lines(tmp_path / "events.jsonl")]
    assert len(got) == len(set(got)) == count + 40 * (n + 1)
    at = {identity: place for place, identity in enumerate(got)}
    for i in range(20):
        mine = [at[f"{which}-{m}-{i}"] for m in range(n + 1) for which in ("first", "second")]
        assert mine == sorted(mine), f"key-{i} out of order"
    assert not shop.dead_letters()


def test_a_prepared_transaction(start, shop, pg_database, tmp_path):
    """It changes its name when it is prepared, and is not taken for ended."""
    start(*RELAY, pg_database.url, "file:events.jsonl")
    writer = pg_database.connect()
    query(writer, "BEGIN")
    put(writer, "prepared", "k")
    put(shop.db, "before", "other")
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 1, "what was committed")
    query(writer, "PREPARE TRANSACTION 'two phases'")
    for n in range(100):
        put(shop.db, f"after-{n}", "other")
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 101, "what was committed meanwhile")
    time.sleep(0.5)
    query(writer, "COMMIT PREPARED 'two phases'")
    wait_for(lambda: len(lines(tmp_path / "events.jsonl")) == 102, "what was prepared")


def test_large_and_small_rows(run, shop, pg_database):
    """Rows go by count, and by bytes as soon as there are large ones among them; none is left out or cut."""
    query(shop.db, """INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload, payload_bytes)
                      SELECT i, 'order', i % 7, 'T', CASE WHEN i % 50 < 45 THEN repeat('x', CASE i % 10 WHEN 0 THEN 300000 ELSE 10 END) END,
                             CASE WHEN i % 50 >= 48 THEN convert_to(repeat('y', 5000), 'UTF8') END FROM generate_series(1, 3000) i""")
    got = records_of(run(*RELAY, "--until-end", pg_database.url, "stdout:", timeout=120).stdout)
    assert [r["id"] for r in got] == [str(i) for i in range(1, 3001)]
    assert shop.waiting() == 0 and not shop.dead_letters()


def test_an_open_transaction_does_not_make_it_slow(run, start, shop, pg_database):
    """What was deleted is not read again and again, although no vacuum and no hint can take it away: the entries of the
    index that are read stay in proportion to the rows."""
    holder = pg_database.connect()
    query(holder, "BEGIN")
    put(holder, "held", "held")
    pg_database.query("ALTER TABLE onewrite.outbox SET (autovacuum_enabled = off)")
    rows = 40000
    query(shop.db, "INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
                   "SELECT i, 'order', i %% 100, 'T', 'x' FROM generate_series(1, %s) i", rows)
    relay = start(*RELAY, pg_database.url, "file:events.jsonl")
    wait_for(lambda: shop.waiting() == 0, "all that was committed", 60)
    relay.terminate()
    assert relay.wait(10) == 0

    def reads():
        pg_database.reconnect()
        return pg_database.one("SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelname = 'outbox_pkey'")
    wait_for(lambda: reads() >= rows, "the statistics")
    assert reads() < 12 * rows


def test_late_commits_of_contended_keys(start, pg_database, shop, is_long, tmp_path):
    """Several writers, few keys, transactions of different length, and one that stays open for long."""
    dice = random.Random(10)
    relay = start(*RELAY, "--window-messages", str(WINDOW), pg_database.url, "file:events.jsonl")
    holder = pg_database.connect()
    query(holder, "BEGIN")
    put(holder, "held", "held")
    writers = [PgWriter(pg_database, random.Random(n), pause_s=0.004, writer=str(n), customers=3) for n in range(4)]
    time.sleep(20 if is_long else 3)
    for writer in writers:
        writer.stop()
    wait_for(lambda: shop.waiting() == 0, "all but the one that is held")
    query(holder, "COMMIT")
    wait_for(lambda: any(r["id"] == "held" for r in lines(tmp_path / "events.jsonl")), "the one that was held")
    relay.terminate()
    assert relay.wait(10) == 0
    got = [r for r in lines(tmp_path / "events.jsonl") if r["id"] != "held"]
    assert compare(shop.truth(), got) == Verdict(0, 0, 0, 0)
    assert len(got) > 200 and dice


@pytest.mark.parametrize("to", ["journal:bus.db", "file:events.jsonl"])
def test_random_kills(onewrite_release, run, shop, pg_database, is_long, tmp_path, to):
    kills = 200 if is_long else 10
    dice = random.Random(len(to))
    writer = PgWriter(pg_database, random.Random(1))
    really = 0
    while really < kills:
        process = subprocess.Popen([onewrite_release, "-q", *RELAY, "--window-messages", str(WINDOW), pg_database.url, to],
                                   cwd=tmp_path)
        time.sleep(0.05 + dice.random() * 0.25)
        process.kill()
        really += process.wait() == -signal.SIGKILL
    writer.stop()
    run(*RELAY, "--until-end", pg_database.url, to)
    got = (records_of(run("tail", to, "--topic", "outbox.event.order", "--from", "beginning", "--until-end", "-o", "jsonl").stdout)
           if to.startswith("journal") else lines(tmp_path / "events.jsonl"))
    verdict = compare(shop.truth(), got)
    assert verdict[:3] == (0, 0, 0), verdict
    # A journal knows by its own transaction what it has.
    assert verdict.duplicates <= (0 if to.startswith("journal") else kills * WINDOW), verdict
    assert len(shop.truth()) > kills


@pytest.mark.parametrize("label", ["relay.after-send", "relay.after-accept", "relay.before-aside", "relay.after-aside",
                                   "relay.after-confirm", "outbox.mid-confirm", "outbox.mid-aside"])
def test_labelled_points(onewrite, run, shop, pg_database, tmp_path, label):
    for _ in range(6):
        shop.place(orders=20)
        query(shop.db, "SELECT onewrite.publish('order', 'k', 'T', 'x', headers => '{\"h\":\"a\\nb\"}')")
    crash = subprocess.run([onewrite, *RELAY, "--window-messages", str(WINDOW), "--until-end", pg_database.url, "file:events.jsonl"],
                           cwd=tmp_path, capture_output=True, text=True, timeout=60, env={"ONEWRITE_CRASH": f"{label}:2"})
    assert crash.returncode == -signal.SIGKILL, f"{label} was never passed: {crash.stderr}"
    run(*RELAY, "--window-messages", WINDOW, "--until-end", pg_database.url, "file:events.jsonl")
    verdict = compare(shop.truth(), lines(tmp_path / "events.jsonl"))
    assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= WINDOW, verdict
    assert len(shop.dead_letters()) == 6 and shop.waiting() == 0


def held(database):
    return dict(database.query("SELECT holder, count(*) FROM onewrite.lease WHERE name LIKE 'outbox/%%' AND holder <> '' "
                               "AND expires_at > now() GROUP BY holder".replace("%%", "%")))


def test_relays_share_the_keys(onewrite_release, start, shop, pg_database, tmp_path):
    """Two relays have half of the shards each; when one is killed the other has all of them at once."""
    relays = [start(*RELAY, pg_database.url, f"file:{n}.jsonl", program=onewrite_release) for n in range(2)]
    writer = PgWriter(pg_database, random.Random(2), customers=40)
    wait_for(lambda: sorted(held(pg_database).values()) == [4, 4], "half each")
    wait_for(lambda: all(len(lines(tmp_path / f"{n}.jsonl")) > 50 for n in range(2)), "both to work")
    relays[0].kill()
    killed = time.monotonic()
    wait_for(lambda: list(held(pg_database).values()) == [8], "the other to take over")
    assert time.monotonic() - killed < 3, "it waited for the lease to run out"
    writer.stop()
    wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
    relays[1].terminate()
    assert relays[1].wait(10) == 0
    seen, both = set(), []
    for n in range(2):
        both += lines(tmp_path / f"{n}.jsonl")
    assert compare(shop.truth(), both)[:2] == (0, 0)
    # What one of them published first came in order within each key.
    truth = shop.truth()
    first = {r["id"]: n for n in (1, 0) for r in lines(tmp_path / f"{n}.jsonl")}
    for n in range(2):
        last = {}
        for r in lines(tmp_path / f"{n}.jsonl"):
            key, number = truth[r["id"]]
            if first[r["id"]] == n and r["id"] not in seen:
                assert number > last.get(key, 0)
                last[key] = number
                seen.add(r["id"])


def test_a_relay_that_was_stopped(onewrite_release, start, run, shop, pg_database, tmp_path):
    """SIGSTOP for longer than the lease: another takes over, and what wakes up deletes nothing and goes on in order."""
    with open(tmp_path / "events.jsonl", "a") as out:
        first = start("-q", *RELAY, "--window-messages", "50", pg_database.url, "stdout:", program=onewrite_release, stdout=out,
                      stderr=subprocess.DEVNULL)
        writer = PgWriter(pg_database, random.Random(3), customers=4)
        wait_for(lambda: len(lines(tmp_path / "events.jsonl")) > 50, "the first to work")
        first.send_signal(signal.SIGSTOP)
        second = start("-q", *RELAY, "--window-messages", "50", pg_database.url, "stdout:", program=onewrite_release, stdout=out,
                       stderr=subprocess.DEVNULL)
        before = held(pg_database)
        wait_for(lambda: held(pg_database) and held(pg_database).keys() != before.keys(), "the second to take over")
        there = len(lines(tmp_path / "events.jsonl"))
        wait_for(lambda: len(lines(tmp_path / "events.jsonl")) > there + 100, "the second to work")
        first.send_signal(signal.SIGCONT)
        there = len(lines(tmp_path / "events.jsonl"))
        wait_for(lambda: len(lines(tmp_path / "events.jsonl")) > there + 100, "work to go on")
        writer.stop()
        wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
        for process in (first, second):
            process.terminate()
            assert process.wait(10) == 0
    verdict = compare(shop.truth(), lines(tmp_path / "events.jsonl"))
    assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= 2 * WINDOW, verdict


def test_a_fenced_relay_deletes_nothing(start, onewrite_release, shop, pg_database, tmp_path):
    """The epoch is in the statement that deletes: what a former holder confirms stays in the table."""
    relay = start(*RELAY, pg_database.url, "file:events.jsonl", program=onewrite_release)
    wait_for(lambda: list(held(pg_database).values()) == [8], "the relay to hold all")
    relay.send_signal(signal.SIGSTOP)
    pg_database.query("UPDATE onewrite.lease SET epoch = epoch + 100, holder = 'another', expires_at = now() + interval '1 hour' "
                      "WHERE name LIKE 'outbox/%'")
    # Somebody else holds it, alive: the lock of its epoch is taken too.
    for name, epoch in pg_database.query("SELECT name, epoch FROM onewrite.lease WHERE name LIKE 'outbox/%'"):
        pg_database.query("SELECT pg_advisory_lock(1869050983, hashtext(%s))", f"{name}/{epoch}")
    shop.place(orders=5)
    relay.send_signal(signal.SIGCONT)
    time.sleep(1.5)
    assert shop.waiting() == 5
    pg_database.query("UPDATE onewrite.lease SET holder = '', expires_at = 'epoch' WHERE name LIKE 'outbox/%'")
    wait_for(lambda: shop.waiting() == 0, "the relay to take over again")
    assert len(shop.truth().keys() - {r["id"] for r in lines(tmp_path / "events.jsonl")}) == 0


def test_the_server_crashes_again_and_again(onewrite_release, run, is_long, tmp_path):
    restarts = 20 if is_long else 3
    server = new_server()
    try:
        query(server.connect(), "CREATE DATABASE shop")
        database = Database(server, "shop")
        run("init", database.url)
        writer = PgWriter(database, random.Random(4))
        relay = subprocess.Popen([onewrite_release, "-q", *RELAY, "--window-messages", str(WINDOW), database.url, "file:events.jsonl"],
                                 cwd=tmp_path)
        for n in range(restarts):
            there = len(lines(tmp_path / "events.jsonl"))
            wait_for(lambda: len(lines(tmp_path / "events.jsonl")) > there + 20, "the relay to work")
            server.restart("immediate")
        writer.stop()
        shop = PgShop(database)
        wait_for(lambda: shop.waiting() == 0, "the outbox to be empty", 30)
        relay.terminate()
        assert relay.wait(10) == 0
        verdict = compare(shop.truth(), lines(tmp_path / "events.jsonl"))
        assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= restarts * WINDOW, verdict
    finally:
        server.remove()


def test_the_keys_are_cut_alike_by_all(run, start, pg_database, shop):
    relay = start(*RELAY, pg_database.url + "?shards=4", "file:events.jsonl")
    wait_for(lambda: list(held(pg_database).values()) == [4], "the relay to work")
    assert "shards=4" in run(*RELAY, "--until-end", pg_database.url + "?shards=5", "stdout:", status=1).stderr
    relay.terminate()
    assert relay.wait(10) == 0
    shop.place(orders=4)
    assert len(records_of(run(*RELAY, "--until-end", pg_database.url + "?shards=5", "stdout:").stdout)) == 4
