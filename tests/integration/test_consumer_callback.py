# SPDX-License-Identifier: Apache-2.0
"""handler: callback: libonewrite-consumer in a program in C (callback_consumer.c, examples/c/consumer.c), over SQLite and
PostgreSQL: effects once, failures, misuse, kill -9 at random."""

import json
import pathlib
import random
import re
import signal
import sqlite3
import time

import pytest
from conftest import wait_for
from kafka import *  # noqa: F403 (fixtures)
from postgres import pg_database, pg_server, query  # noqa: F401 (fixtures)

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
FILL = "INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload, headers) VALUES (?, 'order', ?, 'Placed', ?, '{\"trace\":\"a1b2\"}')"
CONFIG = """version: 1
stores: {{ pay: "{pay}" }}
brokers: {{ bus: "{bus}" }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: outbox.event.order }}
    inbox: {{ store: pay }}
    handler: callback
    retry: {{ initial: 20ms, max: 50ms, max_attempts: 4 }}
    dead_letter: {{ store: pay{then} }}
    {more}
"""


class Sqlite:
    schema = "onewrite_"

    def __init__(self, path):
        self.url, self.db = "sqlite:pay.db", sqlite3.connect(path / "pay.db", timeout=30, isolation_level=None)

    def query(self, sql):
        return self.db.execute(sql).fetchall()


class Postgres:
    schema = "onewrite."

    def __init__(self, database):
        self.url, self.database = database.url, database

    def query(self, sql):
        return self.database.query(sql)


@pytest.fixture(params=["sqlite", "postgres"])
def pay(request, run, tmp_path):
    """The store of the consumer, with a table of effects."""
    url = "sqlite:pay.db" if request.param == "sqlite" else request.getfixturevalue("pg_database").url
    run("init", url)
    pay = Sqlite(tmp_path) if request.param == "sqlite" else Postgres(request.getfixturevalue("pg_database"))
    pay.query("CREATE TABLE paid (number BIGINT NOT NULL, key TEXT, id TEXT)")
    return pay


@pytest.fixture
def shop(run, tmp_path, onewrite):
    """publish([(id, key, payload), …]) into the journal; consume(…) runs the program."""
    run("init", "sqlite:shop.db")

    class Shop:
        db = sqlite3.connect(tmp_path / "shop.db", timeout=30, isolation_level=None)
        program = pathlib.Path(onewrite).parent / "tests/callback_consumer"

        def publish(self, messages):
            self.db.execute("BEGIN IMMEDIATE")
            self.db.executemany(FILL, messages)
            self.db.execute("COMMIT")
            run("relay", "--until-end", "sqlite:shop.db", "journal:bus.db?partitions=4")

        def configure(self, pay, more="", then="", bus="journal:bus.db"):
            (tmp_path / "c.yaml").write_text(CONFIG.format(pay=pay.url, more=more, then=then, bus=bus))
            run("validate", "c.yaml")

        def consume(self, *arguments, status=0, env=None, input=None):
            return run(*(arguments or ("c.yaml", "billing", "until-end")), status=status, env=env, input=input, program=self.program)

    return Shop()


def effects(pay):
    return pay.query("SELECT number, key, id FROM paid ORDER BY " + ("rowid" if isinstance(pay, Sqlite) else "ctid"))


def letters(pay):
    return pay.query(f"SELECT id, state, class, attempts, reason FROM {pay.schema}dead_letter ORDER BY number")


def counts(text):
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", text.strip().splitlines()[-1])}


def look(count, keys=7):
    return [(f"order-{i}", f"k{i % keys}", f"look {i}") for i in range(count)]


def in_order(rows):
    last = {}
    return all(last.get(key, -1) < number and not last.update({key: number}) for number, key, _ in rows)


def test_effects_once_and_in_order(shop, pay):
    shop.publish(look(300))
    repeats = [message for message in look(300) for _ in range(3)]
    random.Random(1).shuffle(repeats)
    shop.publish(repeats)
    shop.configure(pay)
    done = shop.consume()
    assert sorted(number for number, _, _ in effects(pay)) == list(range(300)) and in_order(effects(pay)), done.stderr
    seen = counts(done.stdout)
    assert (seen["handled"], seen["repeated"], seen["connections"]) == (300, 900, 1)
    assert seen["transactions"] < 300, "messages that come fast share a transaction"
    assert counts(shop.consume().stdout)["handled"] == 0
    assert pay.query(f"SELECT count(*) FROM {pay.schema}inbox WHERE consumer = 'billing' AND state = 'handled'") == [(300,)]


def test_what_it_answers(shop, pay):
    """Each answer ends where it should; the effects are of those that were answered DONE, and of no attempt before."""
    actions = ["twice-failed", "reject", "fail", "bytes", "bad-sql", "ignores", "store", "number", "emit", "emit-fail", "unknown"]
    shop.publish([(f"m-{i}", f"a{i}", f"{action} {i}") for i, action in enumerate(actions)] + [("m-98", "k98", "nothing")] + look(50))
    shop.configure(pay)
    done = shop.consume()
    names = {number: action for number, action in enumerate(actions)}
    booked = [names[number] for number, _, identity in effects(pay) if identity.startswith("m-")]
    in_sqlite = ["ignores"] if isinstance(pay, Sqlite) else []  # where a failed statement leaves the transaction whole
    assert sorted(booked) == sorted(["emit", "store", "twice-failed", "unknown"] + in_sqlite), done.stderr
    assert sorted(number for number, _, identity in effects(pay) if identity.startswith("order-")) == list(range(50))
    found = {identity: (word, attempts, reason) for identity, state, word, attempts, reason in letters(pay)}
    by_action = {names.get(int(identity[2:]), "nothing"): letter for identity, letter in found.items()}
    assert by_action["reject"] == ("gone", 1, "no such order")
    assert by_action["nothing"] == ("bad", 1, "neither action  nor  number")
    assert by_action["fail"] == ("callback", 4, "the callback gave no reason")
    assert by_action["bytes"] == ("?", 1, "the callback gave no reason")
    assert by_action["number"] == ("callback", 4, "the callback answered 17, which is no answer")
    assert by_action["emit-fail"][:2] == ("callback", 4)
    if isinstance(pay, Postgres):
        assert by_action["bad-sql"][:2] == ("23502", 4) and "null value" in by_action["bad-sql"][2]
        assert by_action["ignores"] == ("callback", 4, "a statement failed or the transaction was rolled back, and the callback answered that all is done")
    else:
        assert by_action["bad-sql"][:2] == ("constraint failed", 4)
    assert pay.query(f"SELECT aggregatetype, aggregateid, type FROM {pay.schema}outbox") == [("invoice", str(actions.index("emit")), "Billed")]
    assert counts(done.stdout)["set_aside"] == len(found)
    assert done.stderr.count("told aside") == len(found)


def test_trouble_of_the_store_is_no_attempt(shop, pay):
    shop.publish([("m", "k", "store 1")])
    shop.configure(pay)
    done = shop.consume()
    assert [number for number, _, _ in effects(pay)] == [1] and letters(pay) == []
    assert counts(done.stdout)["retried"] == 0, "five times STORE, with max_attempts: 4"


def test_replayed_in_order(shop, pay, run):
    """A letter and what is parked behind it come back, in the order of their key."""
    shop.publish([("bad", "k1", "reject 0")] + [(f"m{i}", "k1", f"look {i}") for i in range(1, 6)] + [("other", "k2", "look 7")])
    shop.configure(pay)
    shop.consume()
    assert [number for number, _, _ in effects(pay)] == [7]
    assert [state for _, state, _, _, _ in letters(pay)] == ["dead"] + ["parked"] * 5
    new = tuple(letters(pay)[0])[0]
    pay.query(f"UPDATE {pay.schema}dead_letter SET payload = 'unknown 0' WHERE id = '{new}'") if isinstance(pay, Sqlite) else \
        pay.database.query("UPDATE onewrite.dead_letter SET payload = 'unknown 0' WHERE id = 'bad'")
    run("dlq", "replay", "--config", "c.yaml", "--consumer", "billing", "--all")
    replayed = 0
    for _ in range(20):
        replayed += counts(shop.consume().stdout)["replayed"]
        if not letters(pay):
            break
    assert [number for number, _, _ in effects(pay)][1:] == [0, 1, 2, 3, 4, 5] and replayed == 6


@pytest.mark.parametrize("label", ["consumer.before-commit", "consumer.after-commit", "consumer.before-settle"])
def test_killed_in_the_transaction(shop, pay, label):
    shop.publish(look(200))
    shop.configure(pay)
    for n in (1, 2):
        assert shop.consume(status=None, env={"ONEWRITE_CRASH": f"{label}:{n}"}).returncode == -signal.SIGKILL
    shop.consume()
    assert sorted(number for number, _, _ in effects(pay)) == list(range(200)) and in_order(effects(pay))


@pytest.mark.parametrize("action", ["commit", "rollback", "open"])
def test_misuse(shop, pay, action):
    """The transaction is the consumer's. In SQLite a COMMIT does not even happen, a ROLLBACK fails the message alone, and what
    is left running is ended; in PostgreSQL each ends the consumer."""
    shop.publish(look(20, keys=1) + [("m", "k0", f"{action} 99")])
    shop.configure(pay, more="in_flight: 30")
    ends = isinstance(pay, Postgres) or action == "commit"
    done = shop.consume(status=2 if ends else 0)
    if ends:
        assert "consumer billing: message m: the callback has" in done.stderr
        said = {"commit": "COMMIT and ROLLBACK", "rollback": "COMMIT and ROLLBACK", "open": "left the connection busy"}[action]
        assert ("tried to commit" if isinstance(pay, Sqlite) else said) in done.stderr
        assert isinstance(pay, Postgres) or (effects(pay) == [] and pay.query("SELECT * FROM onewrite_inbox") == [])
    else:
        assert len(effects(pay)) == (21 if action == "open" else 20)
        assert [identity for identity, *_ in letters(pay)] == ([] if action == "open" else ["m"])


def test_stopped_and_run_again(shop, pay, start, tmp_path):
    """stop() from within, from a signal; each time it ends with 0 and what was handled is settled."""
    shop.publish(look(10) + [("m", "k0", "stop 99")])
    shop.configure(pay)
    done = shop.consume("c.yaml", "-")
    assert counts(done.stdout)["handled"] == 11
    process = start("c.yaml", "billing", program=shop.program)
    shop.publish([(f"late-{i}", "k", f"look {100 + i}") for i in range(20)])
    wait_for(lambda: len(effects(pay)) == 31, "the late ones to be handled")
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and counts(out)["handled"] == 20, errors
    shop.publish([("last", "k", "look 200")])
    done = shop.consume("c.yaml", "billing", "twice")
    assert counts(done.stdout)["handled"] == 1 and counts(done.stdout)["connections"] == 2


def test_four_threads_share_the_partitions(shop, pay, start):
    shop.publish(look(400, keys=40))
    shop.configure(pay)
    process = start("c.yaml", "billing", "threads", program=shop.program)
    wait_for(lambda: len(effects(pay)) >= 400, "all to be handled", 60)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert sorted(number for number, _, _ in effects(pay)) == list(range(400)) and in_order(effects(pay)), errors
    assert sum(counts(line)["handled"] for line in out.splitlines()) == 400


def test_what_is_wrong_is_said_in_one_line(shop, pay, run, tmp_path):
    shop.publish(look(1))
    shop.configure(pay)
    text = (tmp_path / "c.yaml").read_text()
    assert "there is no consumer \"nobody\"; there is: billing" in shop.consume("c.yaml", "nobody", status=4).stderr
    assert "No such file" in shop.consume("none.yaml", "billing", status=4).stderr
    wrong = text.replace("handler: callback", "handler: calback").replace("retry:", "rety:")
    (tmp_path / "wrong.yaml").write_text(wrong)
    line = shop.consume("wrong.yaml", "billing", status=78).stderr
    assert re.match(r"callback_consumer: wrong.yaml:8:14: consumers\[0\].handler: expected callback, found \"calback\", or a map \(and \d more", line), line
    assert "configuration:8:14: " in shop.consume("-", "billing", status=78, input=wrong).stderr
    (tmp_path / "sql.yaml").write_text(text.replace("handler: callback", 'handler: { sql: "select 1" }'))
    assert "consumer billing has a handler of its own" in shop.consume("sql.yaml", "billing", status=2).stderr
    assert "0 consumers have handler: callback" in shop.consume("sql.yaml", "-", status=4).stderr
    (tmp_path / "alone.yaml").write_text(text.replace("inbox: { store: pay }", "").replace("dead_letter:", "# "))
    assert "a callback works in the transaction of an inbox" in run("validate", "alone.yaml", status=78).stderr
    refused = shop.consume("c.yaml", "billing", "until-end", status=77, env={"NOT_CONNECTED": "1"})
    assert "consumer billing: connected(): this one is not wanted\n" in refused.stderr
    done = run("run", "--until-end", "c.yaml", status=2)
    assert len(done.stderr.splitlines()) == 1 and "run that program" in done.stderr and "consumer billing" in done.stderr
    assert effects(pay) == []
    assert counts(shop.consume("-", "-", "until-end", input=text).stdout)["handled"] == 1


def test_a_daemon_runs_the_others(shop, pay, run, tmp_path):
    """One file for both: onewrite run leaves the callback to its program, and says so."""
    shop.publish(look(5))
    shop.configure(pay)
    text = (tmp_path / "c.yaml").read_text()
    more = text[text.index("  - name"):].replace("billing", "counting").replace(
        "handler: callback", 'handler: { sql: "insert into paid (number, key, id) values (${!offset}, ${!key}, ${!id})" }'.replace("${!offset}", "1000"))
    (tmp_path / "c.yaml").write_text(text + more)
    done = run("run", "--until-end", "c.yaml")
    assert done.stderr.count("left to the program that has its callback") == 1 and "consumer=billing" in done.stderr
    assert [number for number, _, _ in effects(pay)] == [1000] * 5
    assert counts(shop.consume().stdout)["handled"] == 5


def test_it_waits_for_what_is_not_there_yet(shop, pay, start, tmp_path):
    shop.configure(pay)
    done = shop.consume(status=69)
    assert "consumer billing: " in done.stderr and "bus.db" in done.stderr
    heard = tmp_path / "heard"
    with open(heard, "w", encoding="utf-8") as errors:
        process = start("c.yaml", "billing", "until-end", program=shop.program, env={"WAIT_MS": "-1"}, stderr=errors)
        wait_for(lambda: "told trouble" in heard.read_text(), "the consumer to miss its broker")
        shop.publish(look(3))
        process.communicate(timeout=60)
    assert process.returncode == 0 and len(effects(pay)) <= 3


# --- examples/c/consumer.c -----------------------------------------------------------------------------------------

BOOKS = re.search(r"psql .*? -c '(.*?)'", (EXAMPLES / "c/consumer.c").read_text().replace("\n *", " "), re.DOTALL).group(1)


def example_config(database, bus):
    lines = (EXAMPLES / "c/consumer.c").read_text().split("consumer.yaml:\n *\n")[1].split(" */")[0]
    text = "".join(line.removeprefix(" *").removeprefix("     ") + "\n" for line in lines.splitlines())
    assert "handler: callback" in text
    return text.replace("postgres://localhost/books", database.url).replace("kafka://localhost:9092", bus)


def payments(first, count):
    return [(f"p-{i}", f"a{i % 9}", json.dumps({"account": f"a{i % 9}", "cents": i})) for i in range(first, first + count)]


def publish_payments(run, tmp_path, bus, messages):
    with sqlite3.connect(tmp_path / "shop.db", timeout=30) as db:
        db.executemany("INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) VALUES (?, 'payment', ?, 'Paid', ?)",
                       messages)
    run("relay", "--until-end", "sqlite:shop.db", bus)


def killed_at_random(run, start, database, program, bus, published_to, tmp_path, kills):
    """Processes of the example, killed at random while messages come, some of them twice; then what is in the database."""
    run("init", "sqlite:shop.db")
    run("init", database.url)
    database.query(BOOKS)
    (tmp_path / "consumer.yaml").write_text(example_config(database, bus))
    dice, published, log = random.Random(5), 0, open(tmp_path / "said", "a")

    def member():
        return start("consumer.yaml", program=program, stdout=log, stderr=log)

    publish_payments(run, tmp_path, published_to, payments(0, 50))
    published += 50
    members = [member() for _ in range(2)]
    for _ in range(kills):
        again = payments(dice.randrange(published - 10), 10)
        publish_payments(run, tmp_path, published_to, payments(published, 40) + again)
        published += 40
        time.sleep(dice.random() * 0.5)  # the moment is what is random here
        victim = dice.randrange(2)
        assert members[victim].poll() is None, (tmp_path / "said").read_text()
        members[victim].send_signal(dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
        members[victim].wait(60)
        members[victim] = member()
    wait_for(lambda: database.one("SELECT count(*) FROM entry") >= published, "all to be booked", 90)
    for process in members:
        process.terminate()
    for process in members:  # the last may not have begun to listen to signals
        assert process.wait(60) in (0, -signal.SIGTERM), (tmp_path / "said").read_text()
    assert database.query("SELECT message FROM entry ORDER BY cents") == [(f"p-{i}",) for i in range(published)]
    assert database.one("SELECT sum(cents) FROM balance") == sum(range(published)) == database.one("SELECT sum(cents) FROM entry")
    assert database.query("SELECT * FROM onewrite.dead_letter") == []
    # What it said of each is in the outbox as often as it was booked, and the last of an account tells its balance.
    assert database.one("SELECT count(*) FROM onewrite.outbox WHERE type = 'PaymentBooked'") == published
    last = dict(database.query("SELECT DISTINCT ON (aggregateid) aggregateid, (payload::jsonb->>'balance')::bigint FROM onewrite.outbox ORDER BY aggregateid, seq DESC"))
    assert last == dict(database.query("SELECT account, cents FROM balance"))


def example(onewrite):
    return pathlib.Path(onewrite).parent / "examples/consumer"


def test_the_example_from_a_journal(run, start, pg_database, onewrite_release, is_long, tmp_path):
    run("init", "journal:bus.db")
    killed_at_random(run, start, pg_database, example(onewrite_release), "journal:bus.db", "journal:bus.db?partitions=4", tmp_path,
                     80 if is_long else 12)


def test_the_example_from_kafka(run, start, pg_database, kafka, onewrite_release, is_long, tmp_path):
    bus = f"kafka://{kafka.bootstrap}?session.timeout.ms=6000&heartbeat.interval.ms=500"
    killed_at_random(run, start, pg_database, example(onewrite_release), bus, f"kafka://{kafka.bootstrap}", tmp_path, 30 if is_long else 5)


def test_the_database_is_restarted_under_it(shop, run, start, pg_database, pg_server):
    """A lost connection is no attempt; the program is told of the new one."""
    run("init", pg_database.url)
    pay = Postgres(pg_database)
    pay.query("CREATE TABLE paid (number BIGINT NOT NULL, key TEXT, id TEXT)")
    shop.publish(look(50))
    shop.configure(pay)
    process = start("c.yaml", "billing", program=shop.program)
    for round in range(1, 4):
        wait_for(lambda: len(effects(pay)) >= 50 * round, "these to be handled", 60)
        pg_database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        shop.publish([(f"{round}-{i}", f"k{i % 7}", f"look {round * 1000 + i}") for i in range(50)])
    wait_for(lambda: len(effects(pay)) >= 200, "the last to be handled", 60)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and len(effects(pay)) == 200 and letters(pay) == [], errors
    assert counts(out)["connections"] >= 2 and "told back" in errors
