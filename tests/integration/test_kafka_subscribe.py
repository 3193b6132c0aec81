# SPDX-License-Identifier: Apache-2.0
"""Reading from a real Kafka: the contract of a subscriber, and tail."""

import json
import signal
import subprocess
import time

import pytest
from conftest import wait_for


def url(kafka, options=""):
    return f"kafka://{kafka.bootstrap}{options}"


@pytest.fixture
def produce(kafka, topic):
    """produce(key, value, …): to the topic, with the options of librdkafka that are given."""
    from confluent_kafka import Producer

    def call(count=1, key="k", value="v", **options):
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        for i in range(count):
            producer.produce(topic, value=f"{value}{i}" if count > 1 else value, key=f"{key}{i % 7}" if count > 1 else key, **options)
        assert producer.flush(20) == 0

    return call


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def read(run, kafka, topic, *options, status=0):
    return objects(run("tail", url(kafka), "--topic", topic, "--until-end", "-o", "jsonl", *options, status=status).stdout)


def test_contract(onewrite, kafka):
    """What every subscriber promises, groups included."""
    program = onewrite.parent / "tests" / "contract_kafka"
    assert program.is_file(), f"{program} is missing; run ./dev test"
    done = subprocess.run([program, kafka.bootstrap], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": kept") >= 14


def test_bytes_as_they_are(run, kafka, topic, produce):
    kafka.create(topic, partitions=1)
    produce(key=None, value=b"\xff\x00", headers=[("id", b"first"), ("a", None), ("a", b""), ("a", b"\x00\xff")], timestamp=1700000000123)
    produce(key=b"", value=None, headers=[("x", b"1"), ("id", b"second")])
    first, second = read(run, kafka, topic)
    assert (first["partition"], first["offset"], first["id"], first["key"]) == (0, 0, "first", None)
    assert first["time"] == "2023-11-14T22:13:20.123Z" and first["value"] == {"base64": "/wA="}
    assert (second["offset"], second["id"], second["key"], second["value"]) == (1, "second", "", None)
    assert second["headers"]["x"] == "1"


def test_only_what_was_committed(run, kafka, topic, produce):
    from confluent_kafka import Producer
    kafka.create(topic, partitions=1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    for i in range(6):
        producer.begin_transaction()
        producer.produce(topic, value=str(i))
        producer.flush(20)
        producer.abort_transaction(20) if i % 2 else producer.commit_transaction(20)
    assert [r["value"] for r in read(run, kafka, topic)] == ["0", "2", "4"]
    assert [r["value"] for r in read(run, kafka, topic, "--group", topic)] == ["0", "2", "4"]
    assert read(run, kafka, topic, "--group", topic) == []
    produce(value="5")
    assert [r["value"] for r in read(run, kafka, topic, "--group", topic)] == ["5"]


def test_where_to_start(run, kafka, topic, produce):
    kafka.create(topic, partitions=1)
    produce(20)
    assert [r["offset"] for r in read(run, kafka, topic, "--from", "15")] == [15, 16, 17, 18, 19]
    assert read(run, kafka, topic, "--from", "end") == []
    assert read(run, kafka, topic, "--from", "100") == []
    assert [r["offset"] for r in read(run, kafka, topic, "--from", "18", "--group", topic)] == [18, 19]
    assert read(run, kafka, topic, "--from", "beginning", "--group", topic) == []


def test_a_place_that_is_not_there(run, kafka, topic, produce):
    """The topic was made anew: its group begins where there is something, and passes over nothing."""
    from confluent_kafka import Consumer, TopicPartition
    kafka.create(topic, partitions=1)
    produce(3)
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": topic})
    consumer.commit(offsets=[TopicPartition(topic, 0, 1000)], asynchronous=False)
    consumer.close()
    assert [r["offset"] for r in read(run, kafka, topic, "--group", topic, "--from", "end")] == [0, 1, 2]


def test_a_topic_that_is_not_there(run, start, kafka, topic, tmp_path):
    stopped = run("tail", url(kafka), "--topic", topic, "--until-end", status=4).stderr
    assert stopped == f"onewrite: {url(kafka)}: topic {topic} is not there yet\n"
    assert run("tail", url(kafka), "--topic", topic, "--until-end", "--group", topic, status=4).stderr == stopped
    with open(tmp_path / "out", "w") as out, open(tmp_path / "err", "w") as err:
        tail = start("tail", url(kafka), "--topic", topic, "--group", f"{topic}.2", "--from", "beginning", "-o", "jsonl", stdout=out, stderr=err)
        wait_for(lambda: "is not there yet" in (tmp_path / "err").read_text(), "the line")
        run("publish", url(kafka), "--topic", topic, "--payload", "here")
        wait_for(lambda: "here" in (tmp_path / "out").read_text(), "the record")
        tail.send_signal(signal.SIGTERM)
        assert tail.wait(20) == 0
    assert (tmp_path / "err").read_text().count("\n") == 1


def test_a_topic_that_was_just_made(run, kafka, topic):
    """Its partitions are known before all of them have their leader."""
    for n in range(3):
        name = f"{topic}.{n}"
        kafka.create(name, partitions=100)
        admin = kafka.admin()
        wait_for(lambda name=name: len(admin.list_topics(name, timeout=10).topics[name].partitions) == 100, "the topic to be known")
        assert run("tail", url(kafka), "--topic", name, "--until-end").stdout == ""


def test_killed_and_replaced(start, kafka, topic, produce, tmp_path):
    """A member that is killed is replaced after its session; nothing is lost, little comes twice."""
    kafka.create(topic, partitions=4)
    where = url(kafka, "?session.timeout.ms=6000")
    outs = [open(tmp_path / f"out{i}", "w") for i in range(2)]

    def values(i):
        return [r["value"] for r in objects((tmp_path / f"out{i}").read_text())]

    members = [start("tail", where, "--topic", topic, "--group", topic, "--from", "beginning", "-o", "jsonl", stdout=out) for out in outs]
    produce(50, value="a")
    wait_for(lambda: len(set(values(0)) | set(values(1))) == 50, "the first records")
    wait_for(lambda: produce(28, value="b") is None and {v for v in values(0) if v[0] == "b"} and {v for v in values(1) if v[0] == "b"},
             "both to read", 40)
    members[0].kill()
    members[0].wait(20)
    produce(50, value="c")
    wait_for(lambda: {f"c{i}" for i in range(50)} <= set(values(0)) | set(values(1)), "the rest to be taken over", 40)
    members[1].send_signal(signal.SIGTERM)
    assert members[1].wait(20) == 0
    for out in outs:
        out.close()


def test_brokers_that_go_away(start, kafka, topic, produce, tmp_path):
    kafka.create(topic, partitions=2)
    proxy, address = kafka.proxied()
    with open(tmp_path / "out", "w") as out, open(tmp_path / "err", "w") as err:
        with proxy:
            tail = start("tail", f"kafka://{address}", "--topic", topic, "--group", topic, "--from", "beginning", "-o", "jsonl", stdout=out,
                         stderr=err)
            produce(10, value="a")
            wait_for(lambda: len((tmp_path / "out").read_text().splitlines()) == 10, "the records")
        wait_for(lambda: "cannot reach" in (tmp_path / "err").read_text(), "the line")
        produce(10, value="b")
        again, _ = kafka.proxied()
        with again:
            wait_for(lambda: (tmp_path / "out").read_text().count('"value":"b') == 10, "the rest", 60)
            tail.send_signal(signal.SIGTERM)
            assert tail.wait(20) == 0
    assert (tmp_path / "err").read_text().count("cannot reach") == 1


def test_the_end_when_nobody_answers(start, kafka, topic, produce, tmp_path):
    """Brokers have fallen silent, and nobody knows it yet: the end waits for them once, not at every step of it."""
    kafka.create(topic, partitions=2)
    proxy, address = kafka.proxied()
    with proxy, open(tmp_path / "out", "w") as out:
        tail = start("tail", f"kafka://{address}", "--topic", topic, "--group", topic, "--from", "beginning", "-o", "jsonl", stdout=out)
        produce(10)
        wait_for(lambda: len((tmp_path / "out").read_text().splitlines()) == 10, "the records", 40)
        proxy.is_stalled = True
        begun = time.monotonic()
        tail.send_signal(signal.SIGTERM)
        assert tail.wait(60) == 0
        assert time.monotonic() - begun < 8.5


def test_refused(run, kafka, topic):
    assert "cannot reach kafka://127.0.0.1:1: " in run("tail", "kafka://127.0.0.1:1", "--topic", "t", status=69).stderr
    assert run("tail", url(kafka, "?enable.auto.commit=true"), status=2).stderr == (
        "onewrite: property enable.auto.commit cannot be set: an offset is settled when its record is done with\n")
    assert "has other characters than" in run("tail", url(kafka), "--topic", "a b", status=1).stderr
    assert "cannot be read" in run("tail", "stdout:", status=2).stderr
