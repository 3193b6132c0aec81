# SPDX-License-Identifier: Apache-2.0
"""Consumers of a real Kafka with their inbox in a real PostgreSQL: a group whose members are killed, repeats, poison, what is
wrong with a message, and a server that is away.

`--long` takes eight members and more messages.
"""

import json
import random
import signal
import time

import pytest
from conftest import wait_for
from kafka import *  # noqa: F403 (fixtures)
from postgres import Database, new_server, pg_database, pg_server, query  # noqa: F401 (fixtures)
from web import web  # noqa: F401 (a fixture)

CONFIG = """version: 1
stores: {{ pay: "{store}" }}
brokers: {{ bus: "kafka://{bootstrap}?session.timeout.ms=6000&heartbeat.interval.ms=500" }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: {topic}, group: {topic} }}
    inbox: {{ store: pay }}
    handler: {handler}
    retry: {{ initial: 20ms, max: 50ms, max_attempts: 3 }}
    dead_letter: {{ store: pay }}
    {more}
"""
SQL = '{ sql: "insert into paid (key, number, id) values (${!key}, ${!payload.number}, ${!id})" }'


class Bus:
    def __init__(self, kafka, database, folder, topic, run):
        self.kafka, self.database, self.folder, self.topic = kafka, database, folder, topic
        run("init", database.url)
        # serial: the order in which effects happened.
        database.query("CREATE TABLE paid (serial bigserial PRIMARY KEY, key text, number int CHECK (number >= 0), id text)")

    def configure(self, handler=SQL, more="", name="c.yaml", store=None):
        (self.folder / name).write_text(CONFIG.format(store=store or self.database.url, bootstrap=self.kafka.bootstrap, topic=self.topic,
                                                      handler=handler, more=more))
        return name

    def produce(self, messages):
        """(id, key, payload), or what librdkafka's producer takes, as dictionaries."""
        from confluent_kafka import Producer
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "enable.idempotence": True})
        for message in messages:
            if isinstance(message, tuple):
                identity, key, payload = message
                message = {"headers": [("id", identity.encode())], "key": key, "value": payload}
            producer.produce(self.topic, **message)
            producer.poll(0)
        assert producer.flush(60) == 0

    def effects(self):
        return self.database.query("SELECT key, number, id FROM paid ORDER BY serial")

    def letters(self):
        return self.database.query("SELECT id, state, class, attempts, reason FROM onewrite.dead_letter ORDER BY number")


@pytest.fixture
def bus(run, kafka, pg_database, tmp_path, request):
    topic = "".join(c if c.isalnum() else "." for c in request.node.name)
    kafka.create(topic, partitions=6)
    return Bus(kafka, pg_database, tmp_path, topic, run)


def order(number, keys):
    return f"order-{number}", f"k{number % keys}", json.dumps({"number": number})


def with_repeats(count, keys, dice):
    """Each message one to ten times, in the order of the first ones, the others anywhere behind."""
    times = [(number, number) for number in range(count)]
    times += [(dice.uniform(number, count), number) for number in range(count) for _ in range(dice.randint(0, 9))]
    times.sort(key=lambda pair: pair[0])
    return [order(number, keys) for _, number in times]


def must_be_once_and_in_order(effects, numbers):
    assert sorted(number for _, number, _ in effects) == sorted(numbers)
    last = {}
    for key, number, _ in effects:
        assert number > last.get(key, -1), f"{key}: {number} behind {last[key]}"
        last[key] = number


# --- a group that is killed ------------------------------------------------------------------------------------


def kill_and_wait(process, how):
    assert process.poll() is None, "it ended by itself"
    process.send_signal(how)
    process.wait(30)


def test_members_of_a_group_are_killed(run, start, bus, is_long, onewrite_release, tmp_path):
    members, kills, count = (8, 60, 20000) if is_long else (4, 8, 3000)
    dice = random.Random(5)
    messages = with_repeats(count, 37, dice)
    config = bus.configure()
    log = open(tmp_path / "said", "a")

    def member():
        return start("run", config, program=onewrite_release, stdout=log, stderr=log)

    running = [member() for _ in range(members)]
    share = len(messages) // (kills + 1) + 1
    for i in range(kills + 1):
        bus.produce(messages[i * share:(i + 1) * share])
        if i < kills:
            time.sleep(dice.random() * 0.8)  # the moment is what is random here
            victim = dice.randrange(members)
            kill_and_wait(running[victim], dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
            running[victim] = member()
    wait_for(lambda: bus.database.one("SELECT count(*) FROM paid") >= count or any(process.poll() is not None for process in running),
             "all effects", 120)
    for process in running:
        process.terminate()
    for process in running:
        assert process.wait(30) == 0, (tmp_path / "said").read_text()[-3000:]
    done = run("run", "--until-end", config, program=onewrite_release)  # what nobody has settled comes again
    assert "handled=0 " in done.stderr, done.stderr
    must_be_once_and_in_order(bus.effects(), range(count))
    assert bus.letters() == []


def test_members_that_call_are_killed(run, start, bus, is_long, onewrite_release, web, tmp_path):
    """What a killed member has called and not recorded is called again, under the same key: to a target that heeds it each
    effect happens once, in order."""
    members, kills, count = (8, 40, 10000) if is_long else (3, 5, 1500)
    dice, effects, keys_seen = random.Random(6), [], set()

    def answer(request):
        identity = request[0]["Idempotency-Key"]
        if identity not in keys_seen:
            keys_seen.add(identity)
            effects.append((request[0]["ce-partitionkey"], json.loads(request[1])["number"], identity))
        return 200, {}, b""

    web.answer = answer
    config = bus.configure(f'{{ http: {{ url: "{web.url}" }} }}', more="in_flight: 20")
    log = open(tmp_path / "said", "a")

    def member():
        return start("run", config, program=onewrite_release, stdout=log, stderr=log)

    running = [member() for _ in range(members)]
    messages = with_repeats(count, 37, dice)
    share = len(messages) // (kills + 1) + 1
    for i in range(kills + 1):
        bus.produce(messages[i * share:(i + 1) * share])
        if i < kills:
            time.sleep(dice.random())
            victim = dice.randrange(members)
            kill_and_wait(running[victim], dice.choice((signal.SIGKILL, signal.SIGTERM)))
            running[victim] = member()
    wait_for(lambda: bus.database.one("SELECT count(*) FROM onewrite.inbox") >= count, "all calls to be recorded", 120)
    for process in running:
        process.terminate()
    for process in running:
        assert process.wait(30) == 0, (tmp_path / "said").read_text()[-3000:]
    must_be_once_and_in_order(effects, range(count))
    assert bus.letters() == []


def test_a_topic_that_is_not_there_has_nothing_to_read(run, bus):
    config = bus.configure()
    path = bus.folder / config
    bus.produce([order(number, 3) for number in range(20)])
    path.write_text(path.read_text().replace(f"topics: {bus.topic},", f"topics: [{bus.topic}, {bus.topic}.not],"))
    assert "handled=20 " in run("run", "--until-end", config).stderr
    path.write_text(path.read_text().replace(f"topics: [{bus.topic}, {bus.topic}.not],", f"topics: [{bus.topic}.not],"))
    done = run("run", "--until-end", config)
    assert "handled=0 " in done.stderr and "is not there" in done.stderr


def test_set_aside_by_another_member_while_this_one_waits(run, start, bus):
    """A member that is slow to die sets a message aside; the one that reads it again waits for its row, and must see the letter
    of the transaction that it has waited for: what comes behind in that key is parked."""
    bus.produce([order(number, 1) for number in range(3)])
    other = bus.database.connect()
    query(other, "BEGIN")
    query(other, "INSERT INTO onewrite.inbox (consumer, message_id, state) VALUES ('billing', 'order-0', 'aside')")
    query(other, "INSERT INTO onewrite.dead_letter (source, position, origin, id, key, payload, reason, attempts) "
                 "VALUES ('consumer/billing', 'x/0/0', 'record', 'order-0', 'k0', '{}', 'because', 3)")
    process = start("run", "--until-end", bus.configure())
    wait_for(lambda: bus.database.one("SELECT count(*) FROM pg_locks WHERE NOT granted"), "it to wait for the row", 60)
    query(other, "COMMIT")
    assert process.wait(60) == 0
    assert bus.effects() == []
    assert [(identity, state) for identity, state, *_ in bus.letters()] == [("order-0", "dead"), ("order-1", "parked"), ("order-2", "parked")]


# --- what is wrong with messages ------------------------------------------------------------------------------


BAD = {  # what there is about it -> (what comes, the reason of its letter; None: it is handled all the same)
    "broken JSON": ({"value": "{"}, "JSON"),
    "no payload": ({"value": None}, "null value in column"),
    "empty payload": ({"value": b""}, "JSON"),
    "payload not UTF-8": ({"value": b'{"number": "\xff"}'}, "UTF-8"),
    "NUL in a text": ({"value": '{"number": 5, "text": "a\\u0000b"}'}, "NUL"),
    "not the type": ({"value": '{"number": "five"}'}, "invalid input syntax for type integer"),
    "against a constraint": ({"value": '{"number": -1}'}, "violates check constraint"),
    "key not UTF-8": ({"key": b"\xff\xfe"}, "invalid byte sequence"),
    "id too long": ({"headers": [("id", b"x" * 1001)]}, "its id is longer than 1000 bytes"),
    "id not UTF-8": ({"headers": [("id", b"\xff\x00\x01")]}, "its id is no UTF-8 text"),
    "id with a line break": ({"headers": [("id", b"a\r\nb")]}, "its id has a control character"),
    "empty id": ({"headers": [("id", b"")]}, None),
    "no id": ({"headers": []}, None),
    "the longest id": ({"headers": [("id", b"y" * 1000)]}, None),
    "headers": ({"headers": [("id", b"headers"), ("a", b""), ("a", None), ("", b"x"), ("b", bytes(range(256))), ("c", b"z" * 65536)]}, None),
    "3000 headers": ({"headers": [("id", b"many")] + [(f"h{i}", b"\xff") for i in range(3000)], "value": "{"}, "JSON"),
}
BAD_SQL = ('{ sql: "insert into paid (key, number, id) select ${!key}, ${!payload.number}, coalesce(${!payload.text}::text, ${!id})" }')


def test_what_is_wrong_with_a_message_stops_no_other(run, bus):
    bus.database.query("ALTER TABLE paid ALTER number SET NOT NULL")
    messages = []
    for n, (what, _) in enumerate(BAD.values()):
        messages.append(order(n, 1000))
        messages.append({"headers": [("id", f"bad-{n}".encode())], "key": f"bad-{n}", "value": json.dumps({"number": 1000 + n}), **what})
    bus.produce(messages)
    done = run("run", "--until-end", bus.configure(BAD_SQL), timeout=120)
    good = {1000 + n for n, (_, reason) in enumerate(BAD.values()) if not reason}
    assert {number for _, number, _ in bus.effects()} == set(range(len(BAD))) | good, done.stderr
    expected = {(reason) for _, reason in BAD.values() if reason}
    reasons = [letter[4] for letter in bus.letters()]
    assert len(reasons) == len([1 for _, reason in BAD.values() if reason]), bus.letters()
    for reason in expected:
        assert any(reason in text for text in reasons), (reason, reasons)
    # The headers are in the letter as they came, the id among them.
    headers = [json.loads(text) for text, in bus.database.query("SELECT headers FROM onewrite.dead_letter WHERE reason LIKE 'its id%'")]
    assert sorted(json.dumps(names) for names in headers) == sorted(json.dumps(names) for names in [
        [["id", "x" * 1001]], [["id", {"base64": "/wAB"}]], [["id", "a\r\nb"]]])
    # All of them go the way back and fail again, each for itself; nothing of them stops the consumer.
    bus.database.query("UPDATE onewrite.dead_letter SET state = 'queued'")
    run("run", "--until-end", "c.yaml", timeout=120)
    assert bus.database.query("SELECT DISTINCT state, replays FROM onewrite.dead_letter") == [("dead", 1)]


def test_without_the_id_that_is_configured(run, bus):
    bus.produce([("1", "a", '{"number": 1, "event": "e1"}'), ("2", "b", '{"number": 2}'), ("3", "c", '{"number": 3, "event": "e1"}'),
                 ("4", "d", '{"number": 4, "event": "' + "x" * 1500 + '"}')])
    run("run", "--until-end", bus.configure(more='id: "${!payload.event}"'))
    assert [number for _, number, _ in bus.effects()] in ([1], [3])
    assert sorted(letter[4] for letter in bus.letters()) == ["it has no id: ${!payload.event} gives nothing",
                                                             "its id is longer than 1000 bytes (${!payload.event})"]


# --- one that cannot be handled, and the way back ------------------------------------------------------------------


def must_come_back(run, start, bus, config, effects, count, keys, poison):
    """All of the others are handled, those behind it in its key are parked; after the replay it is as if nothing had been."""
    behind = [number for number in range(poison + 1, count) if number % keys == poison % keys]
    process = start("run", config)
    wait_for(lambda: len(effects()) >= count - 1 - len(behind) and len(bus.letters()) == 1 + len(behind), "all others to be handled", 120)
    must_be_once_and_in_order(effects(), set(range(count)) - {poison, *behind})
    assert [(identity, state) for identity, state, *_ in bus.letters()] == \
        [(f"order-{poison}", "dead")] + [(f"order-{number}", "parked") for number in behind]
    assert bus.letters()[0][3] == 3
    return process, lambda *more, status=0: run("dlq", "replay", "--config", config, "--consumer", "billing", "--all", "--wait", *more,
                                                status=status, timeout=120)


def test_one_poisonous_message_sql(run, start, bus):
    count, keys, poison = 10000, 500, 4321
    bus.produce([order(number, keys) for number in range(count)])
    bus.database.query(f"ALTER TABLE paid ADD CONSTRAINT no CHECK (number <> {poison})")
    process, replay = must_come_back(run, start, bus, bus.configure(), bus.effects, count, keys, poison)
    assert "is dead again" in replay(status=3).stderr
    bus.database.query("ALTER TABLE paid DROP CONSTRAINT no")
    bus.produce([order(count + poison % keys, keys)])  # comes while its key is blocked, or being replayed
    replay()
    wait_for(lambda: len(bus.effects()) == count + 1, "what came last", 30)
    assert bus.letters() == []
    must_be_once_and_in_order(bus.effects(), {*range(count), count + poison % keys})
    process.terminate()
    assert process.wait(30) == 0
    assert bus.database.query("SELECT state, count(*) FROM onewrite.inbox GROUP BY 1") == [("handled", count + 1)]


def test_one_poisonous_message_http(run, start, bus, is_long, web):
    count, keys, poison = 10000 if is_long else 2000, 100, 321
    calls, is_bad = [], True

    def answer(request):
        number = json.loads(request[1])["number"]
        if number == poison and is_bad:
            return 503, {}, b""
        calls.append((request[0]["ce-partitionkey"], number, request[0]["ce-id"]))
        return 200, {}, b""

    web.answer = answer
    bus.produce([order(number, keys) for number in range(count)])
    config = bus.configure(f'{{ http: {{ url: "{web.url}" }} }}')
    process, replay = must_come_back(run, start, bus, config, lambda: calls, count, keys, poison)
    is_bad = False
    replay()
    assert bus.letters() == []
    must_be_once_and_in_order(calls, range(count))
    process.terminate()
    assert process.wait(30) == 0


# --- trouble of the store: no attempt, and nothing lost ------------------------------------------------------------


def configure_once(bus, **options):
    """One attempt: whatever was counted as one would be a dead letter."""
    config = bus.configure(**options)
    path = bus.folder / config
    path.write_text(path.read_text().replace("max_attempts: 3", "max_attempts: 1"))
    return config


def test_the_server_is_killed_and_full(run, start, kafka, tmp_path, request):
    import psycopg2
    topic = request.node.name
    kafka.create(topic, partitions=6)
    server = new_server(max_connections=12)
    try:
        query(server.connect(), "CREATE DATABASE pay")
        database = Database(server, "pay")
        bus = Bus(kafka, database, tmp_path, topic, run)
        with open(tmp_path / "said", "w") as log:
            process = start("run", configure_once(bus), stdout=log, stderr=log)
        wait_for(lambda: "working" in (tmp_path / "said").read_text(), "it to work", 30)
        for turn in range(3):
            bus.produce([order(number, 50) for number in range(turn * 1000, turn * 1000 + 1000)])
            wait_for(lambda: database.one("SELECT count(*) FROM paid") > turn * 1000, "it to be in the middle", 60)
            server.stop("immediate")
            server.start()
            taken = []
            try:  # nobody else gets in for a while
                while len(taken) < 40:
                    taken.append(server.connect("pay"))
            except psycopg2.OperationalError:
                pass
            time.sleep(0.5)
            for connection in taken:
                connection.close()
            database.reconnect()
        wait_for(lambda: len(bus.effects()) == 3000, "all of them", 60)
        must_be_once_and_in_order(bus.effects(), range(3000))
        assert bus.letters() == [] and process.poll() is None
        said = (tmp_path / "said").read_text()
        assert "in trouble, trying again" in said and "out of trouble" in said
        database.db.close()
    finally:
        server.remove()


def test_deadlocks_and_cancelled_statements(run, start, bus):
    """It is the victim of a deadlock that is forced, then its statement is cancelled, as by statement_timeout."""
    bus.database.query("CREATE TABLE totals (name text PRIMARY KEY, n int NOT NULL)")
    bus.database.query("INSERT INTO totals VALUES ('a', 0), ('b', 0)")
    handler = ('{ sql: ["update totals set n = n + 1 where name = \'a\'", "update totals set n = n + 1 where name = \'b\'", '
               '"insert into paid (key, number, id) values (${!key}, ${!payload.number}, ${!id})"] }')
    other = bus.database.connect()
    process = start("run", configure_once(bus, handler=handler))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'onewrite' AND wait_event_type = 'Lock'"
    for turn in range(2):
        query(other, "BEGIN")
        query(other, "UPDATE totals SET n = n WHERE name = 'b'")
        bus.produce([order(number, 10) for number in range(turn * 100, turn * 100 + 100)])
        wait_for(lambda: bus.database.one(waiting), "it to wait for the row", 60)
        if turn == 0:
            query(other, "UPDATE totals SET n = n WHERE name = 'a'")  # waits for what it has; its wait began first
        else:
            assert bus.database.one("SELECT bool_or(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() "
                               "AND application_name = 'onewrite' AND wait_event_type = 'Lock'")
        query(other, "COMMIT")
        wait_for(lambda: len(bus.effects()) == turn * 100 + 100, "all of them", 60)
        assert turn or wait_for(lambda: bus.database.one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), "it", 30) == 1
    process.terminate()
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 0 and "trouble" not in said, said  # it goes by itself, on the same connection
    assert bus.letters() == [] and bus.database.query("SELECT n FROM totals") == [(200,), (200,)]
    must_be_once_and_in_order(bus.effects(), range(200))


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_serialization_failures(run, start, bus, isolation):
    """The role's transactions are of a higher isolation, and somebody else writes what they write."""
    bus.database.query("CREATE TABLE totals (name text PRIMARY KEY, n int NOT NULL)")
    bus.database.query("INSERT INTO totals VALUES ('a', 0)")
    bus.database.query(f"ALTER DATABASE {bus.database.name} SET default_transaction_isolation = '{isolation}'")
    handler = ('{ sql: ["update totals set n = n + 1 where name = \'a\'", '
               '"insert into paid (key, number, id) values (${!key}, ${!payload.number}, ${!id})"] }')
    other = bus.database.connect()
    bus.produce([order(number, 10) for number in range(300)])
    process = start("run", configure_once(bus, handler=handler, more="in_flight: 5"))
    mine = 0
    deadline = time.monotonic() + 60
    while len(bus.effects()) < 300 and time.monotonic() < deadline:
        query(other, "BEGIN ISOLATION LEVEL READ COMMITTED")
        query(other, "UPDATE totals SET n = n + 1 WHERE name = 'a'")
        time.sleep(0.02)  # so that it waits for this
        query(other, "COMMIT")
        mine += 1
        time.sleep(0.03)
    process.terminate()
    assert process.wait(30) == 0
    assert wait_for(lambda: bus.database.one("SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"), "a conflict", 30)
    assert bus.letters() == [] and bus.database.one("SELECT n FROM totals") == 300 + mine
    must_be_once_and_in_order(bus.effects(), range(300))


def test_a_letter_is_changed_and_goes_back_as_new(run, start, bus):
    """Bytes that are no text, headers of Spring's @RetryableTopic, a history of both kinds."""
    bus.database.query("CREATE TABLE seen (id text, attempts text, note bytea, payload bytea)")
    handler = ('{ sql: "insert into seen select ${!id}, ${!headers.retry_topic-attempts}, ${!headers.note}, convert_to(${!payload}, \'UTF8\')" }')
    binary = b"\xff\x00\xfe"
    bus.produce([{"headers": [("id", b"a"), ("retry_topic-attempts", b"\0\0\0\3"), ("kafka_exception-message", b"boom"), ("note", b"\0")],
                  "key": b"\xff", "value": binary},
                 {"headers": [("id", b"b")], "key": b"\xff", "value": "behind"}])
    config = bus.configure(handler)
    process = start("run", config)
    wait_for(lambda: [letter[:2] for letter in bus.letters()] == [("a", "dead"), ("b", "parked")], "its letter", 60)

    def dlq(action, *arguments, **options):
        return run("dlq", action, "--store", bus.database.url, "--consumer", "billing", *arguments, **options)

    def show():
        return json.loads(dlq("show", "a", "-o", "json").stdout)[0]

    before = show()
    assert "payload_base64" in before and before["key_base64"] == "/w==" and len(before["headers"]) == 3 + (before["headers"][0][0] == "id")
    (bus.folder / "still bad").write_bytes(b"\xc3\x28")
    dlq("edit", "a", "--payload", "still bad", "--header", "note=x=y")
    assert "is dead again" in dlq("replay", "a", "--wait", status=3).stderr
    after = show()
    assert after["replays"] == 1 and after["headers"][-1] == ["note", "x=y"] and after["payload_base64"] == "wyg="
    assert [("edited" in entry, "reason" in entry) for entry in after["history"]] == [(True, False), (False, True)]
    assert after["history"][0]["edited"]["payload_base64"] == before["payload_base64"]
    assert json.loads(after["history"][0]["edited"]["headers"]) == before["headers"]
    dlq("edit", "a", "--payload", "-", input="good")
    dlq("replay", "--where", "key~", "--where", "state=dead", "--wait")
    wait_for(lambda: not bus.letters(), "what was behind it", 30)
    rows = bus.database.query("SELECT id, attempts, note, payload FROM seen ORDER BY id DESC")
    assert [(row[0], row[1], bytes(row[3])) for row in rows] == [("b", None, b"behind"), ("a", None, b"good")] and bytes(rows[1][2]) == b"x=y"
    process.terminate()
    assert process.wait(30) == 0
