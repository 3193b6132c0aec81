# SPDX-License-Identifier: Apache-2.0
"""Dead letters of other programs come to a consumer and fail there, go back, and fail again: what `dlq show` says of the
failures before, and every header of the letters in the topic, byte for byte.

What is expected is worked out here from the conventions, not by the program's own code."""

import base64
import json
import pathlib
import sqlite3

import pytest
from kafka import *  # noqa: F403 (fixtures)

RECORDS = [json.loads(line) for line in (pathlib.Path(__file__).resolve().parents[1] / "golden" / "dlt" / "records.jsonl").open()]
CONFIG = """version: 1
stores: {{ pay: "sqlite:pay.db" }}
brokers: {{ bus: "kafka://{bootstrap}" }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: {topic}, group: books }}
    inbox: {{ store: pay }}
    handler: {{ sql: "insert into paid values (${{!id}})" }}
    retry: {{ initial: 10ms, max: 20ms, max_attempts: 2 }}
    dead_letter: {{ store: pay, topic: {topic}.dlt, headers: {form} }}
"""
FAILURE = ("fqcn", "cause-fqcn", "message", "stacktrace")
OF_SPRING = {f"kafka_dlt-{key}exception-{part}" for key in ("", "key-") for part in FAILURE} - {"kafka_dlt-key-exception-cause-fqcn"}
OF_RETRY = {f"kafka_{key}exception-{part}" for key in ("", "key-") for part in FAILURE} | {
    f"kafka_original-{part}" for part in ("topic", "partition", "offset", "timestamp", "timestamp-type", "consumer-group")} | {
    f"retry_topic-{part}" for part in ("attempts", "original-timestamp", "backoff-timestamp")}


def decoded(headers):
    return [(name, None if value is None else base64.b64decode(value)) for name, value in headers]


def written(form, headers, offset, time_ms, topic, reason):
    """The headers of the letter of a record that had these and failed twice."""
    if form == "spring":
        kept = [(name, value) for name, value in headers if name not in OF_SPRING | {"kafka_deliveryAttempt"}]
        return kept + [
            ("kafka_deliveryAttempt", (2).to_bytes(4, "big")), ("kafka_dlt-exception-fqcn", b"constraint failed"),
            ("kafka_dlt-exception-cause-fqcn", b"constraint failed"), ("kafka_dlt-exception-message", reason),
            ("kafka_dlt-exception-stacktrace", b""), ("kafka_dlt-original-topic", topic), ("kafka_dlt-original-partition", bytes(4)),
            ("kafka_dlt-original-offset", offset.to_bytes(8, "big")), ("kafka_dlt-original-timestamp", time_ms.to_bytes(8, "big")),
            ("kafka_dlt-original-timestamp-type", b"CreateTime"), ("kafka_dlt-original-consumer-group", b"books")]
    if form == "connect":
        return headers + [(f"__connect.errors.{name}", value) for name, value in [
            ("topic", topic), ("partition", b"0"), ("offset", b"%d" % offset), ("connector.name", b"books"), ("task.id", b"0"), ("stage", b"TASK_PUT"),
            ("class.name", b"org.apache.kafka.connect.sink.SinkTask"), ("exception.class.name", b"constraint failed"),
            ("exception.message", reason), ("exception.stacktrace", b"")]]
    return headers + [("NServiceBus.ExceptionInfo.ExceptionType", b"constraint failed"),
                      ("NServiceBus.ExceptionInfo.InnerExceptionType", b"constraint failed"), ("NServiceBus.ExceptionInfo.Message", reason),
                      ("NServiceBus.ExceptionInfo.StackTrace", b""), ("NServiceBus.FailedQ", topic), ("NServiceBus.ProcessingEndpoint", b"books"),
                      ("NServiceBus.Retries", b"1"), ("NServiceBus.TimeOfFailure", None)]


def sent_back(headers):
    """Without what would keep it from being tried as if it were new."""
    gone = OF_RETRY | OF_SPRING | {"kafka_deliveryAttempt"}
    if not any(name == "kafka_dlt-original-topic" for name, _ in headers):
        gone = gone | {"kafka_dlt-original-consumer-group"}  # the one of @RetryableTopic's
    return [(name, value) for name, value in headers if name not in gone]


def consume(kafka, topic, count):
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    messages = consumer.consume(count, 30)
    assert len(messages) == count and not consumer.consume(1, 0.5)
    consumer.close()
    return messages


def last(headers, *names):
    found = [value for name, value in headers if name in names]
    return found[-1] if found else None


@pytest.mark.parametrize("form", ["spring", "connect", "nservicebus"])
def test_letters_of_other_programs(run, kafka, tmp_path, request, form):
    from confluent_kafka import Producer
    topic = "".join(c if c.isalnum() else "." for c in request.node.name)
    kafka.create(topic, partitions=1, **{"retention.ms": -1})  # their times are of long ago
    kafka.create(f"{topic}.dlt", partitions=1, **{"retention.ms": -1})
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for n, record in enumerate(RECORDS):
        value = None if record["value"] is None else base64.b64decode(record["value"])
        producer.produce(topic, key=record["case"], value=value, headers=[("id", record["case"].encode())] + decoded(record["headers"]),
                         timestamp=1700000000000 + n)
    assert producer.flush(30) == 0
    run("init", "sqlite:pay.db")
    pay = sqlite3.connect(tmp_path / "pay.db", timeout=30, isolation_level=None)
    pay.execute("CREATE TABLE paid (id text CHECK (length(id) = 0))")
    (tmp_path / "c.yaml").write_text(CONFIG.format(bootstrap=kafka.bootstrap, topic=topic, form=form))
    run("run", "--until-end", "c.yaml", timeout=120)

    shown = {letter["key"]: letter for letter in json.loads(run("dlq", "show", "--store", "sqlite:pay.db", "--all", "-o", "json").stdout)}
    assert {*shown} == {record["case"] for record in RECORDS}
    for record in RECORDS:
        earlier, headers = shown[record["case"]]["earlier"], decoded(record["headers"])
        offset = last(headers, "kafka_dlt-original-offset", "kafka_original-offset", "__connect.errors.offset")
        assert earlier["last"]["offset"] == (int(offset) if record["case"].startswith("connect") else int.from_bytes(offset, "big"))
        message = last(headers, "kafka_dlt-exception-message", "kafka_exception-message", "__connect.errors.exception.message")
        assert earlier["message"] == message.decode()
        assert earlier["failures"] == sum(name in ("kafka_dlt-original-topic", "kafka_original-topic", "__connect.errors.topic") for name, _ in headers)
        attempts = last(headers, "retry_topic-attempts", "kafka_deliveryAttempt")
        assert earlier["attempts"] == (attempts and int.from_bytes(attempts, "big") - (record["case"] == "retry_plain"))
    by = {record["case"]: shown[record["case"]]["earlier"]["by"] for record in RECORDS}
    assert by["retry_plain"] == "spring-retry" and by["connect_value_converter"] == "connect" and by["thrice_3"] == "spring"
    text = run("dlq", "show", "--store", "sqlite:pay.db", shown["thrice_3"]["id"]).stdout
    assert "earlier         spring, 3 times, from orders/1/9, last orders/1/13: java.lang.IllegalStateException: Listener method" in text

    pay.execute("UPDATE onewrite_dead_letter SET state = 'queued'")
    run("run", "--until-end", "c.yaml", timeout=120)
    offsets = {record["case"]: n for n, record in enumerate(RECORDS)}
    letters = consume(kafka, f"{topic}.dlt", 2 * len(RECORDS))
    for i, letter in enumerate(letters):
        case = letter.key().decode()
        record = RECORDS[offsets[case]]
        headers = decoded(record["headers"])
        reason = pay.execute("SELECT reason FROM onewrite_dead_letter WHERE id = ?", (case,)).fetchone()[0].encode()
        come = headers if i < len(RECORDS) else sent_back(headers)
        have = [(name, None if name == "NServiceBus.TimeOfFailure" else value) for name, value in letter.headers()[1:]]
        assert letter.headers()[0] == ("id", case.encode())
        assert have == written(form, come, offsets[case], 1700000000000 + offsets[case], topic.encode(), reason), (case, i)
        assert letter.value() == (None if record["value"] is None else base64.b64decode(record["value"]))
    pay.close()
