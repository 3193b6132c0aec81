# SPDX-License-Identifier: Apache-2.0
"""Consumers over the journal: each effect once, whatever is killed; retries, dead letters, parking, replay; calls."""

import json
import random
import signal
import sqlite3
import time

import pytest
from conftest import wait_for
from web import web  # noqa: F401 (a fixture)

FILL = "INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) VALUES (?, 'order', ?, 'Placed', ?)"
CONFIG = """version: 1
stores: {{ shop: "sqlite:shop.db", pay: "sqlite:pay.db" }}
brokers: {{ bus: "journal:bus.db" }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: outbox.event.order }}
    {inbox}
    handler: {handler}
    retry: {{ initial: 20ms, max: 50ms, max_attempts: 3{retry} }}
    {more}
"""
INBOX = "inbox: { store: pay }"
SQL = '{ sql: "insert into paid (number, key, id) values (${!payload.number}, ${!key}, ${!id})" }'


@pytest.fixture
def bus(run, tmp_path):
    """bus.publish([(id, key, payload), …]): into the journal; bus.pay: the store of the consumer, with a table of effects."""
    run("init", "sqlite:shop.db")
    run("init", "sqlite:pay.db")

    class Bus:
        shop = sqlite3.connect(tmp_path / "shop.db", timeout=30, isolation_level=None)
        pay = sqlite3.connect(tmp_path / "pay.db", timeout=30, isolation_level=None)

        def publish(self, messages):
            self.shop.execute("BEGIN IMMEDIATE")
            self.shop.executemany(FILL, messages)
            self.shop.execute("COMMIT")
            run("relay", "--until-end", "sqlite:shop.db", "journal:bus.db?partitions=4")

        def configure(self, handler=SQL, inbox=INBOX, more="", name="c.yaml", retry=""):
            (tmp_path / name).write_text(CONFIG.format(handler=handler, inbox=inbox, more=more, retry=retry))
            run("validate", name)
            return name

        def effects(self):
            return self.pay.execute("SELECT key, number, id FROM paid ORDER BY rowid").fetchall()

        def letters(self):
            return self.pay.execute("SELECT id, state, class, attempts FROM onewrite_dead_letter ORDER BY number").fetchall()

    Bus.pay.execute("CREATE TABLE paid (number INTEGER, key TEXT, id TEXT)")
    return Bus()


def orders(count, keys=7):
    return [(f"order-{i}", f"k{i % keys}", json.dumps({"number": i})) for i in range(count)]


def in_order(effects):
    last = {}
    for key, number, _ in effects:
        if number < last.get(key, -1):
            return False
        last[key] = number
    return True


def test_effects_once_and_in_order(run, bus):
    bus.publish(orders(500))
    done = run("run", "--until-end", bus.configure())
    assert "handled=500 repeated=0 set_aside=0" in done.stderr
    effects = bus.effects()
    assert sorted(number for _, number, _ in effects) == list(range(500)) and in_order(effects)
    assert bus.pay.execute("SELECT count(*) FROM onewrite_inbox WHERE consumer = 'billing' AND state = 'handled'").fetchone() == (500,)
    assert "handled=0" in run("run", "--until-end", "c.yaml").stderr


def test_repeats_are_known_by_their_id(run, bus):
    first = orders(50)
    repeats = [message for message in first for _ in range(9)]
    random.Random(1).shuffle(repeats)
    for messages in (first, repeats):  # the outbox takes an id as often as it is given
        bus.publish(messages)
    done = run("run", "--until-end", bus.configure())
    assert "handled=50 repeated=450" in done.stderr
    assert sorted(number for _, number, _ in bus.effects()) == list(range(50)) and in_order(bus.effects())


@pytest.mark.parametrize("label", ["consumer.after-claim", "consumer.before-commit", "consumer.after-commit", "consumer.before-settle"])
def test_killed_in_the_transaction(run, bus, label):
    bus.publish(orders(300))
    config = bus.configure()
    for n in (1, 2):
        done = run("run", "--until-end", config, status=None, env={"ONEWRITE_CRASH": f"{label}:{n}"})
        assert done.returncode == -signal.SIGKILL
    run("run", "--until-end", config)
    assert sorted(number for _, number, _ in bus.effects()) == list(range(300)) and in_order(bus.effects())


def test_killed_at_random(start, run, bus, is_long):
    config, dice, published = bus.configure(), random.Random(7), 0
    for _ in range(100 if is_long else 8):
        bus.publish([(f"order-{i}", f"k{i % 7}", json.dumps({"number": i})) for i in range(published, published + 40)])
        published += 40
        process = start("run", config)
        time.sleep(dice.random() * 0.4)
        process.kill()
        process.wait()
    run("run", "--until-end", config)
    assert sorted(number for _, number, _ in bus.effects()) == list(range(published)) and in_order(bus.effects())


def test_one_poisonous_message(run, bus):
    """The others of its batch are handled, what is behind it in its key is parked, and follows it when it is replayed."""
    messages = orders(200)
    messages[50] = ("order-50", "k1", '{"number": 50, "bad": 1}')
    bus.pay.execute("CREATE TRIGGER no AFTER INSERT ON paid WHEN NEW.number = 50 BEGIN SELECT RAISE(ABORT, 'no'); END")
    bus.publish(messages)
    done = run("run", "--until-end", bus.configure(more="dead_letter: { store: pay }"))
    behind = [number for number in range(51, 200) if number % 7 == 1]
    assert bus.letters()[0] == ("order-50", "dead", "constraint failed", 3)
    assert [(identity, state) for identity, state, _, _ in bus.letters()[1:]] == [(f"order-{n}", "parked") for n in behind]
    assert f"handled={200 - 1 - len(behind)} " in done.stderr
    assert not {50, *behind} & {number for _, number, _ in bus.effects()}
    bus.pay.execute("DROP TRIGGER no")
    bus.pay.execute("UPDATE onewrite_dead_letter SET state = 'queued' WHERE state = 'dead'")
    bus.publish([("late", "k1", '{"number": 1000}')])  # comes while its key is still blocked, or after
    replaying = run("run", "--until-end", "c.yaml", status=None)
    deadline = time.monotonic() + 20
    while bus.letters() and time.monotonic() < deadline:
        replaying = run("run", "--until-end", "c.yaml")
    assert bus.letters() == [], replaying.stderr
    effects = bus.effects()
    assert sorted(number for _, number, _ in effects) == [*range(200), 1000] and in_order(effects)


def test_skip_lets_the_key_go_on(run, bus):
    messages = orders(20, keys=1)
    messages[3] = ("order-3", "k0", "no JSON")
    bus.publish(messages)
    run("run", "--until-end", bus.configure(more="dead_letter: { store: pay, then: skip }"))
    assert bus.letters() == [("order-3", "dead", "bad message", 1)]
    assert [number for _, number, _ in bus.effects()] == [n for n in range(20) if n != 3]


def test_offsets_in_the_inbox(run, bus, tmp_path):
    """A group that begins at the end goes on from where its inbox has it, also when more has come meanwhile."""
    bus.publish(orders(10))
    config = tmp_path / bus.configure()
    text = config.read_text()
    for start, count in (("beginning", 10), ("end", 30)):
        config.write_text(text.replace("topics: outbox.event.order", f"topics: outbox.event.order, start: {start}, offsets: inbox"))
        run("run", "--until-end", config)
        assert sorted(number for _, number, _ in bus.effects()) == list(range(count))
        bus.publish(orders(30)[10:])


def test_without_dead_letters_it_is_tried_for_ever(start, bus):
    bus.publish([("order-0", "k0", "no JSON"), ("order-1", "k1", '{"number": 1}')])
    process = start("run", bus.configure())
    wait_for(lambda: [number for _, number, _ in bus.effects()] == [1], "the message of the other key")
    time.sleep(0.3)
    assert process.poll() is None and bus.letters() == []


# --- calls -------------------------------------------------------------------------------------------------------


def test_calls(run, bus, web):
    bus.publish(orders(60))
    handler = f'{{ http: {{ url: "{web.url}", headers: {{ Authorization: "Bearer t" }}, secret: "whsec_c2VjcmV0" }} }}'
    assert "handled=60" in run("run", "--until-end", bus.configure(handler)).stderr
    assert sorted(json.loads(body)["number"] for _, body in web.calls) == list(range(60))
    headers, body = web.calls[0]
    number = json.loads(body)["number"]
    assert headers["Idempotency-Key"] == headers["ce-id"] == headers["webhook-id"] == f"order-{number}"
    assert headers["Authorization"] == "Bearer t" and headers["Content-Type"] == "application/json"
    assert headers["ce-source"] == "outbox.event.order" and headers["ce-type"] == "Placed" and headers["ce-specversion"] == "1.0"
    import base64
    import hashlib
    import hmac
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.new(b"secret", signed, hashlib.sha256).digest()).decode()
    by_key = {}
    for headers, body in web.calls:
        by_key.setdefault(headers["ce-partitionkey"], []).append(json.loads(body)["number"])
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


@pytest.mark.parametrize("answer, attempts, reason", [
    ((400, {}, b"no such field"), 1, "answered 400: no such field"),
    ((503, {}, b""), 3, "answered 503"),
    ((302, {"Location": "/elsewhere"}, b""), 1, "a redirect, which is not followed"),
    (None, 3, ""),
    ((200, {"Content-Length": "10"}, b"short"), 3, ""),
])
def test_answers(run, bus, web, answer, attempts, reason):
    def give(request):
        return answer if b'"number": 3}' in request[1] else (204, {}, b"")
    web.answer = give
    bus.publish(orders(10))
    run("run", "--until-end", bus.configure(f'{{ http: {{ url: "{web.url}", timeout: 500ms }} }}', more="dead_letter: { store: pay }"))
    (identity, state, _, tried), *parked = bus.letters()
    assert (identity, state, tried) == ("order-3", "dead", attempts) and parked == []
    assert reason in bus.pay.execute("SELECT reason FROM onewrite_dead_letter").fetchone()[0]
    # A connection that was kept and is closed without a word is tried anew by libcurl, with the same key.
    assert len(web.calls) == 9 + attempts if answer else len(web.calls) >= 9 + attempts


@pytest.mark.parametrize("never, attempts", [("[http 503]", 1), ("[timeout, http 5xx]", 1), ("[http 4xx]", 3)])
def test_classes_that_are_never_tried_again(run, bus, web, never, attempts):
    web.answer = lambda request: (503, {}, b"")
    bus.publish(orders(1))
    config = bus.configure(f'{{ http: {{ url: "{web.url}" }} }}', more="dead_letter: { store: pay }", retry=f", never: {never}")
    run("run", "--until-end", config)
    assert bus.letters() == [("order-0", "dead", "http 503", attempts)] and len(web.calls) == attempts


@pytest.mark.parametrize("order, key", [("none", "k0"), ("key", None)])
def test_what_is_in_flight_is_not_called_twice(run, bus, web, order, key):
    """Repeats come while the first one is being called for: they wait, and are known then."""
    def answer(request):
        time.sleep(0.5)  # it is slow, which is what this is about
        return 200, {}, b""

    web.answer = answer
    lines = "".join(json.dumps({"topic": "outbox.event.order", "id": f"order-{i % 2}", "key": key, "value": "{}"}) + "\n" for i in range(8))
    run("publish", "journal:bus.db?partitions=4", "--jsonl", input=lines)
    done = run("run", "--until-end", bus.configure(f'{{ http: {{ url: "{web.url}" }} }}', more=f"order: {order}"))
    assert "handled=2 repeated=6" in done.stderr
    assert sorted(headers["Idempotency-Key"] for headers, _ in web.calls) == ["order-0", "order-1"]


@pytest.mark.parametrize("label", ["consumer.after-call", "consumer.before-record", "consumer.after-record"])
def test_killed_around_a_call(run, bus, web, label):
    bus.publish(orders(30))
    config = bus.configure(f'{{ http: {{ url: "{web.url}" }} }}')
    done = run("run", "--until-end", config, status=None, env={"ONEWRITE_CRASH": f"{label}:3"})
    assert done.returncode == -signal.SIGKILL
    run("run", "--until-end", config)
    keys = [headers["Idempotency-Key"] for headers, _ in web.calls]
    assert {*keys} == {f"order-{n}" for n in range(30)}
    assert bus.pay.execute("SELECT count(*) FROM onewrite_inbox").fetchone() == (30,)


def test_dead_letters_go_to_a_topic(run, bus, web):
    web.answer = lambda request: (400, {}, b"never") if b'"number": 3}' in request[1] else (200, {}, b"")
    bus.publish(orders(10))
    run("run", "--until-end", bus.configure(f'{{ http: {{ url: "{web.url}" }} }}', more='dead_letter: { topic: "${!topic}-dlt" }'))
    text = run("tail", "journal:bus.db", "--topic", "outbox.event.order-dlt", "--from", "beginning", "--until-end", "-o", "jsonl").stdout
    letter, = map(json.loads, text.splitlines())
    assert letter["id"] == "order-3" and letter["key"] == "k3" and json.loads(letter["value"])["number"] == 3
    assert letter["headers"]["kafka_dlt-original-topic"] == "outbox.event.order"
    assert "answered 400: never" in letter["headers"]["kafka_dlt-exception-message"]


@pytest.mark.parametrize("store", [True, False])
def test_a_letter_that_its_topic_cannot_have(start, run, bus, store, tmp_path):
    """Of what is no JSON the template makes no topic: that ends nothing, and the others go on."""
    bus.publish([("bad", "k0", "no JSON"), *orders(5)[1:]])
    config = bus.configure(more='dead_letter: { topic: "${!payload.kind}-dlt"' + (", store: pay }" if store else " }"))
    if store:
        run("run", "--until-end", config)
        assert bus.letters() == [("bad", "dead", "bad message", 1)]
    else:
        with open(tmp_path / "said", "w") as said:
            process = start("run", config, stderr=said)
        wait_for(lambda: "the dead letter of message bad was not accepted" in (tmp_path / "said").read_text(), "the line")
        wait_for(lambda: len(bus.effects()) == 4, "the others")
        assert process.poll() is None
    assert sorted(number for _, number, _ in bus.effects()) == [1, 2, 3, 4]


def test_mistakes_are_found(run, tmp_path):
    def wrong(text):
        (tmp_path / "c.yaml").write_text(text)
        return run("validate", "c.yaml", status=78).stderr
    def base_format(**parts):
        return CONFIG.format(**{"inbox": INBOX, "more": "", "retry": "", **parts})
    assert "an sql handler works in the transaction of an inbox" in wrong(base_format(inbox="", handler=SQL))
    assert "to park messages takes a store" in wrong(base_format(inbox=INBOX, handler=SQL, more="dead_letter: { then: park }"))
    assert "names no handler" in wrong(base_format(inbox=INBOX, handler="{}"))
    assert "within quotes" in wrong(base_format(inbox=INBOX, handler="{ sql: \"select '${!key}'\" }"))
    assert "no such field" in wrong(base_format(inbox=INBOX, handler='{ sql: "select ${!kee}" }'))
    assert "not a URL" in wrong(base_format(inbox=INBOX, handler='{ http: { url: "ftp://x" } }'))
    call = '{ http: { url: "http://x/" } }'
    assert "consumers[0].id: has no field in it" in wrong(base_format(handler=SQL, more='id: "abc"'))
    for topic in ("outbox.event.order", "${!topic}"):
        assert "dead_letter.topic: is what this consumer reads" in wrong(base_format(handler=SQL, more=f'dead_letter: {{ topic: "{topic}" }}'))
    kafka = base_format(handler=SQL, more='dead_letter: { topic: "a b" }').replace("journal:bus.db", "kafka://h:1")
    assert '"a b" is no name of a topic' in wrong(kafka)
    assert 'from.topics: "outbox*" is no name of a topic' in wrong(kafka.replace("outbox.event.order", '"outbox*"'))
    assert '"A B" is no name of a header' in wrong(base_format(handler='{ http: { url: "http://x/", headers: { "A B": x } } }'))
    assert '"htp 409" is no class of an http handler' in wrong(base_format(handler=call, retry=', never: ["htp 409"]'))
    assert '"http x" is no class of an http handler' in wrong(base_format(handler=call, retry=', never: ["http x"]'))
    assert 'retry.never: "23505" is no class of an http handler' in wrong(base_format(handler=call, retry=', never: [http 4xx, "23505"]'))
    postgres = base_format(handler="{ sql: select 1 }", retry=", never: [23xxx, sqlstate 23]").replace("sqlite:pay.db", "postgres://localhost/pay")
    assert '"sqlstate 23" is no class of an sql handler; write the five characters' in wrong(postgres)
    assert 'there is no store "pey"; did you mean "pay"?' in wrong(base_format(inbox="inbox: { store: pey }", handler=SQL))


# --- the way back --------------------------------------------------------------------------------------------------


def test_dlq(run, start, bus, tmp_path):
    """list, show, edit, replay and discard of a consumer's letters."""
    messages = orders(30, keys=5)
    for n in (3, 11, 14):
        messages[n] = (f"order-{n}", f"k{n % 5}", "no JSON")
    bus.publish(messages)
    config = bus.configure(more="dead_letter: { store: pay }")
    run("run", "--until-end", config)

    def dlq(action, *arguments, **options):
        return run("dlq", action, "--config", config, "--consumer", "billing", *arguments, **options)

    def listed(*where):
        return json.loads(dlq("list", *where, "-o", "json").stdout)

    letters = listed()
    assert {letter["id"] for letter in letters if letter["state"] == "dead"} == {"order-3", "order-11", "order-14"}
    assert len(letters) == 6 + 4 + 4 and {letter["source"] for letter in letters} == {"consumer/billing"}
    assert listed("--where", "state=parked", "--where", "key=k3")[0]["id"] == "order-8"
    assert "has no consumer" in run("dlq", "list", "--config", config, "--consumer", "bilin", status=2).stderr
    assert run("dlq", "list", "--store", "sqlite:pay.db", "--consumer", "other").stdout == ""
    assert "parked and not dead" in dlq("edit", "order-8", "--payload", "-", input="{}", status=1).stderr
    assert "behind number" in dlq("replay", "order-8", status=3).stderr

    # Without a change they fail again; --dry-run changes nothing.
    dlq("replay", "--all", "--dry-run")
    assert {letter["state"] for letter in listed()} == {"dead", "parked"}
    assert "does the consumer run?" in dlq("replay", "order-3", "--wait", "--timeout", "300ms", status=3).stderr
    assert [letter["state"] for letter in listed("--where", "id=order-3")] == ["queued"]
    assert "on its way" in dlq("edit", "order-3", "--payload", "-", input="{}", status=1).stderr
    process = start("run", config)
    wait_for(lambda: listed("--where", "id=order-3")[0]["state"] == "dead", "it to be dead again")
    assert "is dead again" in dlq("replay", "--all", "--wait", status=3).stderr
    assert {letter["id"]: letter["replays"] for letter in listed("--where", "state=dead")} == {"order-3": 2, "order-11": 1, "order-14": 1}
    assert "was put back 2 times" in dlq("replay", "--all", "--max-replays", "2", status=3).stderr
    wait_for(lambda: not listed("--where", "state=queued"), "the other one to come back")

    # Changed, they and all that is behind them are handled, in the order of each key.
    for n in (3, 11):
        dlq("edit", f"order-{n}", "--payload", "-", "--header", "edited=yes", input=json.dumps({"number": n}))
    shown, = json.loads(dlq("show", "order-3", "-o", "json").stdout)
    assert shown["payload"] == '{"number": 3}' and shown["history"][-1]["edited"]["payload"] == "no JSON" and ["edited", "yes"] in shown["headers"]
    done = dlq("replay", "--all", "--force", "--wait", status=3)
    assert [(letter["id"], letter["state"]) for letter in listed()][0] == ("order-14", "dead") and len(listed()) == 4, done.stderr
    dlq("discard", "order-14")
    wait_for(lambda: not listed(), "what was parked behind it to follow")
    process.terminate()
    assert process.wait(20) == 0
    effects = bus.effects()
    assert sorted(number for _, number, _ in effects) == [n for n in range(30) if n != 14] and in_order(effects)


def test_until_end_with_relays_and_consumers_in_one_file(run, bus, tmp_path):
    """The consumer ends when everything that the relay had to publish is handled, not when the topic was empty for once."""
    bus.shop.execute("BEGIN IMMEDIATE")
    bus.shop.executemany(FILL, orders(3000))
    bus.shop.execute("COMMIT")
    config = bus.configure()
    text = (tmp_path / config).read_text()
    (tmp_path / config).write_text(text + "relays:\n  - name: orders\n    from: { store: shop }\n    to: { broker: bus }\n")
    assert "handled=3000 repeated=0" in run("run", "--until-end", config).stderr
    assert "handled=0 " in run("run", "--until-end", config).stderr


def test_a_record_of_a_dead_letter_topic_is_sent_back(run, bus):
    """As docs/dead-letters.md says; the inbox has not kept it from coming again."""
    messages = orders(5)
    messages[2] = ("order-2", "k2", '{"number": "two"}')
    bus.pay.execute("CREATE TRIGGER no BEFORE INSERT ON paid WHEN typeof(NEW.number) <> 'integer' BEGIN SELECT RAISE(ABORT, 'no'); END")
    bus.publish(messages)
    config = bus.configure(more='dead_letter: { topic: "orders.DLT" }')
    run("run", "--until-end", config)
    assert [number for _, number, _ in bus.effects()] != [] and len(bus.effects()) == 4
    bus.pay.execute("DROP TRIGGER no")
    lines = run("tail", "journal:bus.db", "--topic", "orders.DLT", "--group", "orders.DLT-back", "--until-end", "-o", "jsonl").stdout
    record = json.loads(lines)
    assert record["id"] == "order-2" and "kafka_dlt-exception-message" in record["headers"]
    record["headers"] = {name: value for name, value in record["headers"].items() if not name.startswith("kafka_")}
    run("publish", "journal:bus.db", "--topic", "outbox.event.order", "--jsonl", input=json.dumps(record) + "\n")
    assert "handled=1 " in run("run", "--until-end", config).stderr
    assert sorted(str(number) for _, number, _ in bus.effects()) == ["0", "1", "3", "4", "two"]
