# SPDX-License-Identifier: Apache-2.0
"""A database that was restored from a backup, behind the position that is on record: after --accept-gap nothing that is
written from then on may be passed over, whoever keeps the position, however the relay ends."""

import os
import re
import shutil
import signal

import pytest
from conftest import wait_for
from oracle import records_of
from postgres import INSERT, Database, new_server, query

LABELS = ["log.slot-made:1", "relay.after-read:1", "relay.after-send:1", "relay.after-accept:1", "relay.after-confirm:1"]
OURS, ANOTHER = "onewrite.outbox", "public.outbox"
SHORT = [("journal", OURS, LABELS[2]), ("journal", ANOTHER, LABELS[1]), ("kafka", OURS, LABELS[0]), ("kafka", ANOTHER, LABELS[2]),
         ("exactly", OURS, LABELS[2]), ("exactly", ANOTHER, LABELS[2])]


@pytest.fixture(scope="module")
def server():
    server = new_server(checkpoint_timeout="1h")
    yield server
    server.remove()


@pytest.fixture
def database(server):
    admin = server.connect()
    query(admin, "DROP DATABASE IF EXISTS shop WITH (FORCE)")
    query(admin, "CREATE DATABASE shop")
    admin.close()
    database = Database(server, "shop")
    yield database
    database.reconnect()
    wait_for(lambda: not database.query("SELECT FROM pg_replication_slots WHERE active"), "the slots to be left")
    database.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    database.db.close()


class Backup:
    def __init__(self, server):
        self.server, self.folder = server, server.folder / "backup"
        server.stop("fast")
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(server.data, self.folder, symlinks=True)
        self.owner = server.data.stat()
        server.start()

    def restore(self):
        self.server.stop("fast")
        shutil.rmtree(self.server.data)
        shutil.copytree(self.folder, self.server.data, symlinks=True)
        for folder, folders, files in os.walk(self.server.data):
            for name in [folder, *(os.path.join(folder, entry) for entry in files)]:
                os.chown(name, self.owner.st_uid, self.owner.st_gid)
        self.server.start()


def move_log(database, times):
    """Each time the log goes on by a segment, 16 MiB."""
    for _ in range(times):
        database.query("SELECT pg_switch_wal(); CREATE TABLE IF NOT EXISTS noise (n int); INSERT INTO noise VALUES (1)")


def published(run, to, topic):
    if to.startswith("journal:"):
        return [record["id"] for record in records_of(run("tail", to, "--topic", topic, "--from", "beginning", "--until-end", "-o", "jsonl").stdout)]
    from confluent_kafka import Consumer, TopicPartition
    consumer = Consumer({"bootstrap.servers": to.removeprefix("kafka://"), "group.id": "reader", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "enable.partition.eof": True})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    found, ended = [], 0
    while ended < len(partitions):
        message = consumer.poll(20)
        assert message is not None, "nothing comes"
        if message.error():
            ended += 1
        else:
            found.append(dict(message.headers())["id"].decode())
    consumer.close()
    return found


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("to", ["journal", "kafka", "exactly"])  # who keeps it in the database has it restored as well
@pytest.mark.parametrize("table", [OURS, ANOTHER])
def test_after_a_restore(run, server, database, tmp_path, request, is_long, to, table, label):
    if not is_long and (to, table, label) not in SHORT:
        pytest.skip("with --long")
    if table == ANOTHER and label == "log.slot-made:1":
        pytest.skip("the slot stays")
    topic = f"back.{to}.{table}.{label.replace(':', '.')}"
    url = "journal:bus.db" if to == "journal" else f"kafka://{request.getfixturevalue('kafka').bootstrap}"
    slot = re.sub("[^a-z]", "_", topic)  # what a broker keeps is kept for a slot
    more = ["--exactly-once"] if to == "exactly" else []
    run("init", database.url)
    database.query("CREATE TABLE outbox (id text, aggregatetype text, aggregateid text, type text, payload text)")

    def relay(*flags, **options):
        return run("relay", "--until-end", "--outbox", table, "--slot", slot, "--topic", topic, "--window-messages", 20, *more, *flags,
                   database.url, url, **options)

    def insert(*identities):
        for identity in identities:
            database.query(INSERT.replace("onewrite.outbox", table), identity, "k", "{}")

    relay()
    insert("a")
    relay()
    backup = Backup(server)
    database.reconnect()
    move_log(database, 4)
    insert("b")
    relay()
    backup.restore()
    database.reconnect()
    insert(*(f"c{n}" for n in range(30)))
    said = relay(status=1).stderr
    assert "before the recorded position" in said and "behind? Nothing was published." in said
    relay("--accept-gap", status=-signal.SIGKILL, env={"ONEWRITE_CRASH": label})
    wait_for(lambda: not database.query("SELECT FROM pg_replication_slots WHERE active"), "the slot to be left")
    move_log(database, 6)  # past the position that was given up
    insert("d")
    if relay(status=None).returncode == 1:  # it died before it had given up the position: a person says it once more
        relay("--accept-gap")
    insert("e")
    relay()
    found = published(run, url, topic)
    assert list(dict.fromkeys(found)) == ["a", "b", *(f"c{n}" for n in range(30)), "d", "e"]
    # Who dies in a snapshot begins it again, under other positions; the slot of the backup stands before "a".
    assert len(found) <= 35 + (0 if to in ("journal", "exactly") and table == "public.outbox" else 40), found
