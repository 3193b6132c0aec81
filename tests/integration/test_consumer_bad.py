# SPDX-License-Identifier: Apache-2.0
"""What is wrong with messages, and with whoever is to handle them: each ends as a dead letter with a plain reason, or is
handled; nothing else stops, and nothing grows without bound."""

import contextlib
import json
import os
import re
import socket
import struct
import threading
import time

import pytest
from kafka import *  # noqa: F403 (fixtures)
from postgres import pg_database, pg_server  # noqa: F401 (fixtures)
from test_consumer import bus, orders, web  # noqa: F401 (fixtures)

# --- a target that answers with anything --------------------------------------------------------------------------


@pytest.fixture
def raw():
    """raw.answer(number, connection): what is written where an answer is expected; raw.asked: the numbers, in order."""
    class Server:
        listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        answer, asked = None, []

        def serve(self):
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=self.one, args=(self.listener.accept()[0],), daemon=True).start()

        def one(self, connection):
            with connection, contextlib.suppress(OSError):
                data = b""
                while b"}" not in data:  # the end of the body; there is none in a header
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    data += piece
                number = int(re.search(rb'"number": (\d+)', data)[1])
                self.asked.append(number)
                self.answer(number, connection)

    server = Server()
    server.url = f"http://127.0.0.1:{server.listener.getsockname()[1]}/"
    threading.Thread(target=server.serve, daemon=True).start()
    yield server
    server.listener.close()


def says(text, then=None):
    def answer(connection):
        connection.sendall(text)
        if then:
            then(connection)
    return answer


def hang(connection):
    connection.settimeout(60)
    while connection.recv(1000):
        pass


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def for_ever(piece):
    def answer(connection):
        while True:
            connection.sendall(piece)
    return answer


def trickle(connection):
    while True:
        connection.sendall(b"x")
        time.sleep(0.01)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = {  # -> (what is done, the class of the letter; None: it is handled)
    "nothing": (hang, "timeout"),
    "half a header": (says(b"HTTP/1.1 200 OK\r\nContent-Le", hang), "timeout"),
    "the end at once": (says(b""), "broken answer"),
    "a reset": (reset, "broken answer"),
    "half a header and the end": (says(b"HTTP/1.1 200 OK\r\nContent-Le"), "broken answer"),
    "half a body": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), "broken answer"),
    "bytes": (says(bytes(range(256)) * 10), "broken answer"),
    "a text": (says(b"hello\r\n\r\n"), "broken answer"),
    "another protocol": (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "broken answer"),
    "early hints": (says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK), None),
    "hints for ever": (for_ever(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 100), "broken answer"),
    "headers for ever": (says(b"HTTP/1.1 200 OK\r\n", for_ever(b"X: " + b"y" * 1000 + b"\r\n")), "broken answer"),
    "a header for ever": (says(b"HTTP/1.1 200 OK\r\nX: ", for_ever(b"y" * 65536)), "broken answer"),
    "a body for ever": (says(b"HTTP/1.1 200 OK\r\n\r\n", for_ever(b"y" * 65536)), "broken answer"),
    "chunks for ever": (says(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n", for_ever(b"2710\r\n" + b"y" * 10000 + b"\r\n")), "broken answer"),
    "a body drop by drop": (says(b"HTTP/1.1 200 OK\r\n\r\n", trickle), "timeout"),
    "no chunk": (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx"), "broken answer"),
    "a chunk too large": (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nxx"), "broken answer"),
    "a negative length": (says(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), "broken answer"),
    "a redirect to itself": (says(b"HTTP/1.1 307 Again\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), "http 307"),
    "no such status": (says(b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n"), "http 999"),
    "a status of one digit": (says(b"HTTP/1.1 2 OK\r\nContent-Length: 0\r\n\r\n"), "broken answer"),
    "wait for ever": (says(b"HTTP/1.1 503 No\r\nRetry-After: banana\r\nContent-Length: 0\r\n\r\n"), "http 503"),
    "who are you": (says(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"), "http 401"),
    "a reason that is no text": (says(b"HTTP/1.1 400 No\r\nContent-Length: 8\r\n\r\n\x00\x1b[2J\xff\xc3\n"), "http 400"),
    "more than was asked for": (says(OK + OK), None),
    "a body that must not be": (says(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"), None),
    "HTTP/1.0": (says(b"HTTP/1.0 200 OK\r\n\r\nall of it"), None),
}


def test_a_target_that_answers_with_anything(start, run, bus, raw, onewrite_release):
    numbers = dict(enumerate(ANSWERS))
    raw.answer = lambda number, connection: ANSWERS[numbers[number]][0](connection) if number in numbers else connection.sendall(OK)
    bus.publish([(f"order-{n}", f"k{n}", json.dumps({"number": n})) for n in range(2 * len(ANSWERS))])
    config = bus.configure(f'{{ http: {{ url: "{raw.url}", timeout: 2s }} }}', more="dead_letter: { store: pay }\n    breaker: { failures: 0, rate: 0 }")
    process = start("run", "--until-end", config, program=onewrite_release, stdout=None, stderr=None)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    letters = {numbers[int(identity.split("-")[1])]: (kind, attempts) for identity, _, kind, attempts in bus.letters()}
    wanted = {what: (kind, 1 if kind.startswith(("http 3", "http 4", "http 9")) else 3) for what, (_, kind) in ANSWERS.items() if kind}
    assert letters == wanted
    reasons = [reason for reason, in bus.pay.execute("SELECT reason FROM onewrite_dead_letter")]
    assert all(reason.isprintable() and "127.0.0.1" in reason for reason in reasons), reasons
    assert bus.pay.execute("SELECT count(*) FROM onewrite_inbox WHERE state = 'handled'").fetchone() == (2 * len(ANSWERS) - len(wanted),)
    assert usage.ru_maxrss < 100 * 1024  # KiB
    assert usage.ru_utime + usage.ru_stime < 20


# --- messages that are anything ---------------------------------------------------------------------------------------

CONFIG = """version: 1
stores: {{ pay: "{store}" }}
brokers: {{ bus: "kafka://{bootstrap}" }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: {topic}, group: {topic} }}
    inbox: {{ store: pay }}
    handler: {handler}
    retry: {{ initial: 20ms, max: 50ms, max_attempts: 3 }}
    dead_letter: {{ store: pay, topic: {topic}.dlt, headers: {headers} }}
"""
SCHEMA = b"\x00\x00\x00\x00\x2a\x02\x0cavro"  # of a registry that nobody has asked
MESSAGES = {  # -> (what comes, whether its payload is JSON, what the letter says that is there with every handler)
    "broken JSON": ({"value": b'{"number": '}, False, None),
    "no payload": ({"value": None}, False, None),
    "an empty payload": ({"value": b""}, False, None),
    "an unknown schema": ({"value": SCHEMA}, False, None),
    "a payload that is no text": ({"value": b'{"number": "\xff"}'}, False, None),
    "a NUL in a text": ({"value": b'{"number": 5, "text": "a\\u0000b"}'}, True, None),
    "a NUL in the payload": ({"value": b'{"number": 5}\x00'}, False, None),
    "deeply nested": ({"value": b'{"number":' + b"[" * 100000 + b"]" * 100000 + b"}"}, False, None),
    "a number of 4000 digits": ({"value": b'{"number":' + b"9" * 4000 + b"}"}, True, None),
    "10 MB": ({"value": b'{"number": 7, "pad": "' + b"x" * 10_000_000 + b'"}'}, True, None),
    "a key that is no text": ({"key": b"\xff\xfe\x00\r\n"}, True, None),
    "a key of 100 KB": ({"key": b"k" * 100_000}, True, None),
    "an empty key": ({"key": b""}, True, None),
    "no key": ({"key": None}, True, None),
    "an id of 100 KB": ({"headers": [("id", b"x" * 100_000)]}, True, "its id is longer than 1000 bytes"),
    "an id that is no text": ({"headers": [("id", b"\xff\x00")]}, True, "its id is no UTF-8 text"),
    "an id of two lines": ({"headers": [("id", b"a\r\nX-Admin: 1")]}, True, "its id has a control character"),
    "no id": ({"headers": []}, True, None),
    "an empty id": ({"headers": [("id", b"")]}, True, None),
    "an id that is null": ({"headers": [("id", None)]}, True, None),
    "two ids": ({"headers": [("id", b"first"), ("id", b"second")]}, True, None),
    "64 KB of headers": ({"headers": [("id", b"large"), ("traceparent", b"t" * 20_000), ("a", b"x" * 65_536)]}, True, None),
    "1000 times a header": ({"headers": [("id", b"often")] + [("again", b"%d" % i) for i in range(1000)]}, True, None),
    "headers of any bytes": ({"headers": [("id", b"bytes"), ("", b""), ("a", None), ("b\xc3\xbc", bytes(range(256))),
                                          ("content-type", b"text/plain\r\nX-Admin: 1"), ("type", b"\xff\x00"),
                                          ("traceparent", b"\r\n\r\nGET / HTTP/1.1")]}, True, None),
    "what others say of a failure": ({"headers": [("id", b"dlt"), ("kafka_dlt-original-offset", b""), ("kafka_dlt-original-topic", None),
                                                  ("retry_topic-attempts", b"\xff" * 9), ("__connect.errors.offset", b"none"),
                                                  ("NServiceBus.TimeOfFailure", b"yesterday")]}, True, None),
}
EXEC = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    try:
        json.loads(message.get("payload") or "")
        said = {"ok": True}
    except ValueError as error:
        said = {"ok": False, "retry": False, "class": "payload", "reason": str(error)}
    except RecursionError:
        said = {"ok": False, "retry": False, "class": "payload", "reason": "too deep"}
    print(json.dumps({"id": message["id"], **said}), flush=True)
"""


def is_json(body):
    try:
        return json.loads(body) is not None
    except (ValueError, RecursionError):
        return False


@pytest.fixture
def pay_sqlite(run, tmp_path):
    """URL of a store, how it is asked, its table of dead letters."""
    import sqlite3
    run("init", "sqlite:pay.db")
    pay = sqlite3.connect(tmp_path / "pay.db", timeout=30, isolation_level=None)
    yield "sqlite:pay.db", lambda sql: pay.execute(sql).fetchall(), "onewrite_dead_letter"
    pay.close()


@pytest.fixture
def pay_postgres(run, pg_database):  # noqa: F811
    run("init", pg_database.url)
    return pg_database.url, pg_database.query, "onewrite.dead_letter"


@pytest.mark.parametrize("handler, headers, store", [
    ("http", "spring", "sqlite"), ("exec", "connect", "sqlite"), ("sql", "nservicebus", "sqlite"), ("http", "spring", "postgres"),
    ("sql", "spring", "postgres")])
def test_a_message_that_is_anything(run, kafka, web, tmp_path, request, handler, headers, store):
    from confluent_kafka import Producer
    topic = "".join(c if c.isalnum() else "." for c in request.node.name)
    for name in (topic, f"{topic}.dlt"):
        kafka.create(name, partitions=1, **{"max.message.bytes": "12000000"})
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 12_000_000})
    for n, (what, _, _) in enumerate(MESSAGES.values()):
        for message in ({"headers": [("id", f"bad-{n}".encode())], "key": f"b{n}", "value": b'{"number": 1}', **what},
                        {"headers": [("id", f"good-{n}".encode())], "key": f"g{n}", "value": b'{"number": 2}'}):
            producer.produce(topic, **message)
    assert producer.flush(60) == 0
    url, query, table = request.getfixturevalue(f"pay_{store}")
    query(f"CREATE TABLE paid (number {'numeric' if store == 'postgres' else ''}, id text)")
    web.answer = lambda request: (200, {}, b"") if is_json(request[1]) else (400, {}, b"this is no JSON \xff")
    (tmp_path / "handle.py").write_text(EXEC)
    handlers = {"http": f'{{ http: {{ url: "{web.url}" }} }}', "exec": "{ exec: { command: [/usr/bin/python3, handle.py] } }",
                "sql": '{ sql: "insert into paid values (${!payload.number}, ${!id})" }'}
    (tmp_path / "c.yaml").write_text(CONFIG.format(store=url, bootstrap=kafka.bootstrap, topic=topic, handler=handlers[handler],
                                                   headers=headers))
    done = run("run", "--until-end", "c.yaml", timeout=180)
    letters = query(f"SELECT position, state, reason FROM {table}")
    by_offset = {int(position.rsplit("/", 1)[1]): reason for position, state, reason in letters if state == "dead"}
    assert len(by_offset) == len(letters), letters
    names = list(MESSAGES)
    wrong = {names[offset // 2] for offset in by_offset if offset % 2 == 0}
    assert all(offset % 2 == 0 for offset in by_offset), "a good one was set aside"
    wanted = {what for what, (_, is_good, said) in MESSAGES.items() if not is_good or said}
    if handler == "http":
        wanted |= {"a key of 100 KB"}  # it is in a header, and the server takes no such header: 431
    if handler == "sql":
        wanted -= {"no payload"}  # then there is no field of it, which is NULL
    assert wrong == wanted, done.stderr[-3000:]
    assert all(reason.isprintable() and reason for reason in by_offset.values()), by_offset
    for n, (_, _, said) in enumerate(MESSAGES.values()):
        assert not said or said in by_offset[2 * n]
    # In the topic there is a letter for each, with what it came with.
    out = run("tail", f"kafka://{kafka.bootstrap}", "--topic", f"{topic}.dlt", "--until-end", "-o", "jsonl", timeout=60).stdout
    assert len(out.splitlines()) == len(letters)
    # All of them go the way back and fail again, each for itself.
    query(f"UPDATE {table} SET state = 'queued'")
    run("run", "--until-end", "c.yaml", timeout=180)
    assert query(f"SELECT DISTINCT state, replays FROM {table}") == [("dead", 1)]
    assert json.loads(run("dlq", "list", "--store", url, "-o", "json").stdout)
    if handler == "http":
        assert not [headers for headers, _ in web.calls if "X-Admin" in headers]
