# SPDX-License-Identifier: Apache-2.0
"""The exec handler: programs that work, and programs that do everything else."""

import json
import os
import pathlib
import re
import signal
import sys
import time

import pytest
from conftest import wait_for
from test_consumer import bus, in_order, orders, web  # noqa: F401 (fixtures)

HEAD = """
import json, os, sys, time
def answer(message, **more):
    print(json.dumps({"id": message["id"], "ok": True, **more}), flush=True)
def number(message):
    return json.loads(message["payload"])["number"]
def note(text):
    with open("notes", "a") as notes:
        notes.write(f"{text}\\n")
note(f"start {os.getpid()}")
"""
LOOP = "\nfor line in sys.stdin:\n    message = json.loads(line)\n"


@pytest.fixture
def program(tmp_path):
    """program(body): its handler; body is what is done with each `message`, or, with whole=True, the program."""
    def make(body, whole=False, **options):
        text = HEAD + (body if whole else LOOP + "".join(f"    {line}\n" for line in body.splitlines()))
        (tmp_path / "handle.py").write_text(text)
        return json.dumps({"exec": {"command": [sys.executable, "handle.py"], **options}})
    return make


def notes(tmp_path, word=None):
    path = tmp_path / "notes"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split(" ", 1)[1] for line in lines if line.split(" ", 1)[0] == word] if word else lines


def is_alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_messages_and_answers(run, bus, program, tmp_path):
    bus.publish(orders(300))
    handler = program('note("got " + line.rstrip())\nnote(f"key {message[\'key\']} {number(message)}")\nanswer(message)', env={"MODE": "test"})
    done = run("run", "--until-end", bus.configure(handler))
    assert "handled=300 repeated=0 set_aside=0" in done.stderr and len(notes(tmp_path, "start")) == 1
    first = json.loads(notes(tmp_path, "got")[0])
    n = json.loads(first["payload"])["number"]
    assert first["id"] == f"order-{n}" and first["attempt"] == 1 and first["topic"] == "outbox.event.order"
    assert first["key"] == f"k{n % 7}" and first["type"] == "Placed" and first["partition"] in range(4) and first["offset"] >= 0
    handled = [line.split() for line in notes(tmp_path, "key")]
    assert in_order([(key, int(number), None) for key, number in handled])
    assert "handled=0" in run("run", "--until-end", "c.yaml").stderr
    assert not is_alive(int(notes(tmp_path, "start")[0]))


def test_bytes_and_nothing(run, bus, program, tmp_path):
    bus.publish([("a", "k", b"\xff\x00"), ("b", "k", None)])
    run("run", "--until-end", bus.configure(program('note("got " + line.rstrip())\nanswer(message)')))
    binary, tombstone = map(json.loads, notes(tmp_path, "got"))
    assert binary["payload_base64"] == "/wA=" and "payload" not in binary and tombstone["payload"] is None


def test_answers_in_any_order(run, bus, program, tmp_path):
    bus.publish(orders(200, keys=200))
    body = """
import random
held = []
for line in sys.stdin:
    held.append(json.loads(line))
    if len(held) == 20:
        random.shuffle(held)
        while held:
            answer(held.pop())
"""
    assert "handled=200 " in run("run", "--until-end", bus.configure(program(body, whole=True), more="in_flight: 40")).stderr


def test_environment(run, bus, program, tmp_path):
    bus.publish(orders(1))
    handler = program('note(f"env {os.environ[\'MODE\']} {os.environ[\'KEPT\']}")\nanswer(message)', env={"MODE": "a=b"})
    run("run", "--until-end", bus.configure(handler), env={"KEPT": "yes", "MODE": "other"})
    assert notes(tmp_path, "env") == ["a=b yes"]


@pytest.mark.parametrize("said, attempts, expected, reason", [
    ({"ok": False, "retry": False, "class": "gone", "reason": "no such order"}, 1, "gone", "no such order"),
    ({"ok": False, "class": "busy", "reason": "try\nlater", "retry_after": "30ms"}, 3, "busy", "try later"),
    ({"ok": False}, 3, "program", "no more than that it failed"),
    ({"ok": "yes"}, 3, "broken answer", "\"ok\": must be true or false"),
    ({"ok": None, "class": 7}, 3, "broken answer", "must be"),
])
def test_failures(run, bus, program, said, attempts, expected, reason):
    bus.publish(orders(10))
    handler = program(f"answer(message, **({said!r} if number(message) == 3 else {{}}))")
    run("run", "--until-end", bus.configure(handler, more="dead_letter: { store: pay }"))
    assert bus.letters() == [("order-3", "dead", expected, attempts)]
    assert reason in bus.pay.execute("SELECT reason FROM onewrite_dead_letter").fetchone()[0]


@pytest.mark.parametrize("do, expected, reason", [
    ("os._exit(3)", "exit", "ended with status 3"),
    ("sys.exit(0)", "exit", "ended with status 0"),
    ("os.kill(os.getpid(), 11)", "exit", "was ended by signal 11"),
    ("os.close(1); time.sleep(600)", "exit", "closed its standard input or output"),
    ("time.sleep(600)", "timeout", "gave no answer within 2s"),
    ("os.write(1, b'x' * (9 << 20)); time.sleep(600)", "broken answer", "a line of more than 8 MiB"),
    ("[print('noise', i, flush=True) for i in range(2000)]; time.sleep(600)", "broken answer", "1000 lines in a row"),
])
def test_one_message_breaks_the_program(run, bus, program, tmp_path, do, expected, reason):
    """It is found out, the others are handled, and the program is started anew each time."""
    bus.publish(orders(40, keys=40))
    handler = program(f"if number(message) == 17:\n    {do}\nanswer(message)", timeout="2s")
    done = run("run", "--until-end", bus.configure(handler, more="dead_letter: { store: pay }\n    breaker: { failures: 0 }"), timeout=120)
    assert bus.letters() == [("order-17", "dead", expected, 3)], done.stderr
    assert reason in bus.pay.execute("SELECT reason FROM onewrite_dead_letter").fetchone()[0]
    assert "handled=39 " in done.stderr
    pids = list(map(int, notes(tmp_path, "start")))
    assert 3 <= len(pids) < 10 and not any(map(is_alive, pids))


def test_noise_is_passed_over(run, bus, program):
    bus.publish(orders(30))
    body = 'print("debugging", flush=True)\nprint("{}", flush=True)\nanswer({"id": "nobody"})\nanswer(message)\nanswer(message)'
    done = run("run", "--until-end", bus.configure(program(body)))
    assert "handled=30 " in done.stderr and "an answer to nothing that was asked" in done.stderr


def test_its_errors_are_in_the_log(run, bus, program):
    bus.publish(orders(5))
    done = run("run", "--until-end", bus.configure(program('for i in range(500):\n    print(f"about {number(message)} {i}", file=sys.stderr)\nanswer(message)')))
    assert re.search(r'line="about \d 0"', done.stderr) and "more lines of the handler" in done.stderr
    assert done.stderr.count("the handler writes") < 400


def test_killed_with_what_it_has_begun(run, bus, program, tmp_path):
    """A program that hangs takes its children with it, and so does one that ends by itself."""
    bus.publish(orders(2, keys=1))
    body = """
if number(message) == 0 and message["attempt"] == 1:
    import subprocess
    note(f"child {subprocess.Popen(['sleep', '600']).pid}")
    time.sleep(600)
import subprocess
note(f"child {subprocess.Popen(['sleep', '600']).pid}")
answer(message)
"""
    done = run("run", "--until-end", bus.configure(program(body, timeout="700ms")))
    assert "handled=2 " in done.stderr
    children = list(map(int, notes(tmp_path, "child")))
    assert len(children) == 3
    wait_for(lambda: not any(map(is_alive, children)), "the children to be gone")


def test_one_that_never_works_is_put_off(start, bus, program, tmp_path):
    """It is started at growing intervals, and the breaker stops asking."""
    bus.publish(orders(20))
    process = start("run", bus.configure(program("sys.exit(1)", whole=True)))
    time.sleep(3)
    assert process.poll() is None
    assert 3 <= len(notes(tmp_path, "start")) <= 9
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_stopped(start, bus, program, tmp_path):
    """What is in flight is finished; then the program gets SIGTERM, and, if that does not help, SIGKILL."""
    bus.publish(orders(1))
    body = """
import signal
signal.signal(signal.SIGTERM, lambda *_: note("term x"))
for line in sys.stdin:
    message = json.loads(line)
    note("got x")
    time.sleep(1)
    answer(message)
while True:
    time.sleep(1)
"""
    process = start("run", bus.configure(program(body, whole=True, grace="500ms")))
    wait_for(lambda: notes(tmp_path, "got"), "the message")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0 and "handled=1 " in process.stderr.read()
    assert notes(tmp_path, "term") and not is_alive(int(notes(tmp_path, "start")[0]))
    assert bus.pay.execute("SELECT count(*) FROM onewrite_inbox").fetchone() == (1,)


def test_ends_with_us(start, bus, program, tmp_path):
    bus.publish(orders(1))
    process = start("run", bus.configure(program("answer(message)")))
    pid = wait_for(lambda: notes(tmp_path, "start"), "the program")[0]
    process.kill()
    wait_for(lambda: not is_alive(int(pid)), "it to read the end of its input")


def test_large_messages_to_a_slow_reader(run, bus, program):
    bus.publish([(f"order-{i}", f"k{i}", json.dumps({"number": i, "pad": "x" * 500000})) for i in range(20)])
    assert "handled=20 " in run("run", "--until-end", bus.configure(program("time.sleep(0.02)\nanswer(message)"))).stderr


def test_one_message_a_process(run, bus, tmp_path):
    (tmp_path / "one.sh").write_text('#!/bin/sh\nread -r line\nid=${line#*\\"id\\":\\"}\nprintf \'{"id":"%s","ok":true}\\n\' "${id%%\\"*}"\n')
    os.chmod(tmp_path / "one.sh", 0o755)
    bus.publish(orders(8))
    done = run("run", "--until-end", bus.configure('{ exec: { command: "./one.sh" } }', more="in_flight: 1"))
    assert "handled=8 " in done.stderr


# --- what it publishes ----------------------------------------------------------------------------------------------


def emitted(bus):
    return bus.pay.execute("SELECT id, aggregatetype, aggregateid, type, CAST(payload AS TEXT), headers FROM onewrite_outbox ORDER BY seq").fetchall()


def test_publishes_in_the_transaction_of_the_inbox(run, bus, program):
    bus.publish(orders(20))
    body = """
n = number(message)
answer(message, publish=[
    {"aggregatetype": "invoice", "aggregateid": f"i{n}", "type": "Billed", "payload": {"number": n, "cents": 10}, "headers": {"trace": "t"}},
    {"id": f"text-{n}", "aggregatetype": "invoice", "aggregateid": f"i{n}", "type": "Said", "payload": "as it is"},
])
"""
    config = bus.configure(program(body))
    done = run("run", "--until-end", config, status=None, env={"ONEWRITE_CRASH": "consumer.before-record:2"})
    assert done.returncode == -signal.SIGKILL
    run("run", "--until-end", config)
    rows = emitted(bus)
    assert sorted(row[2] for row in rows) == sorted([f"i{n}" for n in range(20)] * 2)
    billed = next(row for row in rows if row[2:4] == ("i3", "Billed"))
    assert json.loads(billed[4]) == {"number": 3, "cents": 10} and json.loads(billed[5]) == {"trace": "t"} and len(billed[0]) == 36
    assert ("text-3", "invoice", "i3", "Said", "as it is", None) in rows
    lines = run("relay", "--until-end", "sqlite:pay.db", "stdout:").stdout.splitlines()
    assert len(lines) == 40 and json.loads(lines[0])["topic"] == "outbox.event.invoice"


@pytest.mark.parametrize("publish, reason", [
    ([{"aggregatetype": "a", "type": "T"}], "message 1: \\\"aggregateid\\\" is missing"),
    ([{"aggregatetype": "a", "aggregateid": "1", "type": "T"}, {"aggregatetype": "a\n", "aggregateid": "1", "type": "T"}], "message 2: "),
    ({"aggregatetype": "a"}, "a list of messages is expected"),
    ([{"aggregatetype": "a", "aggregateid": "1", "type": "T", "playload": 1}], "no such member: \\\"playload\\\""),
    ([{"aggregatetype": "a", "aggregateid": "1", "type": "T", "payload_base64": "?"}], "message 1: \\\"payload_base64\\\""),
    ([7], "message 1: an object"),
])
def test_what_cannot_be_published(run, bus, program, publish, reason):
    bus.publish(orders(1))
    run("run", "--until-end", bus.configure(program(f"answer(message, publish={publish!r})"), more="dead_letter: { store: pay }"))
    assert bus.letters() == [("order-0", "dead", "publish", 3)] and emitted(bus) == []
    assert reason.replace("\\", "") in bus.pay.execute("SELECT reason FROM onewrite_dead_letter").fetchone()[0]


def test_nowhere_to_publish_to(run, bus, program):
    bus.publish(orders(1))
    handler = program('answer(message, publish=[{"aggregatetype": "a", "aggregateid": "1", "type": "T"}])')
    done = run("run", "--until-end", bus.configure(handler, inbox="", more='dead_letter: { topic: "dead" }'))
    assert "which takes an outbox beside an inbox; write inbox: { store: … }" in done.stderr


EVENT = {"specversion": "1.0", "id": "e1", "source": "/billing", "type": "Billed", "subject": "i7", "aggregatetype": "invoice"}


def test_an_http_answer_is_published(run, bus, web):
    answers = [("application/cloudevents+json", {**EVENT, "data": {"cents": 1.50}}),
               ("application/cloudevents-batch+json; charset=utf-8", [{**EVENT, "id": "e2", "data_base64": "AAE="}, {**EVENT, "id": "e3"}]),
               ("application/json", EVENT), ("application/cloudevents-batch+json", [])]
    web.answer = lambda request: (lambda kind, body: (200, {"Content-Type": kind}, json.dumps(body).encode()))(*answers[json.loads(request[1])["number"]])
    bus.publish(orders(4, keys=1))
    done = run("run", "--until-end", bus.configure(f'{{ http: {{ url: "{web.url}" }} }}'))
    assert "handled=4 " in done.stderr
    rows = {row[0]: row for row in emitted(bus)}
    assert {*rows} == {"e1", "e2", "e3"} and rows["e1"][1:4] == ("invoice", "i7", "Billed") and rows["e1"][4] == '{"cents": 1.5}'
    assert json.loads(rows["e1"][5]) == {"ce_source": "/billing"} and rows["e3"][4] is None
    assert bus.pay.execute("SELECT hex(payload) FROM onewrite_outbox WHERE id = 'e2'").fetchone() == ("0001",)


@pytest.mark.parametrize("kind, body, reason", [
    ("application/cloudevents+json", b"nonsense", "not JSON"),
    ("application/cloudevents+json", json.dumps({**EVENT, "subject": None}).encode(), '"subject" is missing'),
    ("application/cloudevents+json", json.dumps({**EVENT, "specversion": "0.3"}).encode(), '"specversion": must be 1.0'),
    ("application/cloudevents-batch+json", json.dumps([EVENT, {**EVENT, "aggregatetype": 7}]).encode(), 'message 2: "aggregatetype": must be a string'),
    ("application/cloudevents+json", json.dumps({**EVENT, "data": "x" * (1 << 20)}).encode(), "more than 1 MiB of events"),
], ids=["nonsense", "subject", "version", "batch", "large"])
def test_an_http_answer_that_cannot_be_published(run, bus, web, kind, body, reason):
    web.answer = lambda request: (200, {"Content-Type": kind}, body)
    bus.publish(orders(1))
    run("run", "--until-end", bus.configure(f'{{ http: {{ url: "{web.url}" }} }}', more="dead_letter: { store: pay }"))
    assert bus.letters() == [("order-0", "dead", "publish", 3)] and emitted(bus) == []
    assert reason in bus.pay.execute("SELECT reason FROM onewrite_dead_letter").fetchone()[0]


def test_mistakes_are_found(run, bus, tmp_path):
    from test_consumer import CONFIG, INBOX

    def wrong(handler, status=78, command="validate"):
        (tmp_path / "c.yaml").write_text(CONFIG.format(handler=handler, inbox=INBOX, more="", retry=""))
        return run(command, "c.yaml", status=status).stderr
    assert "command" in wrong("{ exec: { timeout: 3s } }")
    assert "names no program" in wrong("{ exec: { command: [] } }")
    assert "no shell reads this; write a list" in wrong('{ exec: { command: "cat -n" } }')
    assert "there is an sql handler already" in wrong('{ sql: "select 1", exec: { command: [cat] } }')
    bus.publish(orders(1))
    assert "cannot start ./nowhere: No such file or directory" in wrong("{ exec: { command: [./nowhere] } }", 69, "run")
