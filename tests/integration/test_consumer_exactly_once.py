# SPDX-License-Identifier: Apache-2.0
"""examples/exactly-once as it stands: PostgreSQL, relay, Kafka, consumers, PostgreSQL, every process of it killed at random;
the sum of effects equals the sum of commits.

`--long` kills more often.
"""

import contextlib
import pathlib
import random
import signal
import threading
import time

import psycopg2
import pytest
from conftest import wait_for
from kafka import *  # noqa: F403 (fixtures)
from postgres import Database, new_server, query

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "exactly-once"


@pytest.fixture
def servers():
    """The shop's and the books'."""
    made = [new_server() for _ in range(2)]
    yield made
    for server in made:
        server.remove()


class Seller(threading.Thread):
    """Sells until it is stopped; a tenth is rolled back. A commit that was not answered happened or did not."""

    def __init__(self, database, seed):
        super().__init__(daemon=True)
        self.database, self.dice, self.stopped = database, random.Random(seed), threading.Event()
        self.start()

    def run(self):
        connection = None
        while not self.stopped.is_set():
            try:
                connection = connection or self.database.connect()
                query(connection, "BEGIN")
                for _ in range(self.dice.randint(1, 5)):
                    query(connection, "SELECT sell(%s, %s)", f"account-{self.dice.randrange(20)}", self.dice.randint(1, 1000))
                query(connection, "ROLLBACK" if self.dice.random() < 0.1 else "COMMIT")
            except psycopg2.Error:
                with contextlib.suppress(psycopg2.Error):
                    if connection:
                        connection.close()
                connection = None
                self.stopped.wait(0.05)
            self.stopped.wait(self.dice.random() * 0.03)

    def stop(self):
        self.stopped.set()
        self.join()


def totals(database, table):
    return dict(database.query(f"SELECT account, sum(cents)::bigint FROM {table} GROUP BY 1"))


def test_the_sum_of_effects_is_the_sum_of_commits(run, start, servers, kafka, is_long, onewrite_release, tmp_path):
    dice, kills = random.Random(11), 60 if is_long else 10
    for server in servers:
        query(server.connect(), "CREATE DATABASE work")
    shop, books = (Database(server, "work") for server in servers)
    for database, script in ((shop, "shop.sql"), (books, "books.sql")):
        run("init", database.url)
        database.query((EXAMPLE / script).read_text())
    environment = {"SHOP": shop.url, "BOOKS": books.url,
                   "KAFKA": f"kafka://{kafka.bootstrap}?session.timeout.ms=6000&heartbeat.interval.ms=500"}
    log = open(tmp_path / "said", "a")

    def member():
        return start("run", "--wait", "60s", EXAMPLE / "onewrite.yaml", program=onewrite_release, env=environment, stdout=log, stderr=log)

    def restart(server, how):
        server.stop(how)
        server.start()

    def kill_kafka():
        kafka.stop(signal.SIGKILL)
        kafka.start()

    run("run", "--until-end", EXAMPLE / "onewrite.yaml", env=environment)
    members = [member() for _ in range(2)]
    sellers = [Seller(shop, seed) for seed in range(2)]
    for kill in range(kills):
        time.sleep(0.3 + dice.random())  # the moment is what is random here
        what = ("member", "shop", "member", "books", "member", "kafka")[kill % 6]
        if what == "member":
            victim = dice.randrange(len(members))
            assert members[victim].poll() is None, (tmp_path / "said").read_text()[-3000:]
            members[victim].send_signal(dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
            members[victim].wait(60)
            members[victim] = member()
        elif what == "kafka":
            kill_kafka()
        else:
            restart(servers[what == "books"], "immediate")
    for seller in sellers:
        seller.stop()
    shop.reconnect()
    books.reconnect()
    assert not [process.returncode for process in members if process.poll() is not None], (tmp_path / "said").read_text()[-3000:]
    sold = totals(shop, "sale")
    assert sum(sold.values()) > 0 and shop.one("SELECT count(*) FROM sale") > 20 * kills
    wait_for(lambda: books.one("SELECT count(*) FROM entry") >= shop.one("SELECT count(*) FROM sale"), "all to be booked", 120)
    for process in members:
        process.terminate()
    for process in members:
        assert process.wait(60) == 0, (tmp_path / "said").read_text()[-3000:]
    run("run", "--until-end", EXAMPLE / "onewrite.yaml", env=environment, timeout=120)
    assert totals(books, "entry") == totals(books, "balance") == sold
    assert shop.query("SELECT id FROM sale ORDER BY id") == books.query("SELECT sale FROM entry ORDER BY sale")
    assert books.query("SELECT * FROM onewrite.dead_letter") == []
    for database in (shop, books):
        database.db.close()
