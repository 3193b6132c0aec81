# SPDX-License-Identifier: Apache-2.0
"""What the tests of faults between PostgreSQL and Kafka share: the ways to relay, and a shop for each.

    @pytest.mark.parametrize("way", WAYS, indirect=True)
    def test_x(way): ...

A way has a database of its own that was prepared for it and a topic of its own; `way.verdict()` compares what committed
with what a reader of committed records sees.
"""

import dataclasses
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import wait_for
from oracle import compare
from postgres import Database, PgShop, PgWriter, new_server, query

WINDOW = 50
# name -> by, whether exactly once
WAYS = {"log": ("log", False), "log-exactly": ("log", True), "message": ("message", False),
        "message-exactly": ("message", True), "polling": ("polling", False)}
IS_LONG = os.environ.get("LONG") == "1"
# Where one is much like another: all of them with --long.
SOME_WAYS = list(WAYS) if IS_LONG else ["log-exactly", "message", "polling"]
SOME_BY_LOG = [name for name in SOME_WAYS if name != "polling"]


@dataclasses.dataclass
class Way:
    name: str
    database: Database
    kafka: object
    topic: str
    run: object
    start: object
    folder: pathlib.Path
    release: pathlib.Path
    window: int = WINDOW

    def __post_init__(self):
        self.by, self.is_exactly = WAYS[self.name]
        self.is_message = self.by == "message"
        self.pg_url, self.kafka_url = self.database.url, f"kafka://{self.kafka.bootstrap}"
        self.run("init", *(("--outbox", "message") if self.is_message else ()), self.database.url)
        self.shop = PgShop(self.database, publish=self.is_message, writer="s")

    def command(self, *more):
        exactly = ("--exactly-once",) if self.is_exactly else ()
        return ("relay", "--by", self.by, *exactly, "--window-messages", self.window, "--topic", self.topic, *more, self.pg_url,
                self.kafka_url)

    def once(self, *more, **options):
        """Until the end of what was committed before."""
        return self.run(*self.command("--until-end", *more), **{"timeout": 120, **options})

    def relay(self, *more, **options):
        """In the background, the release program; what it says goes to a file."""
        log = open(self.folder / "said", "a")
        return self.start(*self.command(*more), **{"program": self.release, "stderr": log, "stdout": log, **options})

    def said(self):
        path = self.folder / "said"
        return path.read_text() if path.exists() else ""

    def writer(self, seed=1, **options):
        return PgWriter(self.database, random.Random(seed), publish=self.is_message, **{"pause_s": 0.01, **options})

    def put(self, connection, *identities, key="k", payload="{}"):
        """One statement for each."""
        for identity in identities:
            query(connection, "SELECT onewrite.publish('order', %s, 'OrderPlaced', %s, id => %s)", key, payload, identity)

    def place_large(self, messages, size=10000):
        """One transaction, of messages that do not become small when they are compressed."""
        shop = self.shop
        query(shop.db, "BEGIN")
        for customer in (f"customer-{i % shop.customers}" for i in range(messages)):
            shop.count += 1
            identity = f"large-{shop.writer}-{shop.count}"
            query(shop.db, "WITH c AS (UPDATE customers SET orders = orders + 1 WHERE name = %s RETURNING orders) "
                           "INSERT INTO orders SELECT %s, %s, orders FROM c", customer, identity, customer)
            self.put(shop.db, identity, key=customer, payload=random.Random(identity).randbytes(size // 2).hex())
        query(shop.db, "COMMIT")

    def place_bulk(self, messages, size, customer="bulk"):
        """In transactions of 500, with little work for this side."""
        put = ("onewrite.publish('order', customer, 'OrderPlaced', %s || number, id => id)" if self.is_message else "1")
        insert = ("" if self.is_message else
                  "INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
                  "SELECT id, 'order', customer, 'OrderPlaced', %s || number FROM o ORDER BY number")
        first = query(self.shop.db, "SELECT coalesce(max(number), 0) FROM orders WHERE customer = %s", customer)[0][0]
        for start in range(first + 1, first + messages + 1, 500):
            rows = "SELECT %s || '-' || n, %s, n FROM generate_series(%s, %s) n"
            with_orders = f"WITH o AS (INSERT INTO orders {rows} RETURNING *) "
            sql = with_orders + (f"SELECT count({put}) FROM (SELECT * FROM o ORDER BY number) s" if self.is_message else insert)
            query(self.shop.db, sql, customer, customer, start, min(start + 499, first + messages), "x" * size)

    def records(self):
        return self.kafka.records(self.topic) if self.topic in self.kafka.topics() else []

    def ids(self):
        return [record["id"] for record in self.records()]

    def count(self):
        """How many records there are, and marks of transactions."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": "counter"})
        try:
            return sum(consumer.get_watermark_offsets(TopicPartition(self.topic, p), 5)[1] for p in range(3))
        except KafkaException:  # it is not there yet, or has no leader yet
            return 0
        finally:
            consumer.close()

    def works_on(self, more=20, seconds=60):
        """Waits until more was published."""
        there = self.count()
        wait_for(lambda: self.count() >= there + more, f"the relay to go on; it said: {self.said()[-1500:]}", seconds)

    def slot(self):
        """(LSN up to which the server was told, PID of the reader or None), or None."""
        rows = self.database.query("SELECT confirmed_flush_lsn - '0/0', active_pid FROM pg_replication_slots WHERE database = %s",
                                   self.database.name)
        return rows[0] if rows else None

    def is_left(self):
        slot = self.slot()
        return slot is None or slot[1] is None

    def verdict(self):
        return compare(self.shop.truth(), self.records())

    def must_hold(self, duplicates=0):
        """No loss, no ghost, order; by default no duplicate either, and exactly once never one."""
        assert self.shop.dead_letters() == []
        verdict = self.verdict()
        assert verdict[:3] == (0, 0, 0), (verdict, self.said()[-3000:])
        assert verdict.duplicates <= (0 if self.is_exactly else duplicates), (verdict, self.said()[-3000:])
        return verdict

    def finish(self, relay, duplicates=0):
        """Ends the relay well, publishes what is left, and compares."""
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(30) == 0, self.said()[-3000:]
        self.once()
        return self.must_hold(duplicates)


def tell(**numbers):
    """What was measured: shown by pytest -s, and kept where FAULTS_REPORT says."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[-1].removesuffix(" (call)")
    line = test + ": " + ", ".join(f"{name} {value}" for name, value in numbers.items())
    print(line, file=sys.stderr)
    if os.environ.get("FAULTS_REPORT"):
        with open(os.environ["FAULTS_REPORT"], "a") as file:
            file.write(line + "\n")


def name_of(request):
    return "".join(c if c.isalnum() or c in "._-" else "." for c in request.node.name)


def way_on(request, name, database, folder, topic=None):
    get = request.getfixturevalue
    return Way(name, database, get("kafka"), topic or name_of(request), get("run"), get("start"), folder,
               get("onewrite_release"))


@pytest.fixture
def way(request, pg_database, tmp_path):
    """On the server that all tests share."""
    return way_on(request, request.param, pg_database, tmp_path)


@pytest.fixture
def own_server(request):
    """A server for this test alone, with the settings of @pytest.mark.server(name=value)."""
    mark = request.node.get_closest_marker("server")
    server = new_server(**(mark.kwargs if mark else {}))
    yield server
    server.remove()


@pytest.fixture
def own_ways(request, own_server, tmp_path):
    """All of them, each in a database of its own, on one server for this test alone: one fault tries all."""
    def make(name):
        database = name.replace("-", "_")
        query(own_server.connect(), f"CREATE DATABASE {database}")
        folder = tmp_path / name
        folder.mkdir()
        return way_on(request, name, Database(own_server, database), folder, f"{name_of(request)}.{name}")
    return [make(name) for name in WAYS]


def resident_kib(process):
    """The most that it ever had; None where it is gone."""
    try:
        for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    except OSError:
        pass
    return None


def ports_of(process):
    """Its local ports."""
    ports = set()
    try:
        inodes = {os.readlink(path).removeprefix("socket:[").removesuffix("]") for path in pathlib.Path(f"/proc/{process.pid}/fd").iterdir()}
        for line in pathlib.Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                ports.add(int(fields[1].split(":")[1], 16))
    except OSError:
        pass
    return ports


def sleep_while(process, seconds):
    """A fault takes its time; the relay has to live through it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, f"the relay ended with {process.returncode}"
        time.sleep(0.05)


def kill(process):
    process.kill()
    return process.wait()


def background(program, way, *more):
    return subprocess.Popen([str(program), *map(str, way.command(*more))], cwd=way.folder, stderr=subprocess.DEVNULL)
