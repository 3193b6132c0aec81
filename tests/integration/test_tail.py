# SPDX-License-Identifier: Apache-2.0
"""tail: what it prints, where it starts and stops, how it ends."""

import json
import signal
import subprocess

import pytest
from conftest import wait_for


@pytest.fixture
def publish(run):
    """publish(topic, ids…): each message has its id as key and payload."""

    def call(topic, *ids, to="journal:bus.db"):
        lines = [json.dumps({"topic": topic, "id": str(i), "key": str(i), "value": f"value of {i}"}) for i in ids]
        run("publish", to, "--jsonl", input="\n".join(lines) + "\n")

    return call


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def test_an_object_a_record(run):
    run("publish", "journal:bus.db", "--topic", "orders", "--key", "42", "--id", "one", "--type", "OrderPlaced",
        "--header", "trace=abc", "--payload", '{"total": 1.50}')
    record, = objects(run("tail", "journal:bus.db", "--topic", "orders", "--from", "beginning", "--until-end", "-o", "jsonl").stdout)
    assert list(record) == ["topic", "partition", "offset", "time", "id", "key", "headers", "value"]
    assert record["topic"] == "orders" and record["offset"] == 0 and record["id"] == "one" and record["key"] == "42"
    assert record["headers"] == {"type": "OrderPlaced", "trace": "abc"}
    assert record["value"] == '{"total": 1.50}'


def test_what_is_not_utf8_is_base64(run, tmp_path):
    (tmp_path / "payload").write_bytes(b"\xff\x00")
    run("publish", "journal:bus.db", "--topic", "t", "--payload-file", "payload")
    record, = objects(run("tail", "journal:bus.db", "--until-end", "-o", "jsonl").stdout)
    assert record["value"] == {"base64": "/wA="}
    assert "<2 bytes>" in run("tail", "journal:bus.db", "--until-end").stdout


def test_json_is_one_array(run, publish):
    publish("t", 1, 2, 3)
    records = json.loads(run("tail", "journal:bus.db", "--until-end", "-o", "json").stdout)
    assert [r["id"] for r in records] == ["1", "2", "3"]
    assert json.loads(run("tail", "journal:bus.db", "--from", "end", "--until-end", "-o", "json").stdout) == []


def test_a_table_is_a_line_a_record(run, publish):
    publish("t", "a")
    run("publish", "journal:bus.db", "--topic", "t", "--key", "k", "--payload", "a\tb\n" + "ü" * 200)
    first, second = run("tail", "journal:bus.db", "--until-end").stdout.splitlines()
    assert " t " in first and "value of a" in first
    assert "a.b.ü" in second and len(second) < 200 and second.endswith("ü…")


def test_one_order_over_topics_and_partitions(run, publish):
    for i in range(30):
        publish(f"t{i % 3}", *range(i * 10, i * 10 + 10))
    records = objects(run("tail", "journal:bus.db", "--until-end", "-o", "jsonl").stdout)
    assert [int(r["id"]) for r in records] == list(range(300))
    some = objects(run("tail", "journal:bus.db", "-t", "t0", "-t", "t2", "--until-end", "-o", "jsonl").stdout)
    assert [r["id"] for r in some] == [r["id"] for r in records if r["topic"] != "t1"]


def test_from_an_offset_and_a_count(run, publish):
    publish("t", *range(100))
    records = objects(run("tail", "journal:bus.db", "--from", "20", "--until-end", "-o", "jsonl").stdout)
    assert records and all(r["offset"] >= 20 for r in records)
    assert len(objects(run("tail", "journal:bus.db", "--from", "beginning", "--count", "7", "-o", "jsonl").stdout)) == 7


@pytest.mark.parametrize("url", ["journal:bus.db", "file:bus.jsonl"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_follows_until_a_signal(start, publish, tmp_path, url, number):
    publish("t", "before", to=url)
    with open(tmp_path / "out", "w", encoding="utf-8") as out:
        tail = start("tail", url, "-o", "jsonl", stdout=out)

    def printed():
        return [record["id"] for record in objects((tmp_path / "out").read_text())]

    # It begins at the end, wherever that is when it has started: publish until something arrives.
    count = iter(range(10**6))

    def something_arrives():
        publish("t", f"after-{next(count)}", to=url)
        return printed()

    assert wait_for(something_arrives, "a record")[0].startswith("after-")
    publish("t", "last", to=url)
    wait_for(lambda: printed()[-1] == "last", "the last record")
    tail.send_signal(number)
    assert tail.wait(10) == 0
    assert tail.stderr.read() == ""


def test_a_reader_that_goes_away_ends_it_quietly(onewrite, run, publish, tmp_path):
    publish("t", *range(2000))
    done = subprocess.run(f"{onewrite} tail journal:bus.db --from beginning -o jsonl | head -n 3; exit ${{PIPESTATUS[0]}}",
                          shell=True, executable="/bin/bash", cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stderr == "" and len(done.stdout.splitlines()) == 3


def test_a_reader_that_goes_away_while_nothing_comes(start, publish):
    publish("t", 1)
    tail = start("tail", "journal:bus.db", "-o", "jsonl")
    tail.stdout.close()
    assert tail.wait(10) == 0


@pytest.mark.parametrize("arguments, status, text", [
    (["journal:none.db", "--until-end"], 4, "none.db: no such file"),
    (["journal:none.db"], 4, "none.db: no such file"),
    (["file:none.jsonl"], 4, "none.jsonl"),
    (["journal:text.db"], 1, "text.db: not an SQLite database"),
    (["journal:shop.db"], 1, "not a journal"),
    (["sqlite:shop.db"], 2, "sqlite:"),
    (["stdout:"], 2, "stdout: cannot be read"),
    (["journal:bus.db", "--from", "middle"], 2, "neither beginning nor end nor an offset"),
    (["journal:bus.db", "--count", "0"], 2, "--count"),
    (["journal:bus.db", "--until-end", "--topic", "ordres"], 4, 'there is no topic "ordres"; there are: orders'),
    (["file:bus.jsonl", "--group", "g"], 1, "group"),
    ([], 2, "URL is missing"),
])
def test_bad_input(run, publish, tmp_path, arguments, status, text):
    (tmp_path / "text.db").write_text("this is no database, however long it is. " * 100)
    run("init", "sqlite:shop.db")
    publish("orders", 1)
    publish("orders", 1, to="file:bus.jsonl")
    done = run("tail", *arguments, status=status)
    assert text in done.stderr and len(done.stderr.splitlines()) == 1 and done.stdout == ""


def test_it_waits_for_a_topic_that_is_not_there_yet(start, publish):
    publish("orders", 1)
    tail = start("tail", "journal:bus.db", "--topic", "later", "-o", "jsonl", "--count", "1")
    assert tail.stderr.readline() == 'waiting for topic "later", which is not there yet; there are: orders\n'
    publish("later", 7)
    assert json.loads(tail.stdout.readline())["id"] == "7"
    assert tail.wait(10) == 0


def test_a_bad_line_of_a_file_is_passed_over(run, publish, tmp_path):
    publish("t", 1, to="file:bus.jsonl")
    with open(tmp_path / "bus.jsonl", "a", encoding="utf-8") as file:
        file.write("this is no JSON\n")
    publish("t", 2, to="file:bus.jsonl")
    done = run("tail", "file:bus.jsonl", "--until-end", "-o", "jsonl", status=3)
    assert [r["id"] for r in objects(done.stdout)] == ["1", "2"]
    assert "bus.jsonl:2:" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_group_goes_on_where_it_was(run, publish):
    group = ("tail", "journal:bus.db", "--group", "g", "--from", "beginning", "--until-end", "-o", "jsonl")
    publish("t", *range(100))
    assert len(objects(run(*group, "--count", "30").stdout)) == 30
    assert len(objects(run(*group).stdout)) == 70
    assert run(*group).stdout == ""
    publish("t", "new")
    assert [r["id"] for r in objects(run(*group).stdout)] == ["new"]


def test_two_of_a_group_share_and_one_takes_over(start, publish, tmp_path):
    publish("t", *range(200))
    outputs = [open(tmp_path / f"out{i}", "w+", encoding="utf-8") for i in range(2)]
    tails = [start("tail", "journal:bus.db", "--group", "g", "--from", "beginning", "-o", "jsonl", stdout=out) for out in outputs]

    def printed():
        return [objects((tmp_path / f"out{i}").read_text()) for i in range(2)]

    wait_for(lambda: len({r["id"] for part in printed() for r in part}) == 200, "200 records")
    count = iter(range(10**6))

    def both_have_news():
        publish("t", *[f"more-{next(count)}" for _ in range(20)])
        return all(any(r["id"].startswith("more-") for r in part) for part in printed())

    wait_for(both_have_news, "a share for each of both")
    tails[0].kill()
    tails[0].wait()
    publish("t", *[f"after-{i}" for i in range(100)])
    wait_for(lambda: sum(r["id"].startswith("after-") for r in printed()[1]) == 100, "all of them at the one that is left", 5)
    tails[1].terminate()
    assert tails[1].wait(10) == 0
