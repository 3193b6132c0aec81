# SPDX-License-Identifier: Apache-2.0
"""From PostgreSQL's log to Apache Kafka: the one command, on a cluster that has seen nothing yet, and under kill -9."""

import random
import subprocess
import time

import pytest
from conftest import wait_for
from kafka import *  # noqa: F403 (fixtures)
from oracle import compare
from postgres import PgShop, PgWriter, pg_database, pg_server  # noqa: F401 (fixtures)

TOPIC = "outbox.event.order"


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


@pytest.mark.parametrize("options", [(), ("--exactly-once",)], ids=["at least once", "exactly once"])
def test_killed_on_the_way(run, onewrite, pg_database, kafka, is_long, options, tmp_path):
    topic = "killed-exactly" if options else "killed"
    command = [str(onewrite), "relay", *options, "--window-messages", "50", "--topic", topic, pg_database.url, f"kafka://{kafka.bootstrap}"]
    run("init", pg_database.url)
    kills, dice = 60 if is_long else 5, random.Random(7)
    writer = PgWriter(pg_database, dice, pause_s=0.01)
    for _ in range(kills):
        relay = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(0.7 + dice.random())
        relay.kill()
        relay.wait()
    writer.stop()
    shop = PgShop(pg_database)
    run("relay", *options, "--until-end", "--topic", topic, pg_database.url, f"kafka://{kafka.bootstrap}", timeout=120)
    verdict = compare(shop.truth(), kafka.records(topic))
    assert verdict[:3] == (0, 0, 0) and verdict.duplicates <= (0 if options else kills * 50), verdict
    assert len(shop.truth()) > 20
