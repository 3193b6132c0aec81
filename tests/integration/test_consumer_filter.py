# SPDX-License-Identifier: Apache-2.0
"""inbox.filter: a real Redis in front of the inbox saves work and decides nothing, whatever it says, and is done without when it
is away, slow or talks nonsense."""

import contextlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest
from conftest import wait_for
from ports import free_port
from postgres import pg_database, pg_server  # noqa: F401 (fixtures)

FILL = "INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) VALUES (?, 'order', ?, 'Placed', ?)"
CONFIG = """version: 1
stores: {{ pay: "{pay}" }}
brokers: {{ bus: "journal:bus.db" }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: outbox.event.order }}
    inbox: {{ store: pay, retention: 0, filter: "{filter}"{more} }}
    handler: {{ sql: "insert into paid (number, key, id) values (${{!payload}}, ${{!key}}, ${{!id}})" }}
    retry: {{ initial: 20ms, max: 50ms, max_attempts: 3 }}
"""


class Redis:
    def __init__(self, folder, *options):
        self.folder, self.options, self.port = folder, options, free_port()
        folder.mkdir(exist_ok=True)
        self.start()

    def start(self):
        self.process = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
                                         "--appendonly", "no", *self.options], stdout=subprocess.DEVNULL)
        wait_for(self.is_up, "redis-server to listen")

    def is_up(self):
        with contextlib.suppress(OSError):
            return self.ask("PING")
        return False

    def ask(self, *words):
        """The answer as it stands on the wire."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in map(str.encode, words)))
            return connection.recv(1 << 16).decode()

    def calls(self, command):
        found = re.search(rf"cmdstat_{command}:calls=(\d+)", self.ask("INFO", "commandstats"))
        return int(found.group(1)) if found else 0

    def stop(self):
        self.process.kill()
        self.process.wait()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


@pytest.fixture
def redis(tmp_path):
    if not shutil.which("redis-server"):
        pytest.skip("Redis is not installed (package redis-server)")
    made = Redis(tmp_path / "redis")
    yield made
    made.stop()


class Sqlite:
    def __init__(self, path):
        self.url, self.inbox = "sqlite:pay.db", "onewrite_inbox"
        self.db = sqlite3.connect(path / "pay.db", timeout=30, isolation_level=None)

    def query(self, sql):
        return self.db.execute(sql).fetchall()

    @contextlib.contextmanager
    def not_to_be_written(self):
        self.db.execute("BEGIN IMMEDIATE")
        yield
        self.db.execute("ROLLBACK")


class Postgres:
    def __init__(self, database):
        self.url, self.inbox, self.database = database.url, "onewrite.inbox", database

    def query(self, sql):
        return self.database.query(sql)

    @contextlib.contextmanager
    def not_to_be_written(self):
        connection = self.database.connect()
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE onewrite.inbox IN EXCLUSIVE MODE")
        yield
        connection.close()


@pytest.fixture(params=["sqlite", "postgres"])
def pay(request, run, tmp_path):
    database = request.getfixturevalue("pg_database") if request.param == "postgres" else None
    run("init", database.url if database else "sqlite:pay.db")
    pay = Postgres(database) if database else Sqlite(tmp_path)
    pay.query("CREATE TABLE paid (number INTEGER, key TEXT, id TEXT)")
    return pay


@pytest.fixture
def shop(run, tmp_path):
    run("init", "sqlite:shop.db")

    class Shop:
        db = sqlite3.connect(tmp_path / "shop.db", timeout=30, isolation_level=None)

        def publish(self, numbers):
            self.db.execute("BEGIN IMMEDIATE")
            self.db.executemany(FILL, [(f"order-{i}", f"k{i % 7}", str(i)) for i in numbers])
            self.db.execute("COMMIT")
            run("relay", "--until-end", "sqlite:shop.db", "journal:bus.db?partitions=4")

        def configure(self, pay, filter, more="", status=0):
            (tmp_path / "c.yaml").write_text(CONFIG.format(pay=pay.url, filter=filter, more=more))
            return run("validate", "c.yaml", status=status)

        def consume(self, **options):
            return run("run", "--until-end", "c.yaml", **options)

    return Shop()


def numbers(pay):
    return sorted(number for number, in pay.query("SELECT number FROM paid"))


def test_effects_once_behind_it(shop, pay, redis):
    shop.publish(range(200))
    shop.publish(random.Random(1).choices(range(200), k=400))
    shop.configure(pay, redis.url + "/3")
    done = shop.consume()
    assert "handled=200 repeated=400" in done.stderr and "filter" not in done.stderr
    assert numbers(pay) == list(range(200))
    assert redis.ask("SELECT", "3") == "+OK\r\n" and "db3:keys=200,expires=200" in redis.ask("INFO", "keyspace")


def test_what_it_saves(shop, pay, redis, start):
    """Repeats that it knows are done with while nobody can write to the inbox; without it they wait for that."""
    shop.publish(range(50))
    shop.configure(pay, redis.url)
    shop.consume()
    shop.publish(range(50))
    with pay.not_to_be_written():
        assert "handled=0 repeated=50" in shop.consume(timeout=60).stderr
    shop.publish(range(50))
    redis.ask("FLUSHALL")
    process = start("run", "--until-end", "c.yaml")
    with pay.not_to_be_written():
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "repeated=50" in errors and numbers(pay) == list(range(50))


def test_what_it_says_is_not_believed(shop, pay, redis):
    """It knows messages that were never handled, and the database is put back to an earlier state: no effect is missing."""
    for i in range(0, 100, 2):
        redis.ask("SET", f"onewrite:billing:order-{i}", "1")
    shop.publish(range(100))
    shop.configure(pay, redis.url)
    assert "handled=100 repeated=0" in shop.consume().stderr
    pay.query(f"DELETE FROM {pay.inbox}")
    pay.query("DELETE FROM paid")
    shop.publish(range(100))
    assert "handled=100 repeated=0" in shop.consume().stderr
    redis.ask("FLUSHALL")
    shop.publish(range(100))
    assert "handled=0 repeated=100" in shop.consume().stderr
    assert numbers(pay) == list(range(100))


def test_replayed_behind_it(shop, pay, redis, run, tmp_path):
    """A letter that is replayed, and what is parked behind it, pass the filter: it knows them, and they are new. Killed before the
    commit counts, each of them is still replayed once."""
    shop.publish(range(50))
    shop.configure(pay, redis.url)
    text = (tmp_path / "c.yaml").read_text()
    (tmp_path / "c.yaml").write_text(text + "    dead_letter: { store: pay }\n")
    pay.query("ALTER TABLE paid RENAME TO was_paid")
    pay.query("CREATE TABLE paid (number INTEGER CHECK (number <> 3), key TEXT, id TEXT)")
    letters = pay.inbox.replace("inbox", "dead_letter")
    assert "handled=43 " in shop.consume().stderr, "3, and the six behind it of its key"
    pay.query("DROP TABLE paid")
    pay.query("ALTER TABLE was_paid RENAME TO paid")
    run("dlq", "replay", "--config", "c.yaml", "--consumer", "billing", "--all")
    killed = shop.consume(status=None, env={"ONEWRITE_CRASH": "consumer.before-commit:1"})
    assert killed.returncode == -signal.SIGKILL
    # In SQLite the letters are held for the one that was killed for 10 s.
    wait_for(lambda: shop.consume() and not pay.query(f"SELECT 1 FROM {letters}"), "all to be replayed", 60)
    assert pay.query(f"SELECT 1 FROM {letters}") == [] and numbers(pay) == [3, 10, 17, 24, 31, 38, 45]


def test_killed_at_random(shop, pay, redis, start, run, is_long):
    dice = random.Random(3)
    shop.configure(pay, redis.url)
    published = 0
    for kill in range(60 if is_long else 8):
        shop.publish(list(range(published, published + 40)) + dice.choices(range(published + 40), k=20))
        published += 40
        if kill % 4 == 3:
            redis.ask("FLUSHALL")
        process = start("run", "c.yaml")
        time.sleep(dice.random() * 0.4)  # the moment is what is random here
        process.kill()
        process.wait()
    shop.consume()
    assert numbers(pay) == list(range(published))


def test_with_a_password(shop, pay, redis, tmp_path):
    redis.ask("CONFIG", "SET", "requirepass", "s3c:r@t")
    shop.publish(range(10))
    shop.configure(pay, f"redis://:s3c%3Ar%40t@127.0.0.1:{redis.port}/1")
    assert "filter" not in shop.consume().stderr
    shop.publish(range(10, 20))
    shop.configure(pay, f"redis://default:s3c%3Ar@t@127.0.0.1:{redis.port}/1")
    assert "filter" not in shop.consume().stderr
    shop.publish(range(20, 30))
    shop.configure(pay, f"redis://:wrong@127.0.0.1:{redis.port}")
    done = shop.consume()
    assert done.stderr.count("the filter is left out") == 1 and "invalid" in done.stderr and "wrong@" not in done.stderr
    assert numbers(pay) == list(range(30))


def test_it_comes_and_goes(shop, pay, redis, start):
    """Told once when it goes and once when it is back; a connection that it has closed for being idle is not told of."""
    shop.configure(pay, redis.url)
    process = start("run", "--wait", "1m", "c.yaml")
    published = 0

    def handle_more():
        nonlocal published
        shop.publish(range(published, published + 10))
        published += 10
        wait_for(lambda: len(numbers(pay)) == published, "these to be handled", 60)

    handle_more()
    assert redis.calls("set") == 10
    redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    handle_more()
    assert redis.calls("set") == 20
    redis.stop()
    for _ in range(3):
        handle_more()
    redis.start()
    wait_for(lambda: handle_more() or redis.calls("set") > 0, "it to be used again", 60)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and numbers(pay) == list(range(published))
    assert errors.count("the filter is left out") == 1 and errors.count("the filter works again") == 1, errors


class Impostor(threading.Thread):
    """Listens in the place of Redis and answers to what it reads with what it was made with; None: never."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.answer, self.server, self.connections = answer, socket.create_server(("127.0.0.1", 0)), []
        self.url = f"redis://127.0.0.1:{self.server.getsockname()[1]}"
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self.connections.append(connection)
                threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        with contextlib.suppress(OSError):
            while connection.recv(1 << 16):
                if callable(self.answer):
                    self.answer(connection)
                elif self.answer is not None:
                    connection.sendall(self.answer)

    def stop(self):
        self.server.close()
        for connection in self.connections:
            connection.close()


def drip(connection):
    """A byte now and then, and never the end of an answer."""
    for byte in b"$5000000\r\n" + b"x" * 10000:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def flood(connection):
    while True:
        connection.sendall(b"$400000000\r\n" + b"x" * (1 << 20))


def hang_up(connection):
    connection.close()


@pytest.mark.parametrize("answer, said", [
    (None, "no answer within 100 ms"),
    (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "not the protocol of Redis"),
    (b"*3\r\n*2000000000\r\n", "(not Redis's|no answer|not the protocol)"),
    (b"-LOADING Redis is loading the dataset in memory\r\n" * 100, "LOADING Redis is loading"),
    (b"-\x1b[31m\xff\xfe oops\r\n" * 100, r" \[31m\?\? oops"),
    (b":1\r\n" * 100, "not Redis's"),
    (b"+QUEUED\r\n" * 100, "not Redis's"),
    (b"$-1\r\n" * 3, "no answer within 100 ms"),
    (drip, "no answer within 100 ms"),
    (flood, "it says too much"),
    (hang_up, "(hung up|reset)"),
], ids=["silent", "http", "array", "error", "bytes", "integer", "status", "too few", "drip", "flood", "hangs up"])
def test_what_talks_nonsense_is_done_without(shop, run, tmp_path, answer, said):
    run("init", "sqlite:pay.db")
    pay = Sqlite(tmp_path)
    pay.query("CREATE TABLE paid (number INTEGER, key TEXT, id TEXT)")
    impostor = Impostor(answer)
    shop.publish(range(100))
    shop.configure(pay, impostor.url)
    done = shop.consume()
    impostor.stop()
    assert "handled=100 repeated=0" in done.stderr and numbers(pay) == list(range(100))
    line, = [line for line in done.stderr.splitlines() if "the filter is left out" in line]
    assert re.search(said, line) and line.isprintable() and impostor.url in line, line


def test_what_is_wrong_is_said(shop, run, tmp_path):
    pay = type("Pay", (), {"url": "sqlite:pay.db"})
    for wrong in ("redis:127.0.0.1", "redis://", "redis://h:x", "redis://h:70000", "redis://h/db", "redis://user@h", "redis://:%zz@h", "http://h",
                  "redis://:%00@h", "redis://:%4@h", "redis://[::1", "redis://h:1/1/2", "redis://a b"):
        said = shop.configure(pay, wrong, status=78).stderr
        assert re.search(r"c.yaml:7:\d+: consumers\[0\].inbox.filter: not a URL of Redis; write redis://", said), (wrong, said)
    assert "TLS" in shop.configure(pay, "rediss://h", status=78).stderr
    for good in ("redis://h", "redis://h:1", "redis://[::1]:6379/15", "redis://:p%2Fw@h", "redis://u:p@h/0"):
        shop.configure(pay, good)
    text = (tmp_path / "c.yaml").read_text()
    (tmp_path / "http.yaml").write_text(re.sub("handler: .*", "handler: { http: { url: http://localhost } }", text))
    assert "saves nothing here" in run("validate", "http.yaml", status=78).stderr
    (tmp_path / "none.yaml").write_text(text.replace("store: pay, ", ""))
    assert "stands in front of an inbox" in run("validate", "none.yaml", status=78).stderr


def test_without_a_server(shop, pay):
    shop.publish(range(20))
    shop.configure(pay, f"redis://127.0.0.1:{free_port()}", more=", filter_timeout: 50ms, filter_expire: 10m")
    done = shop.consume()
    assert done.stderr.count("the filter is left out") == 1 and "refused" in done.stderr and "handled=20" in done.stderr
