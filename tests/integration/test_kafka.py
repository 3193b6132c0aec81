# SPDX-License-Identifier: Apache-2.0
"""Publishing to a real Apache Kafka: what arrives, in which order, and what happens when something breaks."""

import json
import random
import signal
import sqlite3
import subprocess
import time

import pytest
from conftest import wait_for
from oracle import Shop, Verdict, compare
from test_kill import Writer

ALL_RIGHT = Verdict(0, 0, 0, 0)
WINDOW = 50


@pytest.fixture
def shop(run, tmp_path):
    run("init", "sqlite:shop.db")
    return Shop(tmp_path / "shop.db")


def url(kafka, options=""):
    return f"kafka://{kafka.bootstrap}{options}"


def configuration(tmp_path, kafka, topic, broker="", retry="{ initial: 10ms, max: 50ms, max_attempts: 3 }"):
    (tmp_path / "onewrite.yaml").write_text(
        "version: 1\nstores: { shop: sqlite:shop.db }\n"
        f"brokers:\n  bus: {{ url: 'kafka://{kafka}'{broker} }}\n"
        f"relays:\n- {{ name: orders, from: {{ store: shop }}, to: {{ broker: bus, topic: {topic} }}, retry: {retry} }}\n")
    return "onewrite.yaml"


def end(process):
    """Ends it, well; gives what it said, which a failing assertion then shows."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, process.stderr.read()
    return process.stderr.read()


def test_commit_order_and_no_ghosts(run, shop, kafka, topic):
    for i in range(200):
        shop.place(orders=1 + i % 7, rolled_back=i % 9 == 0)
    run("relay", "--until-end", "--topic", topic, "sqlite:shop.db", url(kafka))
    records = kafka.records(topic)
    assert compare(shop.truth(), records) == ALL_RIGHT
    assert shop.waiting() == 0
    assert len({r["partition"] for r in records}) > 1, "keys are spread"


def test_a_key_has_the_partition_that_java_would_give_it(run, shop, kafka, topic):
    """The journal counts as Java does (its own tests have Java's numbers), so the two must agree."""
    shop.customers = 50
    shop.place(orders=50)
    run("relay", "--until-end", "--topic", topic, "sqlite:shop.db?after=mark", "journal:bus.db?partitions=3")
    shop.db.execute("UPDATE onewrite_outbox SET accepted_at = NULL")
    run("relay", "--until-end", "--topic", topic, "sqlite:shop.db", url(kafka))
    lines = run("tail", "journal:bus.db", "--topic", topic, "--from", "beginning", "--until-end", "-o", "jsonl").stdout.splitlines()
    assert {(r["key"], r["partition"]) for r in kafka.records(topic)} == {(r["key"], r["partition"]) for r in map(json.loads, lines)}


def test_a_producer_in_java_chooses_the_same_partition(run, kafka, tmp_path, topic):
    kafka.create(topic, partitions=11)
    dice = random.Random(5)
    keys = ["é", "x", "", *("".join(dice.choice("aäb0-€𝄞 /") for _ in range(dice.randint(1, 40))) for _ in range(200))]
    run("init", "sqlite:shop.db")
    with sqlite3.connect(tmp_path / "shop.db") as db:
        for i, key in enumerate(keys):
            db.execute("INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) VALUES (?, 'order', ?, 'T', '')", (f"ours-{i}", key))
    run("relay", "--until-end", "--topic", topic, "sqlite:shop.db", url(kafka))
    lines = "".join(f"id:theirs-{i}\t{key}|\n" for i, key in enumerate(keys))
    kafka.java("-Dfile.encoding=UTF-8", "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", kafka.bootstrap, "--topic", topic,
               "--property", "parse.key=true", "--property", "parse.headers=true", "--property", "key.separator=|", input=lines.encode())
    records = kafka.records(topic)
    ours, theirs = ({(r["key"], r["partition"]) for r in records if r["id"].startswith(who)} for who in ("ours", "theirs"))
    assert ours == theirs and len(ours) == len(set(keys))


def test_bytes_pass_through_verbatim(run, kafka, tmp_path, topic):
    payloads = [None, b"", b"\0\xff\r\n\"\\", '{ "n": 12345678901234567890.10, "s": "ü" }'.encode()]
    run("init", "sqlite:shop.db")
    with sqlite3.connect(tmp_path / "shop.db") as db:
        for i, payload in enumerate(payloads):
            db.execute("INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload, headers) VALUES (?, 'order', 'ü 1', 'T', ?, ?)",
                       (f"id-{i}", payload, '{"z": "1", "a": "ü", "id": "second", "none": null}' if i == 3 else None))
    before = time.time() * 1000
    run("relay", "--until-end", "--topic", topic, "sqlite:shop.db", url(kafka))
    records = kafka.records(topic)
    assert [r["value"] for r in records] == payloads
    assert {r["key"] for r in records} == {"ü 1"}
    assert records[0]["headers"] == [("id", b"id-0")], "the id, and not the type"
    assert records[3]["headers"] == [("id", b"id-3"), ("z", b"1"), ("a", "ü".encode()), ("id", b"second"), ("none", None)]
    assert all(r["time"] >= before - 1000 for r in records), "the time of writing"


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_compressions(run, shop, kafka, topic, compression):
    shop.place(orders=100)
    run("relay", "--until-end", "--topic", topic, "sqlite:shop.db", url(kafka, f"?compression={compression}&linger=5ms"))
    assert compare(shop.truth(), kafka.records(topic)) == ALL_RIGHT


def test_topics_are_made_as_asked(run, start, shop, kafka, tmp_path, topic):
    shop.place(orders=3)
    options = ", topics: { partitions: 5, replication: 1, config: { cleanup.policy: compact } }"
    relay = start("run", configuration(tmp_path, kafka.bootstrap, topic, options))
    wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
    end(relay)
    assert len(kafka.topics()[topic].partitions) == 5


def test_a_topic_that_is_not_there_and_not_made(start, shop, kafka, tmp_path, topic):
    shop.place(orders=3)
    relay = start("run", configuration(tmp_path, kafka.bootstrap, topic, ", topics: { create: false }, properties: { topic.metadata.propagation.max.ms: 100 }"))
    wait_for(lambda: len(shop.dead_letters()) == 3, "dead letters")
    end(relay)
    assert topic not in kafka.topics()
    assert shop.dead_letters()[0][1] == f"topic {topic} does not exist"


def test_a_topic_that_comes_late(start, shop, kafka, tmp_path, topic):
    """Order holds for those that have failed for want of it and those that come after."""
    relay = start("run", configuration(tmp_path, kafka.bootstrap, topic, ", topics: { create: false }, properties: { topic.metadata.propagation.max.ms: 100 }",
                                       "{ initial: 10ms, max: 50ms }"))
    writer = Writer(tmp_path / "shop.db")
    time.sleep(1.5)
    kafka.create(topic)
    time.sleep(1)
    writer.stop()
    wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
    end(relay)
    assert compare(shop.truth(), kafka.records(topic)) == ALL_RIGHT


def test_a_topic_that_cannot_be_called_so(run, shop, kafka):
    shop.place(orders=2)
    run("relay", "--until-end", "--topic", "what a ${!aggregatetype}", "sqlite:shop.db", url(kafka))
    assert [reason for _, reason in shop.dead_letters()] == ['the topic "what a order" has other characters than A-Z a-z 0-9 . _ -'] * 2


def test_a_topic_that_asks_for_too_much(start, shop, kafka, tmp_path, topic):
    shop.place(orders=1)
    relay = start("run", configuration(tmp_path, kafka.bootstrap, topic, ", topics: { replication: 3 }"))
    wait_for(lambda: len(shop.dead_letters()) == 1, "a dead letter")
    end(relay)
    assert "could not be made" in shop.dead_letters()[0][1]


def test_too_large_for_the_topic(run, shop, kafka, topic):
    """Kafka refuses a whole request for one message in it. Only that one is set aside, and order holds."""
    kafka.create(topic, max_message_bytes=3000)
    for i in range(300):
        shop.place()
        if i in (100, 101, 250):
            shop.db.execute("INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) VALUES (?, 'order', 'customer-1', 'T', ?)",
                            (f"large-{i}", random.Random(i).randbytes(5000)))
    run("relay", "--until-end", "--topic", topic, "sqlite:shop.db", url(kafka, "?compression=none"))
    assert [identity for identity, _ in shop.dead_letters()] == ["large-100", "large-101", "large-250"]
    assert "too large" in shop.dead_letters()[0][1]
    records = kafka.records(topic)
    verdict = compare(shop.truth(), records)
    assert verdict[:3] == (0, 0, 0), verdict


def test_requests_become_as_small_as_the_topic_wants(run, shop, kafka, topic):
    """Nothing is wrong with any of them, but together they are too large."""
    kafka.create(topic, max_message_bytes=1000)
    shop.place(orders=1000)
    run("relay", "--until-end", "--topic", topic, "sqlite:shop.db", url(kafka, "?compression=none"))
    assert shop.dead_letters() == []
    assert compare(shop.truth(), kafka.records(topic))[:3] == (0, 0, 0)


def test_kill(onewrite_release, shop, kafka, is_long, tmp_path, topic):
    kills, dice, really = 200 if is_long else 12, random.Random(7), 0
    writer = Writer(tmp_path / "shop.db")
    command = [onewrite_release, "-q", "relay", "--window-messages", str(WINDOW), "--topic", topic]
    while really < kills:
        process = subprocess.Popen([*command, "sqlite:shop.db", url(kafka)], cwd=tmp_path)
        time.sleep(0.05 + dice.random() * 0.25)
        process.kill()
        really += process.wait() == -signal.SIGKILL
    writer.stop()
    subprocess.run([*command, "--until-end", "sqlite:shop.db", url(kafka)], cwd=tmp_path, check=True, timeout=120)
    verdict = compare(shop.truth(), kafka.records(topic))
    assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= kills * WINDOW, verdict
    assert len(shop.truth()) > kills


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_broker_goes_and_comes_back(start, shop, kafka, is_long, tmp_path, topic, how):
    relay = start("relay", "--topic", topic, "sqlite:shop.db", url(kafka))
    writer = Writer(tmp_path / "shop.db")
    time.sleep(0.5)
    kafka.stop(how)
    time.sleep(60 if is_long else 2)
    kafka.start()
    time.sleep(0.5)
    writer.stop()
    wait_for(lambda: shop.waiting() == 0, "the outbox to be empty", 40)
    said = end(relay)
    assert shop.dead_letters() == []
    verdict = compare(shop.truth(), kafka.records(topic))
    # What librdkafka loses count of, where a broker was killed, is sent again: one window at most.
    assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= (10000 if how == signal.SIGKILL else 0), (verdict, said)


def test_cut_connections(start, shop, kafka, is_long, tmp_path, topic):
    proxy, address = kafka.proxied()
    with proxy:
        relay = start("relay", "--topic", topic, "sqlite:shop.db", f"kafka://{address}")
        writer = Writer(tmp_path / "shop.db")
        cut, rounds = 0, 100 if is_long else 10
        for i in range(20 * rounds):
            if i >= rounds and cut > 3:  # where all else is slow there is less to cut
                break
            time.sleep(0.15)
            proxy.delay = 0.005 * (i % 3)
            if i % 5 == 4:
                proxy.half_close()
            else:
                cut += proxy.cut()
        proxy.delay = 0
        writer.stop()
        wait_for(lambda: shop.waiting() == 0, "the outbox to be empty", 40)
        said = end(relay)
    assert cut > 3, "connections were really cut"
    assert shop.dead_letters() == []
    verdict = compare(shop.truth(), kafka.records(topic))
    assert verdict == ALL_RIGHT, said  # what a broker has, it knows by its sequence number


def test_a_broker_that_is_away_is_named_once(start, shop, kafka, tmp_path, topic):
    """Everything waits, and one line says for what."""
    log = tmp_path / "log"
    proxy, address = kafka.proxied()
    with proxy:
        start("relay", "--topic", topic, "sqlite:shop.db", f"kafka://{address}", stderr=open(log, "w"))
        shop.place(orders=1)
        wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
    shop.place(orders=1)
    wait_for(lambda: "cannot reach" in log.read_text(), "the line")
    time.sleep(1)
    assert log.read_text().count("in trouble") == 1 and shop.waiting() == 1


def test_a_broker_that_does_not_answer(start, shop, kafka, tmp_path, topic):
    """Stalled for a while, then well again: everything waits, nothing is set aside."""
    proxy, address = kafka.proxied()
    with proxy:
        relay = start("relay", "--topic", topic, "sqlite:shop.db", f"kafka://{address}")
        shop.place(orders=10)
        wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
        proxy.is_stalled = True
        shop.place(orders=10)
        time.sleep(1.5)
        assert shop.waiting() == 10
        proxy.is_stalled = False
        wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
        said = end(relay)
    assert compare(shop.truth(), kafka.records(topic)) == ALL_RIGHT and shop.dead_letters() == [], said


# --- who may come in ----------------------------------------------------------------------------------------


def secure(kafka, password="ow-secret", ca=None):
    return f", tls: {{ ca: '{ca or kafka.ca}' }}, sasl: {{ mechanism: plain, username: ow, password: '{password}' }}"


def test_tls_and_password(run, start, shop, kafka, tmp_path, topic):
    shop.place(orders=5)
    config = configuration(tmp_path, kafka.secure, topic, secure(kafka))
    run("check", config)
    relay = start("run", config)
    wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
    end(relay)
    assert compare(shop.truth(), kafka.records(topic)) == ALL_RIGHT


def test_a_password_from_a_file(run, kafka, tmp_path, shop, topic):
    (tmp_path / "secret").write_text("ow-secret\n")
    run("check", configuration(tmp_path, kafka.secure, topic, f", tls: {{ ca: '{kafka.ca}' }}, sasl: {{ mechanism: plain, username: ow, password_file: secret }}"))


def test_a_wrong_password(run, kafka, shop, tmp_path, topic):
    config = configuration(tmp_path, kafka.secure, topic, secure(kafka, "not-it"))
    for command in ("check", "run"):
        said = run(command, config, status=77).stderr
        assert "does not let us in" in said and "not-it" not in said


def test_a_certificate_of_somebody_else(run, kafka, shop, tmp_path, topic):
    said = run("check", configuration(tmp_path, kafka.secure, topic, secure(kafka, ca=kafka.other_ca)), status=69).stderr
    assert "certificate" in said


def test_nobody_there(run, shop):
    started = time.monotonic()
    said = run("relay", "sqlite:shop.db", "kafka://127.0.0.1:9", status=69).stderr
    assert said == ("onewrite: cannot reach kafka://127.0.0.1:9: 127.0.0.1:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: "
                    "Connection refused\n")
    assert time.monotonic() - started < 6


# --- exactly once -------------------------------------------------------------------------------------------


def test_exactly_once_is_not_for_polling(run, kafka, shop, tmp_path):
    said = run("relay", "--exactly-once", "sqlite:shop.db", url(kafka), status=2).stderr
    assert said.count("\n") == 1 and "by log" in said
    assert "by log" in run("validate", configuration(tmp_path, kafka.bootstrap, "t", ", delivery: exactly_once"), status=78).stderr


@pytest.fixture(scope="session")
def publisher(onewrite):
    """Publishes the numbers from 1 on in transactions, beginning behind the position that Kafka has."""
    path = onewrite.parent / "tests" / "kafka_publisher"
    assert path.is_file(), f"{path} is missing; run ./dev test"
    return path


def numbers(kafka, topic):
    return [int(r["id"]) for r in kafka.records(topic)]  # it has one partition


def test_exactly_once_under_kill(publisher, kafka, is_long, topic):
    """Killed at any moment, for a reader of committed records every number is there once, and in order."""
    kafka.create(topic, partitions=1)
    last, dice = 20000 if is_long else 3000, random.Random(3)
    for _ in range(100 if is_long else 6):
        process = subprocess.Popen([publisher, kafka.bootstrap, topic, topic, str(last), "100"], stdout=subprocess.PIPE)
        time.sleep(0.1 + dice.random() * 0.8)
        process.kill()
        process.wait()
    subprocess.run([publisher, kafka.bootstrap, topic, topic, str(last), "100"], check=True, timeout=60, stdout=subprocess.DEVNULL)
    assert numbers(kafka, topic) == list(range(1, last + 1))


def test_the_one_who_was_overtaken_stops(publisher, kafka, topic):
    """A second one of the same source fences the first, which says so and ends with the status of standing by."""
    kafka.create(topic, partitions=1)
    first = subprocess.Popen([publisher, kafka.bootstrap, topic, topic, "100", "10", "50"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "10\n"
    subprocess.run([publisher, kafka.bootstrap, topic, topic, "100", "10"], check=True, timeout=60, stdout=subprocess.DEVNULL)
    assert first.wait(30) == 69
    assert "another relay of the same source" in first.stderr.read()
    assert numbers(kafka, topic) == list(range(1, 101))


def test_a_transaction_with_one_that_is_too_large(publisher, kafka, topic):
    kafka.create(topic, partitions=1, max_message_bytes=30000)
    done = subprocess.run([publisher, kafka.bootstrap, topic, topic, "100", "20", "0", "50"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "50 refused" in done.stderr
    assert numbers(kafka, topic) == [n for n in range(1, 101) if n != 50]


def test_positions_without_transactions(publisher, kafka, topic):
    """record_position(): what was recorded last comes back, also from another process, and where somebody who had been stopped puts an
    older one in one of its places; forgotten, it is gone from all of them."""
    kafka.create(topic, partitions=1)
    done = subprocess.run([publisher, "--record", kafka.bootstrap, topic, topic], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["none", "7/3", "9", "9", "none"]


def test_positions_of_a_transaction_are_forgotten_beside_every_topic(publisher, kafka, topic):
    """A group has a position beside each topic that a transaction began with."""
    for name in (topic, topic + "-other"):
        kafka.create(name, partitions=1)
    for name, last in ((topic + "-other", "5"), (topic, "6")):
        subprocess.run([publisher, kafka.bootstrap, name, topic, last, "5"], check=True, timeout=60, stdout=subprocess.DEVNULL)
    done = subprocess.run([publisher, "--record", kafka.bootstrap, topic, topic], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["6", "7/3", "9", "9", "none"]
