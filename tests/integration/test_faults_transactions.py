# SPDX-License-Identifier: Apache-2.0
"""From PostgreSQL to Kafka, what transactions do: many rows at one LSN, long and late ones, savepoints, changes of the
table, very large ones, and a long backlog.

`./dev test --long` runs the long forms: 1,000 late commits, one transaction of 1 GiB, a backlog of 10,000,000.
"""

import random
import time

import pytest
from confluent_kafka import Consumer, TopicPartition
from conftest import wait_for
from faults import SOME_WAYS, WAYS, background, kill, resident_kib, tell, way  # noqa: F401 (fixtures)
from kafka import *  # noqa: F403 (fixtures)
from postgres import pg_database, pg_server, query  # noqa: F401 (fixtures)
from test_postgres_kafka import crash_at


@pytest.fixture
def streams_early(pg_server):
    """Transactions are sent while they are in progress from 64 kB on."""
    admin = pg_server.connect()
    query(admin, "ALTER SYSTEM SET logical_decoding_work_mem = '64kB'")
    query(admin, "SELECT pg_reload_conf()")
    yield
    query(admin, "ALTER SYSTEM RESET logical_decoding_work_mem")
    query(admin, "SELECT pg_reload_conf()")
    admin.close()


@pytest.mark.parametrize("way", SOME_WAYS, indirect=True)
def test_a_crash_after_each_of_many_rows_at_one_lsn(way, onewrite, is_long):
    """An insert of many rows, and COPY. Each message goes alone, and the relay dies when the k-th was accepted."""
    way.window = 1
    way.once()
    crashes = range(1, 13) if is_long else (1, 2, 7, 12)
    for k in crashes:
        if k % 2 == 0 and not way.is_message:
            copy(way, 12)
        else:
            way.place_bulk(messages=12, size=1)
        crash_at(way, onewrite, "kafka.after-commit" if way.is_exactly else "relay.after-accept", k)
    wait_for(way.is_left, "the slot to be left")
    way.once()
    verdict = way.must_hold(duplicates=len(crashes))
    tell(crashes=len(crashes), duplicates=verdict.duplicates)


def copy(way, rows):
    import io
    first = way.shop.db.cursor()
    first.execute("SELECT coalesce(max(number), 0) FROM orders WHERE customer = 'bulk'")
    start = first.fetchone()[0]
    numbers = range(start + 1, start + rows + 1)
    query(way.shop.db, "BEGIN")
    first.copy_expert("COPY orders FROM STDIN", io.StringIO("".join(f"bulk-{n}\tbulk\t{n}\n" for n in numbers)))
    first.copy_expert("COPY onewrite.outbox (id, aggregatetype, aggregateid, type, payload) FROM STDIN",
                      io.StringIO("".join(f"bulk-{n}\torder\tbulk\tOrderPlaced\t{n}\n" for n in numbers)))
    query(way.shop.db, "COMMIT")


class Session:
    """One connection with a key of its own; its transactions stay open for long, and do all that they may."""

    def __init__(self, way, number, dice):
        self.way, self.key, self.dice = way, f"session-{number}", dice
        self.db = way.database.connect()
        self.number, self.open, self.savepoints = 0, False, []  # savepoints: the number to go back to

    def put(self, count, size):
        for _ in range(count):
            self.number += 1
            identity = f"{self.key}-{self.number}-{self.dice.randrange(1 << 30)}"
            query(self.db, "INSERT INTO orders VALUES (%s, %s, %s)", identity, self.key, self.number)
            self.way.put(self.db, identity, key=self.key, payload=self.dice.randbytes(size).hex())

    def step(self):
        if not self.open:
            query(self.db, "BEGIN")
            self.began, self.open, self.savepoints = self.number, True, []
            self.put(self.dice.randint(1, 3), 10)
            return None
        what = self.dice.random()
        if what < 0.25:
            self.put(self.dice.randint(1, 3), 10)
        elif what < 0.30:
            self.put(20, 4000)  # large enough to be streamed
        elif what < 0.45:
            query(self.db, f"SAVEPOINT s{len(self.savepoints)}")
            self.savepoints.append(self.number)
            self.put(1, self.dice.choice((10, 10, 30000)))
        elif what < 0.55 and self.savepoints:
            self.number = self.savepoints.pop()
            query(self.db, f"ROLLBACK TO SAVEPOINT s{len(self.savepoints)}")
        elif what < 0.60 and self.savepoints:
            self.savepoints.pop()
            query(self.db, f"RELEASE SAVEPOINT s{len(self.savepoints)}")
        elif what < 0.70:
            query(self.db, "ROLLBACK")
            self.open, self.number = False, self.began
        else:
            query(self.db, "COMMIT")
            self.open = False
            return True
        return None


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_long_and_late_transactions(way, is_long, streams_early, onewrite_release):
    """Sessions that are open at the same time, so that most commit late: a later one has written, and committed, before.
    Some are rolled back, in part or as a whole, also after they were streamed. The relay is killed again and again."""
    way.once()
    dice, late, commits, kills = random.Random(5), 0, 0, 0
    sessions = [Session(way, n, dice) for n in range(6)]
    relay, due = background(onewrite_release, way), time.monotonic() + 0.8
    wanted = 1000 if is_long else 40
    while late < wanted:
        session = dice.choice(sessions)
        others = any(other.open for other in sessions if other is not session)
        if session.step():
            commits += 1
            late += others  # one that is still open has rows of before
        if time.monotonic() > due:
            kill(relay)
            kills += 1
            relay, due = background(onewrite_release, way), time.monotonic() + 0.4 + dice.random()
    kill(relay)
    for session in sessions:
        if session.open:
            query(session.db, "COMMIT")
    wait_for(way.is_left, "the slot to be left")
    way.once()
    verdict = way.must_hold(duplicates=(kills + 1) * way.window)
    tell(commits=commits, late=late, kills=kills, committed=len(way.shop.truth()), duplicates=verdict.duplicates)


CHANGES = ["ALTER TABLE onewrite.outbox ADD COLUMN note text", "ALTER TABLE onewrite.outbox ALTER COLUMN note SET DEFAULT 'x'",
           "ALTER TABLE onewrite.outbox RENAME COLUMN note TO remark", "ALTER TABLE onewrite.outbox ADD COLUMN more int NOT NULL DEFAULT 7",
           "ALTER TABLE onewrite.outbox DROP COLUMN remark", "ALTER TABLE onewrite.outbox ALTER COLUMN aggregateid TYPE varchar(300)",
           "ALTER TABLE onewrite.outbox ALTER COLUMN more TYPE bigint", "ALTER TABLE onewrite.outbox ALTER COLUMN payload TYPE varchar",
           "ALTER TABLE onewrite.outbox DROP COLUMN more"]


@pytest.mark.parametrize("way", ["log", "log-exactly", "polling"], indirect=True)
def test_the_table_changes_under_way(way):
    """While a writer writes and the relay works, with a kill between the changes."""
    way.once()
    relay, writer = way.relay(), way.writer()
    for n, change in enumerate(CHANGES):
        way.works_on(more=5)
        way.database.query("SET lock_timeout = '20s'")
        way.database.query(change)
        if n % 3 == 1:
            kill(relay)
            relay = way.relay()
    way.works_on(more=5)
    writer.stop()
    verdict = way.finish(relay, duplicates=3 * way.window)
    tell(changes=len(CHANGES), committed=len(way.shop.truth()), duplicates=verdict.duplicates)


# --- much -----------------------------------------------------------------------------------------------


def count_in_order(way, key="large"):
    """How many records there are, each once and in order; their values are numbers, in one partition."""
    consumer = Consumer({"bootstrap.servers": way.kafka.bootstrap, "group.id": "reader", "isolation.level": "read_committed", "fetch.wait.max.ms": 5,
                         "enable.partition.eof": True, "fetch.max.bytes": 8 << 20, "queued.max.messages.kbytes": 32768})
    consumer.assign([TopicPartition(way.topic, partition, 0) for partition in range(3)])
    expected, ended, due = {}, 0, time.monotonic() + 30
    while ended < 3:
        batch = consumer.consume(1000, 0.2)
        due = time.monotonic() + 30 if batch else due
        assert time.monotonic() < due, f"nothing comes from {way.topic}"
        for message in batch:
            if message.error():
                ended += 1
                continue
            identity = dict(message.headers())["id"].decode()
            name, number = identity.split("-")
            assert int(number) == expected.get(name, 0) + 1, (identity, expected.get(name))
            expected[name] = int(number)
    consumer.close()
    return sum(expected.values())


def place_generated(way, count, payload, name="large"):
    """One statement, one transaction: ids are NAME-1, NAME-2 …"""
    if way.is_message:
        query(way.shop.db, f"SELECT count(onewrite.publish('order', '{name}', 'T', {payload}, id => '{name}-' || n)) FROM generate_series(1, {count}) n")
    else:
        query(way.shop.db, "INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
                           f"SELECT '{name}-' || n, 'order', '{name}', 'T', {payload} FROM generate_series(1, {count}) n")


def follow(relay):
    """Waits for its end; gives the most memory that it had, in KiB."""
    most = 0
    while relay.poll() is None:
        most = max(most, resident_kib(relay) or 0)
        time.sleep(0.05)
    return most


@pytest.mark.parametrize("way", SOME_WAYS, indirect=True)
def test_one_large_transaction(way, is_long):
    """Resident memory does not grow with it: 64 MiB come through in less memory than they are."""
    mebibytes = 1024 if is_long else 64
    way.window = 10000
    way.once()
    place_generated(way, mebibytes * 64, "repeat(md5(n::text), 512)")  # 16 KiB each
    started = time.monotonic()
    relay = way.relay("--until-end")
    resident = follow(relay)
    seconds = time.monotonic() - started
    assert relay.returncode == 0, way.said()[-2000:]
    assert count_in_order(way) == mebibytes * 64 and way.shop.dead_letters() == []
    tell(mebibytes=mebibytes, resident_kib=resident, seconds=round(seconds, 1))
    assert resident <= (128 if is_long else 60) * 1024, f"{resident} KiB"


@pytest.mark.parametrize("way", ["log", "polling"], indirect=True)
def test_a_long_backlog(way, is_long):
    """All arrive once, in order, and memory does not grow with their number."""
    batches, size = (100, 100000) if is_long else (10, 3000)
    way.window = 10000
    way.once()
    for n in range(batches):
        place_generated(way, size, "'{}'", name=f"b{n}")
    started = time.monotonic()
    relay = way.relay("--until-end")
    resident = follow(relay)
    seconds = time.monotonic() - started
    assert relay.returncode == 0, way.said()[-2000:]
    assert count_in_order(way) == batches * size and way.shop.dead_letters() == []
    tell(messages=batches * size, resident_kib=resident, seconds=round(seconds, 1))
    assert resident <= 64 * 1024, f"{resident} KiB"
