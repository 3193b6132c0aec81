# SPDX-License-Identifier: Apache-2.0
"""onewrite demo: its promises hold, what it counts is what is in the files, and it leaves nothing behind."""

import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import uuid

import pytest

from conftest import wait_for

KEYS = ["committed", "accepted", "lost", "ghosts", "out_of_order", "duplicates", "kills"]


class Stage:
    """A temporary folder for the demo's temporary folder, and a mark in the environment of all its processes."""

    def __init__(self, path):
        self.folder = path / "tmp"
        self.folder.mkdir()
        self.mark = f"ONEWRITE_TEST_DEMO={uuid.uuid4()}"

    @property
    def env(self):
        name, value = self.mark.split("=")
        return {"TMPDIR": str(self.folder), name: value}

    def processes(self):
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (path / "environ").read_bytes():
                    found.append(f"{path.name} {(path / 'cmdline').read_bytes()}")
            except OSError:
                pass  # it has ended, or is somebody else's
        return found

    def is_running(self):
        """The relay runs, and writers have begun."""
        return any(b"" != log.read_bytes() for log in self.folder.glob("*/relay.log"))

    def assert_clean(self):
        assert wait_for(lambda: not self.processes(), "the end of all processes"), self.processes()
        assert list(self.folder.iterdir()) == []


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def result_of(done):
    """The object: one line, the last of standard output, and the only one."""
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout
    result = json.loads(lines[0])
    assert list(result) == ["onewrite", "naive"]
    for side in result.values():
        assert list(side)[: len(KEYS)] == KEYS
    return result


def assert_promises(ours):
    assert ours["lost"] == ours["ghosts"] == ours["out_of_order"] == ours["duplicates"] == 0, ours
    assert ours["accepted"] == ours["committed"] > 0
    assert ours["kills"] > 0
    assert ours["wal_bytes_max"] + (ours["outbox_bytes_max"] or 0) < 64 << 20


def test_short_and_with_sanitizers(run, stage):
    done = run("demo", "--seconds", 4, "--json", env=stage.env, timeout=240)
    result = result_of(done)
    assert_promises(result["onewrite"])
    assert result["naive"]["committed"] > 0 and result["naive"]["kills"] > 0
    assert "out of order" in done.stderr and "exactly once and in order" in done.stderr
    assert "ERROR: " not in done.stderr and "runtime error" not in done.stderr
    stage.assert_clean()


def test_the_naive_shop_loses_or_invents(run, stage, onewrite_release):
    done = run("demo", "--seconds", 5, "--kills-per-second", 8, "--json", env=stage.env, program=onewrite_release,
               timeout=240)
    result = result_of(done)
    assert_promises(result["onewrite"])
    assert result["onewrite"]["kills"] >= 10
    assert result["naive"]["lost"] + result["naive"]["ghosts"] > 0
    stage.assert_clean()


def test_the_table(run, stage, onewrite_release):
    done = run("demo", "--seconds", 1, "--writers", 2, "--quiet", env=stage.env, program=onewrite_release, timeout=240)
    rows = [line[:18].strip() for line in done.stdout.splitlines()]
    assert rows[:8] == ["", "orders committed", "events accepted", "lost", "ghosts", "out of order", "duplicates", "kills"]
    assert done.stderr == ""
    stage.assert_clean()


def recount(folder, shop, bus):
    """The counts of one side, by SQL over its two files and without any code of the demo's."""
    db = sqlite3.connect(f"file:{folder / shop}?mode=ro", uri=True)
    db.execute("ATTACH ? AS bus", (f"file:{folder / bus}?mode=ro",))
    db.executescript("""
        CREATE TEMP TABLE event AS
            SELECT seq, json_extract(value, '$.order') AS id, json_extract(value, '$.customer') AS customer,
                   json_extract(value, '$.number') AS number, key, topic FROM bus.journal;
        CREATE TEMP TABLE known AS
            SELECT event.* FROM event JOIN main.orders o USING (id)
            WHERE o.customer = event.customer AND o.number = event.number;
        CREATE TEMP TABLE first AS SELECT min(seq) AS seq, id, customer, number FROM known GROUP BY id;
    """)

    def one(sql):
        return db.execute(sql).fetchone()[0]

    counts = {
        "committed": one("SELECT count(*) FROM main.orders"),
        "accepted": one("SELECT count(*) FROM event"),
        "lost": one("SELECT count(*) FROM main.orders WHERE id NOT IN (SELECT id FROM first)"),
        "ghosts": one("SELECT (SELECT count(*) FROM event) - (SELECT count(*) FROM known)"),
        "out_of_order": one("""
            SELECT count(*) FROM (SELECT number, max(number) OVER (PARTITION BY customer ORDER BY seq) AS newest FROM first)
            WHERE number < newest"""),
        "duplicates": one("SELECT (SELECT count(*) FROM known) - (SELECT count(*) FROM first)"),
    }
    # What the checker takes for granted: the numbers of a customer are the order of the commits, without a gap.
    assert one("""SELECT count(*) FROM main.customer c WHERE c.orders <> (SELECT count(*) FROM main.orders WHERE customer = c.id)
                  OR c.orders <> (SELECT coalesce(max(number), 0) FROM main.orders WHERE customer = c.id)""") == 0
    assert one("SELECT count(*) FROM event WHERE key <> CAST(customer AS TEXT) OR topic <> 'outbox.event.order'") == 0
    db.close()
    return counts


def test_the_files_say_the_same(run, stage, tmp_path, onewrite_release):
    folder = tmp_path / "kept"
    done = run("demo", "--seconds", 3, "--json", "--keep", folder, env=stage.env, program=onewrite_release, timeout=240)
    result = result_of(done)
    for side, shop, bus in (("onewrite", "shop.db", "bus.db"), ("naive", "naive.db", "naive_bus.db")):
        counted = recount(folder, shop, bus)
        assert counted == {key: result[side][key] for key in counted}, side
    db = sqlite3.connect(folder / "shop.db")
    assert db.execute("SELECT count(*) FROM onewrite_outbox").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM onewrite_dead_letter").fetchone() == (0,)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    assert_promises(result["onewrite"])
    stage.assert_clean()

    # Not over what is there.
    again = run("demo", "--keep", folder, env=stage.env, status=2)
    assert again.stdout == "" and again.stderr.count("\n") == 1 and "not empty" in again.stderr
    assert (folder / "shop.db").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_of_it(start, stage, number):
    demo = start("demo", "--seconds", 60, env=stage.env)
    wait_for(stage.is_running, "the demo's relay", 60)
    demo.send_signal(number)
    output, errors = demo.communicate(timeout=60)
    assert demo.returncode == 128 + number, errors
    assert output == ""
    stage.assert_clean()


def test_ctrl_c_reaches_everybody_and_is_no_failure(start, stage):
    demo = start("demo", "--seconds", 60, env=stage.env, start_new_session=True)
    wait_for(stage.is_running, "the demo's relay", 60)
    os.killpg(demo.pid, signal.SIGINT)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 128 + signal.SIGINT, errors
    assert "onewrite: " not in errors
    stage.assert_clean()


def test_nobody_outlives_a_demo_that_is_killed(start, stage):
    demo = start("demo", "--seconds", 60, env=stage.env)
    wait_for(stage.is_running, "the demo's relay", 60)
    assert len(stage.processes()) > 5
    demo.kill()
    demo.wait()
    wait_for(lambda: not stage.processes(), "the end of all processes")


def test_a_relay_that_fails_ends_the_demo(run, stage):
    """It was not us who killed it: that is told, with what it said last, and nothing is left behind."""
    done = run("demo", "--json", env={**stage.env, "ONEWRITE_CRASH": "relay.after-read:1"}, status=1, timeout=240)
    assert done.stdout == ""
    assert "onewrite: the relay was ended by signal 9" in done.stderr.splitlines()[-1]
    stage.assert_clean()


def test_a_temporary_folder_that_cannot_be_made(run, tmp_path):
    done = run("demo", env={"TMPDIR": str(tmp_path / "missing")}, status=4)
    assert done.stderr.count("\n") == 1 and "temporary folder" in done.stderr


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--writers", "65"], ["--kills-per-second", "0"], ["more"]])
def test_wrong_usage(run, arguments):
    assert run("demo", *arguments, status=2).stdout == ""


def test_progress_on_a_terminal(stage, onewrite_release):
    leader, follower = os.openpty()
    demo = subprocess.Popen([onewrite_release, "demo", "--seconds", "1"], stdout=subprocess.PIPE, stderr=follower,
                            env={**os.environ, **stage.env})
    os.close(follower)
    text = b""
    try:
        while chunk := os.read(leader, 4096):
            text += chunk
    except OSError:
        pass  # nobody holds the other end any more
    os.close(leader)
    demo.communicate(timeout=60)
    assert demo.returncode == 0
    assert b"running: " in text and b"1 s left" in text and text.endswith(b"\r\x1b[K")
    stage.assert_clean()
