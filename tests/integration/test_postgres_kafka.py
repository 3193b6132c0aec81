# SPDX-License-Identifier: Apache-2.0
"""From PostgreSQL to Apache Kafka, by log, by message and by polling: the one command, and kill -9.

`./dev test --long` kills at 200 random moments; otherwise at a few. Every labelled point is passed in both.
"""

import pathlib
import random
import re
import signal
import subprocess
import time

import pytest
from conftest import wait_for
from faults import WAYS, WINDOW, background, kill, tell, way  # noqa: F401 (fixtures)
from kafka import *  # noqa: F403 (fixtures)
from oracle import compare
from postgres import PgShop, pg_database, pg_server, query  # noqa: F401 (fixtures)

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOPIC = "outbox.event.order"
RELAY = ["relay.after-read", "relay.after-send", "relay.after-accept", "relay.before-aside", "relay.after-aside",
         "relay.after-confirm"]
START = ["log.slot-made", "log.snapshot-noted", "log.mid-snapshot", "log.snapshot-read"]
LABELS = {
    "log": [*START, *RELAY, "log.mid-replay", "kafka.before-record", "kafka.after-record"],
    "log-exactly": [*START, *RELAY, "relay.before-commit", "log.mid-replay", "kafka.mid-commit", "kafka.after-commit"],
    "message": ["log.slot-made", *RELAY, "kafka.before-record", "kafka.after-record"],
    "message-exactly": ["log.slot-made", *RELAY, "relay.before-commit", "kafka.mid-commit", "kafka.after-commit"],
    "polling": [*RELAY, "outbox.mid-confirm", "outbox.mid-aside"],
}


def test_the_one_command_on_a_new_cluster(run, pg_database, kafka):
    """Nothing is there: no topic, no offsets, no slot. Then it goes on where it was, without a duplicate."""
    to = f"kafka://{kafka.bootstrap}"
    run("init", pg_database.url)
    run("relay", "--until-end", pg_database.url, to)
    shop = PgShop(pg_database)
    for _ in range(2):
        shop.place(orders=30)
        run("relay", "--until-end", pg_database.url, to)
    assert compare(shop.truth(), kafka.records(TOPIC)) == (0, 0, 0, 0)


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_random_kills(way, is_long, onewrite_release):
    kills, really, dice = 200 if is_long else 6, 0, random.Random(7)
    writer = way.writer()
    while really < kills:
        relay = background(onewrite_release, way)
        time.sleep(0.1 + dice.random() * 0.6)
        really += kill(relay) == -signal.SIGKILL
    writer.stop()
    way.once()
    verdict = way.must_hold(duplicates=kills * WINDOW)
    assert len(way.shop.truth()) > 10 * kills, "the writer hardly wrote"
    tell(kills=kills, committed=len(way.shop.truth()), duplicates=verdict.duplicates)


def crash_at(way, onewrite, label, passage):
    wait_for(way.is_left, "the slot to be left")
    done = subprocess.run([str(onewrite), *map(str, way.command("--until-end"))], cwd=way.folder, capture_output=True, text=True,
                          timeout=90, env={"ONEWRITE_CRASH": f"{label}:{passage}"})
    assert done.returncode == -signal.SIGKILL, f"{label}:{passage} was never passed: {done.stderr}"


def prepare(way, number):
    """A few short transactions, messages that nobody can publish, and a transaction that the server streams."""
    for _ in range(6):
        way.shop.place(orders=20)
    for i in range(2):
        query(way.shop.db, "SELECT onewrite.publish('order', 'k', 'T', 'x', id => %s, headers => '{\"h\":\"a\\nb\"}')", f"bad-{number}-{i}")
    way.place_large(messages=40)
    way.shop.place(orders=20)


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_every_labelled_point(way, onewrite, is_long):
    """One relay after another is killed, each at another point; the last one publishes what is left."""
    way.database.query("ALTER SYSTEM SET logical_decoding_work_mem = '64kB'")
    way.database.query("SELECT pg_reload_conf()")
    if way.is_message:
        way.database.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
    points = [(label, passage) for label in LABELS[way.name] for passage in ((1,) if label in START or not is_long else (1, 2))]
    for number, (label, passage) in enumerate(points):
        # What is written before there is a slot is seen by nobody, by message.
        if not (way.is_message and label in START):
            prepare(way, number)
        crash_at(way, onewrite, label, passage)
        if label == START[-1]:
            way.once()  # the snapshot is done, the log begins
    wait_for(way.is_left, "the slot to be left")
    way.once()
    way.database.query("ALTER SYSTEM RESET logical_decoding_work_mem")
    way.database.query("SELECT pg_reload_conf()")
    verdict = way.verdict()
    assert verdict[:3] == (0, 0, 0), verdict
    assert verdict.duplicates <= (0 if way.is_exactly else len(points) * WINDOW), verdict
    bad = {identity for identity, _ in way.shop.dead_letters()}
    assert bad == {f"bad-{n}-{i}" for n, (label, _) in enumerate(points) for i in range(2)
                   if not (way.is_message and label in START)}
    tell(crashes=len(points), committed=len(way.shop.truth()), duplicates=verdict.duplicates)


def test_every_label_has_its_test(onewrite):
    lines = subprocess.run([onewrite, "crash-points"], capture_output=True, text=True, check=True).stdout.splitlines()
    elsewhere = ("consumer.", "journal.", "file.", "log.before-record", "log.after-record")  # test_kill.py, test_postgres_log.py
    assert {line.split()[0] for line in lines if not line.startswith(elsewhere)} == {label for labels in LABELS.values() for label in labels}


def test_the_readme(run, tmp_path, pg_database, kafka):
    """What README.md shows of PostgreSQL and Kafka, command by command and then the configuration, as it stands."""
    def here(text):  # and in a topic that no other test writes to
        for there, ours in ("postgres://localhost/orders", url), ("kafka://localhost:9092", to), \
                           ("postgres://localhost/pay", url), ("psql -d orders", f"psql -X {url}"), \
                           ("outbox.event.order", "outbox.event.readme"), ("aggregatetype => 'order'", "aggregatetype => 'readme'"):
            text = text.replace(there, ours)
        return text

    url, to = pg_database.url, f"kafka://{kafka.bootstrap}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"\*\*PostgreSQL and Kafka\.\*\*.*?```\n(.*?)```", readme, re.DOTALL).group(1)
    init, relay, psql, tail = re.fullmatch(r"(onewrite init .*?)  +#.*?\n(onewrite relay .*?) &\n(psql .*?\")\n(onewrite tail .*?)\n",
                                           shown, re.DOTALL).groups()
    run(*here(init).split()[1:])
    subprocess.run(["bash", "-euc", here(psql)], check=True, capture_output=True, cwd=tmp_path)
    run(*here(relay).split()[1:], "--until-end")
    assert '{"total":990}' in run(*here(tail).split()[1:], "--until-end").stdout
    config = tmp_path / "onewrite.yaml"
    config.write_text(here(re.search(r"```yaml\n(.*?)```", readme, re.DOTALL).group(1)))
    pg_database.query("CREATE TABLE paid (order_id int, cents int)")
    run("validate", config)
    run("run", "--until-end", config)
    assert pg_database.query("SELECT order_id, cents FROM paid") == [(42, 990)]
