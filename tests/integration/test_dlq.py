# SPDX-License-Identifier: Apache-2.0
"""What cannot be published for its own sake: when it is set aside, when not, and the way back."""

import base64
import json
import sqlite3
import time

import pytest
from conftest import wait_for
from kafka import *  # noqa: F403 (fixtures)
from oracle import records_of
from postgres import pg_database, pg_server, query  # noqa: F401 (fixtures)

LARGE = "x" * 300


@pytest.fixture
def lite(run, tmp_path):
    """put(id, key, payload) into an SQLite outbox."""
    run("init", "sqlite:shop.db")
    db = sqlite3.connect(tmp_path / "shop.db", isolation_level=None, timeout=20)

    def put(identity, key, payload, headers=None):
        db.execute("INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload, headers) VALUES (?, 'order', ?, 'T', ?, ?)",
                   (identity, key, payload, headers))

    yield put
    db.close()


def letters(run, *where, store="sqlite:shop.db"):
    return json.loads(run("dlq", "list", "--store", store, *where, "-o", "json").stdout)


def journal(run):
    out = run("tail", "journal:bus.db", "--topic", "outbox.event.order", "--from", "beginning", "--until-end", "-o", "jsonl").stdout
    return [record["id"] for record in records_of(out)]


def drain(run, *options, to="journal:bus.db"):
    return run("relay", "--until-end", *options, "sqlite:shop.db", to)


# --- the command -----------------------------------------------------------------------------------------


def test_list_show_replay_discard(run, lite):
    payload, headers = bytes(range(256)) * 2, '{"a":"1","b":"","a":"\\u00fc"}'
    lite("one", "k", payload, headers)
    lite("two", "k", LARGE)
    lite("three", "k", "fine")
    drain(run, "--max-payload", "100B")
    one, two = letters(run)
    assert (one["number"], one["state"], one["id"], one["key"], one["topic"]) == (1, "dead", "one", "k", "outbox.event.order")
    assert one["reason"] == "payload has 512 bytes, the limit is 100" and one["attempts"] == 1 and one["replays"] == 0
    shown, = json.loads(run("dlq", "show", "sqlite:shop.db", "one", "-o", "json").stdout)
    assert base64.b64decode(shown["payload_base64"]) == payload and '"headers":' + headers in run("dlq", "show", "sqlite:shop.db", "1", "-o", "jsonl").stdout
    assert "reason          payload has 512 bytes" in run("dlq", "show", "sqlite:shop.db", "1").stdout
    assert [letter["id"] for letter in letters(run, "--where", "id=two", "--where", "reason~300 bytes")] == ["two"]
    run("dlq", "replay", "sqlite:shop.db", "2", "--dry-run")
    assert len(letters(run, "--where", "state=dead")) == 2

    run("dlq", "replay", "sqlite:shop.db", "1")
    assert [letter["state"] for letter in letters(run)] == ["queued", "dead"]
    drain(run)
    assert journal(run) == ["three", "one"] and [letter["id"] for letter in letters(run)] == ["two"]
    record = records_of(run("tail", "journal:bus.db", "--topic", "outbox.event.order", "--until-end", "--from", "beginning", "-o", "jsonl").stdout)[1]
    assert base64.b64decode(record["value"]["base64"]) == payload
    assert "1 discarded" in run("dlq", "discard", "sqlite:shop.db", "two").stderr
    assert letters(run) == [] and run("dlq", "list", "sqlite:shop.db").stdout == ""


def test_wrong_usage(run, lite):
    lite("one", "k", LARGE)
    drain(run, "--max-payload", "100B")
    for action in ("show", "replay", "discard"):
        assert '"7", by number or by id' in run("dlq", action, "sqlite:shop.db", "1", "7", status=4).stderr
        run("dlq", action, "sqlite:shop.db", status=2)
        run("dlq", action, "sqlite:shop.db", "1", "--all", status=2)
    run("dlq", "list", status=2)
    run("dlq", "mend", "sqlite:shop.db", status=2)
    run("dlq", "list", "sqlite:shop.db", "--where", "colour=red", status=2)
    run("dlq", "list", "sqlite:other.db", status=4)
    assert len(letters(run)) == 1


def test_by_configuration(run, lite, tmp_path):
    lite("one", "k", LARGE)
    (tmp_path / "c.yaml").write_text("version: 1\nstores: { shop: 'sqlite:shop.db' }\nbrokers: { bus: 'journal:bus.db' }\n"
                                     "relays: [{ name: r, from: { store: shop }, to: { broker: bus }, limits: { payload: 100B }, dead_letter: { then: park } }]\n")
    drain(run, "--max-payload", "100B")
    letter, = json.loads(run("dlq", "list", "--config", "c.yaml", "-o", "json").stdout)
    assert letter["store"] == "shop" and letter["id"] == "one"
    run("dlq", "replay", "--config", "c.yaml", "--store", "shop", "--all")
    run("dlq", "replay", "--config", "c.yaml", "--store", "shelf", "--all", status=2)


def test_it_is_the_same_letter_and_stays_after_so_many_times(run, lite):
    lite("one", "k", LARGE)
    for replays in range(3):
        drain(run, "--max-payload", f"{100 + replays}B")
        letter, = letters(run)
        assert (letter["number"], letter["state"], letter["replays"]) == (1, "dead", replays)
        if replays < 2:
            run("dlq", "replay", "sqlite:shop.db", "--all", "--max-replays", "2")
    shown, = json.loads(run("dlq", "show", "sqlite:shop.db", "1", "-o", "json").stdout)
    assert [entry["reason"][-3:] for entry in shown["history"]] == ["100", "101"] and shown["reason"].endswith("102")
    assert "put back 2 times" in run("dlq", "replay", "sqlite:shop.db", "--all", "--max-replays", "2", status=3).stderr
    run("dlq", "replay", "sqlite:shop.db", "--all", "--max-replays", "2", "--force")
    drain(run)
    assert journal(run) == ["one"] and letters(run) == []


# --- the order of a key ----------------------------------------------------------------------------------


def test_parked_and_back_in_order(run, lite):
    for identity, key, payload in (("a1", "a", LARGE), ("b1", "b", "."), ("a2", "a", "."), ("a3", "a", LARGE)):
        lite(identity, key, payload)
    drain(run, "--park", "--max-payload", "100B")
    lite("a4", "a", ".")
    lite("b2", "b", ".")
    drain(run, "--park", "--max-payload", "100B")  # another relay: the table knows
    assert journal(run) == ["b1", "b2"]
    assert [(letter["id"], letter["state"]) for letter in letters(run)] == [("a1", "dead"), ("a2", "parked"), ("a3", "parked"), ("a4", "parked")]
    assert "parked behind number 1" in run("dlq", "replay", "sqlite:shop.db", "a2", status=3).stderr
    run("dlq", "replay", "sqlite:shop.db", "a1")
    lite("a5", "a", ".")
    drain(run, "--park", "--max-payload", "100B")  # not mended yet: all of it stays where it was
    assert [(letter["id"], letter["state"], letter["replays"]) for letter in letters(run)] == [
        ("a1", "dead", 1), ("a2", "parked", 1), ("a3", "parked", 1), ("a4", "parked", 1), ("a5", "parked", 0)]
    run("dlq", "replay", "sqlite:shop.db", "--all")
    lite("a6", "a", ".")
    drain(run, "--park")
    assert journal(run) == ["b1", "b2", "a1", "a2", "a3", "a4", "a5", "a6"] and letters(run) == []


def test_what_waits_in_the_outbox_does_not_pass_what_is_put_back(run, lite):
    lite("a1", "a", LARGE)
    drain(run, "--park", "--max-payload", "100B")
    lite("a2", "a", ".")  # before the replay, and no relay has seen it
    run("dlq", "replay", "sqlite:shop.db", "--all")
    lite("a3", "a", ".")
    drain(run, "--park")
    assert journal(run) == ["a1"] and [letter["id"] for letter in letters(run, "--where", "state=parked")] == ["a2", "a3"]
    run("dlq", "replay", "sqlite:shop.db", "--all")
    drain(run, "--park")
    assert journal(run) == ["a1", "a2", "a3"] and letters(run) == []


def test_a_discarded_letter_frees_its_key(run, start, lite):
    lite("a1", "a", LARGE)
    start("relay", "--park", "--max-payload", "100B", "sqlite:shop.db", "file:out.jsonl")
    wait_for(lambda: len(letters(run)) == 1, "the letter")
    lite("a2", "a", ".")
    wait_for(lambda: len(letters(run)) == 2, "the one behind it")
    run("dlq", "discard", "sqlite:shop.db", "--all")
    lite("a3", "a", ".")
    wait_for(lambda: '"a3"' in run("tail", "file:out.jsonl", "--until-end", "-o", "jsonl", status=None).stdout, "the next one")


# --- PostgreSQL ------------------------------------------------------------------------------------------


def publish(database, identity, key, payload):
    query(database.db, "SELECT onewrite.publish('order', %s, 'T', %s, id => %s)", key, payload, identity)


@pytest.mark.parametrize("by", ["polling", "log", "message"])
def test_postgres_parked_and_back_in_order(run, start, pg_database, by, tmp_path):
    run("init", "--outbox", "message" if by == "message" else "table", pg_database.url)
    store = pg_database.url

    def ids():
        return [record["id"] for record in records_of((tmp_path / "out.jsonl").read_text())] if (tmp_path / "out.jsonl").exists() else []

    def states():
        return [(letter["id"], letter["state"]) for letter in letters(run, store=store)]

    relay = start("relay", "--by", by, "--park", "--max-payload", "100B", store, "file:out.jsonl")
    for identity, key, payload in (("a1", "a", LARGE), ("b1", "b", "."), ("a2", "a", ".")):
        publish(pg_database, identity, key, payload)
    wait_for(lambda: ids() == ["b1"] and states() == [("a1", "dead"), ("a2", "parked")], "what is set aside")
    relay.terminate()
    assert relay.wait(20) == 0
    publish(pg_database, "a3", "a", ".")
    relay = start("relay", "--by", by, "--park", "--max-payload", "100B", store, "file:out.jsonl")
    wait_for(lambda: ("a3", "parked") in states(), "the one behind it, with another relay")
    relay.terminate()
    assert relay.wait(20) == 0
    run("dlq", "replay", "--store", store, "a1")
    publish(pg_database, "a4", "a", ".")
    relay = start("relay", "--by", by, "--park", store, "file:out.jsonl")
    wait_for(lambda: "a4" in ids(), "all of them")
    assert ids() == ["b1", "a1", "a2", "a3", "a4"]
    wait_for(lambda: states() == [], "the letters to be done with", 30)


def test_a_row_of_another_table_comes_back(run, start, pg_database, tmp_path):
    query(pg_database.db, "CREATE TABLE public.events (id uuid PRIMARY KEY, aggregatetype varchar, aggregateid varchar, type varchar, "
                          "payload jsonb, raw bytea, note text DEFAULT 'none')")
    (tmp_path / "c.yaml").write_text(f"""
version: 1
stores: {{ shop: '{pg_database.url}' }}
brokers: {{ out: 'file:out.jsonl' }}
relays:
  - name: r
    from: {{ store: shop, outbox: public.events }}
    to: {{ broker: out, debezium: {{}} }}
    limits: {{ payload: '${{LIMIT:-1MiB}}' }}
""")
    insert = "INSERT INTO public.events VALUES (%s, 'order', 'k', 'T', %s, %s, %s)"
    gone, there = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
    relay = start("run", "c.yaml", env={"LIMIT": "100B"})
    wait_for(lambda: pg_database.one("SELECT count(*) FROM pg_replication_slots WHERE active") == 1, "the slot")
    query(pg_database.db, "BEGIN")
    query(pg_database.db, insert, gone, json.dumps({"text": LARGE, "n": "it's"}), b"\x00\xff\\", None)
    query(pg_database.db, "DELETE FROM public.events")
    query(pg_database.db, "COMMIT")
    query(pg_database.db, insert, there, json.dumps({"text": LARGE}), None, 'a "note"\nof two lines')
    wait_for(lambda: len(letters(run, store=pg_database.url)) == 2, "two letters")
    relay.terminate()
    assert relay.wait(20) == 0
    shown = json.loads(run("dlq", "show", "--store", pg_database.url, "--all", "-o", "json").stdout)
    assert shown[0]["row"]["table"] == "events" and {"name": "raw", "value": "\\x00ff5c"} in shown[0]["row"]["columns"]
    before = query(pg_database.db, "SELECT * FROM public.events")
    run("dlq", "replay", "--store", pg_database.url, "--all")
    rows = query(pg_database.db, "SELECT id::text, payload, raw, note FROM public.events ORDER BY id")
    assert rows[0][0] == gone and rows[0][1] == {"text": LARGE, "n": "it's"} and bytes(rows[0][2]) == b"\x00\xff\\" and rows[0][3] is None
    assert query(pg_database.db, "SELECT * FROM public.events WHERE id = %s", there) == before
    start("run", "c.yaml")
    wait_for(lambda: (tmp_path / "out.jsonl").exists() and len((tmp_path / "out.jsonl").read_text().splitlines()) == 2, "both records")


# --- Kafka -----------------------------------------------------------------------------------------------


def configuration(tmp_path, store, bootstrap, topic, elapsed):
    path = tmp_path / "c.yaml"
    path.write_text(f"""
version: 1
stores: {{ shop: '{store}' }}
brokers:
  bus: {{ url: 'kafka://{bootstrap}', topics: {{ create: false }}, properties: {{ topic.metadata.propagation.max.ms: 100, reconnect.backoff.max.ms: 500 }} }}
relays:
  - {{ name: r, from: {{ store: shop }}, to: {{ broker: bus, topic: '{topic}-${{!type}}' }}, retry: {{ max_elapsed: {elapsed} }} }}
""")
    return path


def test_a_missing_topic_its_time_and_the_way_back(run, start, pg_database, kafka, tmp_path):
    run("init", pg_database.url)
    topic = "dlq-missing"
    kafka.create(f"{topic}-U")
    start("run", configuration(tmp_path, pg_database.url, kafka.bootstrap, topic, "2s"))
    began = time.monotonic()
    publish(pg_database, "one", "k", "p")
    query(pg_database.db, "SELECT onewrite.publish('order', 'other', 'U', 'p', id => 'two')")
    letter, = wait_for(lambda: letters(run, store=pg_database.url), "the letter", 60)
    assert time.monotonic() - began >= 2 and letter["reason"] == f"topic {topic}-T does not exist" and letter["attempts"] > 2
    wait_for(lambda: [record["id"] for record in kafka.records(f"{topic}-U")] == ["two"], "the message of another topic", 60)
    kafka.create(f"{topic}-T")
    run("dlq", "replay", "--store", pg_database.url, "--all")
    wait_for(lambda: [record["id"] for record in kafka.records(f"{topic}-T")] == ["one"], "the message", 90)
    wait_for(lambda: letters(run, store=pg_database.url) == [], "the letter to be done with", 40)


def test_while_the_broker_is_away_nothing_is_set_aside(run, start, lite, kafka, tmp_path):
    """Its topic is missing, and then the broker goes for longer than the message has."""
    topic = "dlq-away"
    proxy, address = kafka.proxied()
    relay = start("run", configuration(tmp_path, "sqlite:shop.db", address, topic, "4s"))
    lite("one", "k", "p")
    for line in relay.stderr:
        if "does not exist" in line:
            break
    proxy.refuses = True
    proxy.cut()
    time.sleep(8)
    assert letters(run) == []
    kafka.create(f"{topic}-T")
    proxy.refuses = False
    wait_for(lambda: [record["id"] for record in kafka.records(f"{topic}-T")] == ["one"], "the message", 60)
    assert letters(run) == []
    proxy.close()
