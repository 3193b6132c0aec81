# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every labelled point, and at random moments: nothing lost, no ghost, order kept, duplicates bounded.

In the journal there is no duplicate at all: it keeps the position of its source in its own transaction. A file
and standard output may have at most one window of them for each kill. `./dev test --long` runs all 300 cycles.
"""

import random
import signal
import subprocess
import threading
import time

import pytest
from conftest import wait_for
from oracle import Shop, Verdict, compare, records_of

WINDOW = 50
POISON = "INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload, headers) VALUES ('', 'order', 'k', 'T', 'x', NULL)"


class Writer(threading.Thread):
    """Places orders until it is stopped, some of them rolled back."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.stopped = path, threading.Event()
        self.start()

    def run(self):
        shop, dice = Shop(self.path), random.Random(1)
        while not self.stopped.is_set():
            shop.place(orders=dice.randint(1, 4), rolled_back=dice.random() < 0.1)
            self.stopped.wait(dice.random() * 0.002)

    def stop(self):
        self.stopped.set()
        self.join()


def labels(onewrite):
    """But for those of PostgreSQL's log, of Kafka and of consumers: their own tests pass them."""
    lines = subprocess.run([onewrite, "crash-points"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[0] for line in lines if not line.startswith(("log.", "kafka.", "consumer."))]


def relay(to):
    return ("relay", "--window-messages", WINDOW, "--until-end", "sqlite:shop.db", to)


def accepted(run, tmp_path, to):
    if to.startswith("journal:"):
        return records_of(run("tail", "journal:bus.db", "--topic", "outbox.event.order", "--from", "beginning", "--until-end",
                              "-o", "jsonl").stdout)
    files = sorted(tmp_path.glob("events.jsonl*"), key=lambda path: -int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0)
    return [record for path in files for record in records_of(path.read_text())]


def target(label):
    return "file:events.jsonl?rotate=8KiB" if label.startswith("file.") else "journal:bus.db"


def test_every_labelled_point(onewrite, run, tmp_path):
    """Each label, at its first and at a later passage; a label that is never passed fails the test."""
    for label in labels(onewrite):
        for passage in (1, 3):
            folder = tmp_path / f"{label}-{passage}"
            folder.mkdir()
            run("init", f"sqlite:{folder}/shop.db")
            shop, to = Shop(folder / "shop.db"), target(label)
            for i in range(10):
                shop.place(orders=20)
                shop.db.execute(POISON)
            crash = subprocess.run([onewrite, *map(str, relay(to))], cwd=folder, capture_output=True, text=True, timeout=60,
                                   env={"ONEWRITE_CRASH": f"{label}:{passage}"})
            assert crash.returncode == -signal.SIGKILL, f"{label}:{passage} was never passed: {crash.stderr}"
            again = subprocess.run([onewrite, *map(str, relay(to))], cwd=folder, capture_output=True, text=True, timeout=60)
            assert again.returncode == 0, again.stderr
            got = accepted(lambda *a: subprocess.run([onewrite, *map(str, a)], cwd=folder, capture_output=True, text=True), folder, to)
            verdict = compare(shop.truth(), got)
            bound = 0 if to.startswith("journal:") else WINDOW
            assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= bound, (label, passage, verdict)
            assert len(shop.dead_letters()) == 10 and shop.waiting() == 0, (label, passage)
            shop.db.close()


@pytest.mark.parametrize("to", ["journal:bus.db", "file:events.jsonl", "file:events.jsonl?fsync=never&rotate=64KiB", "stdout:"])
def test_random_kills(onewrite_release, run, is_long, tmp_path, to):
    kills = 300 if is_long else 15
    dice = random.Random(len(to))
    run("init", "sqlite:shop.db")
    writer = Writer(tmp_path / "shop.db")
    out = open(tmp_path / "events.jsonl", "a") if to == "stdout:" else subprocess.DEVNULL
    really = 0
    while really < kills:
        process = subprocess.Popen([onewrite_release, "-q", "relay", "--window-messages", str(WINDOW), "sqlite:shop.db", to],
                                   cwd=tmp_path, stdout=out)
        time.sleep(0.02 + dice.random() * 0.15)
        process.kill()
        really += process.wait() == -signal.SIGKILL
        if to == "stdout:":  # a line that was torn is ended, as a terminal or a log collector would see it
            out.write("" if not (tmp_path / "events.jsonl").read_text() or (tmp_path / "events.jsonl").read_text().endswith("\n") else "\n")
            out.flush()
    writer.stop()
    subprocess.run([onewrite_release, "-q", "relay", "--until-end", "sqlite:shop.db", to], cwd=tmp_path, stdout=out, check=True, timeout=120)
    shop = Shop(tmp_path / "shop.db")
    got = accepted(run, tmp_path, to) if to != "stdout:" else whole(tmp_path / "events.jsonl")
    verdict = compare(shop.truth(), got)
    bound = 0 if to.startswith("journal:") else kills * WINDOW
    assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= bound, verdict
    assert len(shop.truth()) > kills, "the writer hardly wrote"


def whole(path):
    records = []
    for line in path.read_text().splitlines():
        try:
            records += records_of(line + "\n")
        except ValueError:
            pass  # the torn one
    return records


def test_two_relays_killed_in_turn(onewrite_release, run, is_long, tmp_path):
    """One works, the other stands by; whichever works is killed, and the other goes on without a gap."""
    run("init", "sqlite:shop.db")
    writer = Writer(tmp_path / "shop.db")
    command = [onewrite_release, "-q", "relay", "sqlite:shop.db", "journal:bus.db"]
    relays = [subprocess.Popen(command, cwd=tmp_path) for _ in range(2)]
    shop = Shop(tmp_path / "shop.db")
    for i in range(30 if is_long else 6):
        time.sleep(0.3)
        relays[i % 2].kill()
        relays[i % 2].wait()
        relays[i % 2] = subprocess.Popen(command, cwd=tmp_path)
    writer.stop()
    wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
    for process in relays:
        process.terminate()
        assert process.wait(10) == 0
    assert compare(shop.truth(), accepted(run, tmp_path, "journal:")) == Verdict(0, 0, 0, 0)
