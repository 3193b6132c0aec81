# SPDX-License-Identifier: Apache-2.0
"""The examples do what their first lines say: each puts the same message beside the same order."""

import json
import pathlib
import sqlite3
import subprocess
import sys

import pytest

from conftest import wait_for

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def place_order(request, onewrite, tmp_path):
    """place_order(): the example in the language that the test asks for, on shop.db; gives the finished process."""
    python = [sys.executable, EXAMPLES / "python/place_order.py", "shop.db", "42", "990"]
    command, script = {
        "c": ([pathlib.Path(onewrite).parent / "examples/place_order", "shop.db", "42", "990"], None),
        "python": (python, None),
        "sql": (["sqlite3", "-bail", "shop.db"], (EXAMPLES / "sql/place_order.sql").read_text()),
    }[request.param]
    return lambda: subprocess.run(list(map(str, command)), cwd=tmp_path, input=script, capture_output=True, text=True,
                                  timeout=60)


LANGUAGES = pytest.mark.parametrize("place_order", ["c", "python", "sql"], indirect=True)


def orders(tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as db:
        return db.execute("SELECT id, total FROM orders").fetchall()


@LANGUAGES
def test_an_order_and_its_message(place_order, run, tmp_path):
    run("init", "sqlite:shop.db")
    done = place_order()
    assert done.returncode == 0, done.stderr
    assert orders(tmp_path) == [("42", 990)]
    lines = run("relay", "--until-end", "sqlite:shop.db", "stdout:").stdout.splitlines()
    assert len(lines) == 1
    record = json.loads(lines[0])
    assert (record["topic"], record["key"]) == ("outbox.event.order", "42")
    assert record["headers"] == {"type": "OrderPlaced", "trace": "a1b2"}
    assert json.loads(record["value"]) == {"total": 990}
    assert len(record["id"]) == 36


@LANGUAGES
def test_neither_when_the_order_fails(place_order, run, tmp_path):
    """The same order again: refused, and no second message."""
    run("init", "sqlite:shop.db")
    assert place_order().returncode == 0
    again = place_order()
    assert again.returncode != 0 and "UNIQUE" in again.stderr
    assert orders(tmp_path) == [("42", 990)]
    assert len(run("relay", "--until-end", "sqlite:shop.db", "stdout:").stdout.splitlines()) == 1


@LANGUAGES
def test_neither_when_the_message_fails(place_order, tmp_path):
    """No outbox there: no order either."""
    done = place_order()
    if "unable to open" in done.stderr:  # the program in C makes no new file
        sqlite3.connect(tmp_path / "shop.db").execute("PRAGMA user_version = 1")
        done = place_order()
    assert done.returncode != 0 and "onewrite_outbox" in done.stderr
    assert orders(tmp_path) == []


@pytest.mark.parametrize("place_order", ["python"], indirect=True)
def test_the_configuration(place_order, run, start):
    run("init", "sqlite:shop.db")
    run("init", "journal:bus.db")
    run("validate", EXAMPLES / "onewrite.yaml")
    daemon = start("run", EXAMPLES / "onewrite.yaml")
    assert place_order().returncode == 0

    def published():
        return run("tail", "journal:bus.db", "--from", "beginning", "--until-end", "-o", "jsonl").stdout.splitlines()

    record = json.loads(wait_for(published, "the message in the journal")[0])
    assert (record["topic"], record["key"]) == ("outbox.event.order", "42")
    daemon.terminate()
    _, errors = daemon.communicate(timeout=30)
    assert daemon.returncode == 0, errors


def test_a_message_is_handled_once(run, onewrite, tmp_path):
    run("init", "sqlite:pay.db")
    command = [pathlib.Path(onewrite).parent / "examples/handle_once", "pay.db"]
    done = subprocess.run(command, cwd=tmp_path, input="m1 990\nm2 5\nm1 990\n", capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["m1 handled", "m2 handled", "m1 was handled before"] and done.returncode == 0, done.stderr
    done = subprocess.run(command, cwd=tmp_path, input="m2 5\n", capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["m2 was handled before"]
    with sqlite3.connect(tmp_path / "pay.db") as db:
        assert db.execute("SELECT id, cents FROM payments").fetchall() == [("m1", 990), ("m2", 5)]
        assert db.execute("SELECT consumer, message_id, state FROM onewrite_inbox").fetchall() == [
            ("billing", "m1", "handled"), ("billing", "m2", "handled")]
