# SPDX-License-Identifier: Apache-2.0
"""From PostgreSQL to Kafka, the very first start: what is in the table before there is a slot comes out of a snapshot.

Whoever dies in it, or is stopped, is followed by a relay that begins it again and leaves out what was published.
"""

import os
import random
import shutil
import signal
import subprocess
import textwrap
import time

import pytest
from conftest import wait_for
from faults import background, kill, own_server, tell, way, way_on  # noqa: F401 (fixtures)
from kafka import *  # noqa: F403 (fixtures)
from oracle import records_of
from postgres import RELEASES, Database, new_server, pg_database, pg_server, query  # noqa: F401 (fixtures)
from test_postgres_kafka import crash_at

IS_LONG = os.environ.get("LONG") == "1"
BOTH = ["log", "log-exactly"]
POINTS = {
    "log": ["log.slot-made:1", "log.snapshot-noted:1", "log.mid-snapshot:1", "log.mid-snapshot:70", "relay.after-read:2",
            "relay.after-send:60", "relay.after-accept:1", "kafka.before-record:1", "kafka.after-record:1",
            "relay.after-confirm:2", "log.snapshot-read:1"],
    "log-exactly": ["log.slot-made:1", "log.snapshot-noted:1", "log.mid-snapshot:1", "log.mid-snapshot:70",
                    "relay.after-read:2", "relay.after-send:60", "relay.before-commit:1", "relay.before-commit:3",
                    "kafka.mid-commit:2", "kafka.after-commit:1", "kafka.after-commit:3", "relay.after-accept:2",
                    "relay.after-confirm:1", "relay.after-confirm:3", "log.snapshot-read:1"],
}


def place(way, messages, keys=7):
    for key in range(keys):
        way.place_bulk(messages // keys, 10, customer=f"bulk{key}")


def mark(way):
    rows = way.database.query("SELECT position FROM onewrite.position WHERE source LIKE '%/snapshot'")
    return rows[0][0] if rows else ""


@pytest.mark.parametrize("way", BOTH, indirect=True)
def test_every_point_of_the_snapshot(way, onewrite):
    """Rows are added between the deaths, some by a transaction that has written before the others and commits late."""
    late, dice, crashes = way.database.connect(), random.Random(1), 0
    place(way, 1400)
    for n, point in enumerate(POINTS[way.name]):
        label, passage = point.split(":")
        query(late, "BEGIN")
        query(late, "INSERT INTO orders VALUES (%s, %s, 1)", f"late-{n}", f"late{n}")
        way.put(late, f"late-{n}", key=f"late{n}")
        query(late, "COMMIT") if dice.random() < 0.5 else None
        way.shop.place(orders=7)
        query(late, "COMMIT")
        crash_at(way, onewrite, label, passage)
        crashes += 1
        assert label == "log.snapshot-read" or mark(way).startswith("begun"), (point, mark(way))
    wait_for(way.is_left, "the slot to be left")
    way.once()
    assert mark(way).startswith("done")
    verdict = way.must_hold(duplicates=crashes * way.window)
    assert way.shop.waiting() == 0
    tell(crashes=crashes, committed=len(way.shop.truth()), duplicates=verdict.duplicates)


@pytest.mark.parametrize("way", BOTH, indirect=True)
def test_random_kills_in_the_snapshot(way, is_long, onewrite_release):
    """While others write, so that each attempt sees more than the one before."""
    dice, kills, begun = random.Random(11), 0, 0
    place(way, 70000 if is_long else 21000)
    writer = way.writer(pause_s=0.05)
    while kills < (60 if is_long else 8):
        relay = background(onewrite_release, way)
        time.sleep(0.15 + dice.random() * 0.5)
        kills += kill(relay) == -signal.SIGKILL
        begun += mark(way).startswith("begun")
    writer.stop()
    wait_for(way.is_left, "the slot to be left")
    way.once()
    verdict = way.must_hold(duplicates=kills * way.window)
    tell(kills=kills, begun=begun, committed=len(way.shop.truth()), duplicates=verdict.duplicates)
    assert begun > kills // 2, "hardly a relay died in its snapshot"


@pytest.mark.parametrize("to", ["exactly", "journal"])
def test_tables_of_others(to, run, onewrite, pg_database, request, tmp_path):
    """Debezium's shape, without a number of ours: their rows are told apart by where they lie."""
    db = pg_database
    columns = "id text PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload text"
    insert = "INSERT INTO {} SELECT '{}-' || n, 'order', 'k' || n %% 5, 'T', '{{}}' FROM generate_series(%s, %s) n"
    names = ["events", "numbered", "loose"]
    db.query(f"CREATE TABLE events ({columns})")
    db.query(f"CREATE TABLE numbered ({columns}, seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE)")
    db.query(f"CREATE TABLE loose ({columns})")
    counts = dict.fromkeys(names, 0)

    def put(name, more):
        statement = insert.format(name, name).replace(f"INTO {name}", f"INTO {name} (id, aggregatetype, aggregateid, type, payload)")
        db.query(statement, counts[name] + 1, counts[name] + more)
        counts[name] += more

    for name in names:
        put(name, 300)
    kafka = request.getfixturevalue("kafka") if to == "exactly" else None
    broker = f"{{ url: 'kafka://{kafka.bootstrap}', delivery: exactly_once }}" if kafka else "journal:bus.db"
    topic = f"tables.{db.name}"
    (tmp_path / "onewrite.yaml").write_text(textwrap.dedent(f"""\
        version: 1
        stores: {{ shop: "{db.url}" }}
        brokers: {{ bus: {broker} }}
        relays:
          - name: shop
            from: {{ store: shop, outbox: [public.events, public.numbered, public.loose] }}
            to: {{ broker: bus, topic: {topic} }}
            window: {{ messages: 50 }}
        """))
    for passage in (20, 55, 55, 55):
        done = subprocess.run([str(onewrite), "run", "--until-end", "onewrite.yaml"], cwd=tmp_path, capture_output=True, text=True,
                              timeout=90, env={"ONEWRITE_CRASH": f"log.mid-snapshot:{passage}"})
        assert done.returncode == -signal.SIGKILL, done.stderr
        for name in names:
            put(name, 20)
        wait_for(lambda: not db.query("SELECT 1 FROM pg_replication_slots WHERE active AND database = current_database()"), "the slot")
    db.query("DELETE FROM events WHERE id IN ('events-3', 'events-200')")
    db.query("VACUUM events")
    db.query("INSERT INTO events VALUES ('in-its-place', 'order', 'k', 'T', '{}')")
    run("run", "--until-end", "onewrite.yaml", timeout=120)
    if kafka:
        got = [record["id"] for record in kafka.records(topic)]
    else:
        got = [record["id"] for record in records_of(run("tail", "journal:bus.db", "--topic", topic, "--from", "beginning", "--until-end",
                                                         "-o", "jsonl").stdout)]
    assert len(got) == len(set(got)), "something is there twice"
    wanted = {f"{name}-{n}" for name in names for n in range(1, counts[name] + 1)} | {"in-its-place"}
    assert wanted - set(got) <= {"events-3", "events-200"} and set(got) <= wanted
    for name in names:
        for key in range(5):
            of_key = [int(i.split("-")[1]) for i in got if i.startswith(name) and int(i.split("-")[1]) % 5 == key]
            assert of_key == sorted(of_key), name


CONFIG = """\
version: 1
stores: {{ shop: "{url}" }}
brokers: {{ bus: journal:bus.db }}
relays:
  - name: shop
    from: {{ store: shop, outbox: [onewrite.outbox, public.events] }}
    to: {{ broker: bus, topic: all }}
    window: {{ messages: 50 }}
"""


def dies_again_and_again(database, run, tmp_path):
    """Twice in one table, then in the other; rows come between, some of them in the place of others that were published."""
    database.query("CREATE TABLE events (id text, aggregatetype text, aggregateid text, type text, payload text)")
    columns, count = "id, aggregatetype, aggregateid, type, payload", 0
    (tmp_path / "onewrite.yaml").write_text(CONFIG.format(url=database.url))
    for label in ("log.mid-snapshot:60", "log.mid-snapshot:30", "log.mid-snapshot:360", "log.mid-snapshot:210", None):
        for table in ("onewrite.outbox", "events"):
            for part in range(4):  # in transactions of their own
                database.query(f"INSERT INTO {table} ({columns}) SELECT '{table}-' || n, 'order', 'k', 'T', '{{}}' "
                               "FROM generate_series(%s, %s) n", count + 25 * part + 1, count + 25 * part + 25)
        count += 100
        run("run", "--until-end", "onewrite.yaml", status=-signal.SIGKILL if label else 0, env={"ONEWRITE_CRASH": label} if label else None)
        wait_for(lambda: not database.query("SELECT 1 FROM pg_replication_slots WHERE active"), "the slot to be left")
        if label == "log.mid-snapshot:360":
            database.query("DELETE FROM events WHERE ctid < '(0,21)'")
            database.query("VACUUM events")
            database.query(f"INSERT INTO events ({columns}) SELECT 'later-' || n, 'order', 'later', 'T', '{{}}' FROM generate_series(1, 20) n")
            assert database.one("SELECT min(ctid) FROM events WHERE id LIKE 'later%%'") == "(0,1)"
    got = records_of(run("tail", "journal:bus.db", "--topic", "all", "--from", "beginning", "--until-end", "-o", "jsonl").stdout)
    for name, last in (("onewrite.outbox", count), ("events", count), ("later", 20)):
        assert [int(record["id"].split("-")[1]) for record in got if record["id"].startswith(name)] == list(range(1, last + 1)), name
    assert database.one("SELECT count(*) FROM onewrite.outbox") == 0


@pytest.mark.parametrize("version", RELEASES if IS_LONG else (10, 18))
def test_every_version(version, run, tmp_path):
    server = new_server(version)
    try:
        query(server.connect(), "CREATE DATABASE shop")
        database = Database(server, "shop")
        run("init", database.url)
        dies_again_and_again(database, run, tmp_path)
    finally:
        server.remove()


def test_numbers_of_transactions_come_round(own_server, run, tmp_path):
    """A row has the lower half of the number of its transaction: some rows stand before the turn, some behind it."""
    query(own_server.connect(), "UPDATE pg_database SET datallowconn = true")
    own_server.run("vacuumdb", "-h", "127.0.0.1", "-p", own_server.port, "-U", "postgres", "--all", "--freeze")
    own_server.stop("fast")
    pages = own_server.data / "pg_xact"
    own_server.run("pg_resetwal", "-D", own_server.data, "-e", 3, "-x", 2**32 - 60)
    segment = pages / f"{(2**32 - 60) // (32 * 8192 * 4):04X}"
    segment.write_bytes(bytes(256 * 1024))
    shutil.chown(segment, pages.owner(), pages.group())
    own_server.start()
    query(own_server.connect(), "CREATE DATABASE shop")
    database = Database(own_server, "shop")
    run("init", database.url)
    before = database.one("SELECT txid_current()")
    assert before < 4 << 32
    dies_again_and_again(database, run, tmp_path)
    assert database.one("SELECT txid_current()") > 4 << 32, "it has not come round"


@pytest.mark.server(wal_sender_timeout="2s")
@pytest.mark.parametrize("name", BOTH)
def test_a_relay_that_is_stopped_in_the_snapshot(name, request, own_server, tmp_path, is_long):
    """Another one takes over, also while nothing has ended; the first, resumed, stands by and spoils nothing."""
    query(own_server.connect(), "CREATE DATABASE shop")
    way = way_on(request, name, Database(own_server, "shop"), tmp_path)
    way.window = 20
    place(way, 70000 if is_long else 28000)
    relays = [way.relay()]
    rounds = 3 if is_long else 2
    for n in range(rounds):
        way.works_on(more=200)
        relays[n].send_signal(signal.SIGSTOP)
        assert mark(way).startswith("begun")
        reader = way.slot()[1]
        assert reader
        relays.append(way.relay())
        wait_for(lambda reader=reader: way.slot() and way.slot()[1] not in (None, reader), f"another to take over: {way.said()[-1500:]}", 60)
        if n == rounds - 1:
            way.works_on(more=200)
            for relay in relays[:-1]:
                relay.send_signal(signal.SIGCONT)
    way.works_on(more=200)
    for relay in relays[:-1]:
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(30) == 0, way.said()[-3000:]
    verdict = way.finish(relays[-1], duplicates=2 * rounds * way.window)
    assert mark(way).startswith("done")
    tell(way=way.name, rounds=rounds, committed=len(way.shop.truth()), duplicates=verdict.duplicates)
