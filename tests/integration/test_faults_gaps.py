# SPDX-License-Identifier: Apache-2.0
"""From PostgreSQL to Kafka when the log itself has a gap, or there is no room: the relay says so and stops, or waits.

A slot that was dropped or read by another, and a record of another server, stand in test_postgres_log.py.
"""

import resource
import shutil
import subprocess

import pytest
from conftest import wait_for
from faults import SOME_BY_LOG, own_server, tell, way, way_on  # noqa: F401 (fixtures)
from kafka import *  # noqa: F403 (fixtures)
from postgres import Database, pg_database, pg_server, query  # noqa: F401 (fixtures)


@pytest.fixture
def lone_way(request, own_server, tmp_path):
    query(own_server.connect(), "CREATE DATABASE shop")
    return way_on(request, request.param, Database(own_server, "shop"), tmp_path)


def goes_on(way):
    """A person has accepted the gap: once, and then as before."""
    way.once("--accept-gap")
    way.shop.place(orders=5)
    way.once()
    verdict = way.verdict()
    assert verdict.ghosts == verdict.out_of_order == 0, verdict
    return verdict


@pytest.mark.parametrize("way", SOME_BY_LOG, indirect=True)
def test_a_slot_that_is_gone(way):
    way.once()
    way.shop.place(orders=10)
    way.once()
    way.database.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
    way.shop.place(orders=10)
    stopped = way.once(status=1).stderr
    assert "is gone, although position" in stopped and "--accept-gap" in stopped
    # Our own outbox still has its rows; a message in the log alone is lost, which is what a person has accepted.
    assert goes_on(way).lost == (10 if way.is_message else 0)


@pytest.mark.parametrize("way", ["log", "log-exactly"], indirect=True)
def test_another_table_in_its_place(way):
    """Its rows are in no log until the publication has it, and must not be taken for published and deleted then."""
    way.once()
    way.shop.place(orders=10)
    way.once()
    relay = way.relay()
    way.shop.place(orders=10)
    wait_for(lambda: len(set(way.ids())) == 20, "the relay to be at work")
    query(way.shop.db, "BEGIN; ALTER TABLE onewrite.outbox RENAME TO outbox_of_before; "
                       "CREATE TABLE onewrite.outbox (LIKE onewrite.outbox_of_before INCLUDING ALL); COMMIT")
    way.shop.place(orders=10)
    relay.terminate()
    assert relay.wait(20) == 0
    assert "has no table onewrite.outbox" in way.once(status=None).stderr
    query(way.shop.db, "ALTER PUBLICATION onewrite_outbox ADD TABLE onewrite.outbox")
    stopped = way.once(status=1).stderr
    assert "onewrite.outbox was replaced by another table" in stopped and "--accept-gap" in stopped
    assert way.shop.waiting() == 10
    assert goes_on(way).lost == 0
    way.once()
    assert way.shop.waiting() == 0


@pytest.mark.server(max_slot_wal_keep_size="16MB", max_wal_size="32MB", min_wal_size="32MB")
@pytest.mark.parametrize("lone_way", SOME_BY_LOG, indirect=True)
def test_a_slot_that_held_back_too_much(lone_way):
    way = lone_way
    way.once()
    way.shop.place(orders=10)
    way.once()
    way.shop.place(orders=10)
    way.database.query("CREATE TABLE noise (t text)")

    def is_lost():
        way.database.query("INSERT INTO noise SELECT repeat(md5(n::text), 100) FROM generate_series(1, 10000) n")
        way.database.query("TRUNCATE noise")
        way.database.query("SELECT pg_switch_wal()")
        way.database.query("CHECKPOINT")
        return way.database.one("SELECT wal_status FROM pg_replication_slots") == "lost"

    wait_for(is_lost, "the slot to be lost", 60)
    stopped = way.once(status=1).stderr
    assert "is lost" in stopped and "--accept-gap" in stopped and stopped.count("error") <= 2
    assert goes_on(way).lost == (10 if way.is_message else 0)


@pytest.mark.parametrize("lone_way", SOME_BY_LOG, indirect=True)
def test_a_restored_backup(lone_way, own_server, tmp_path):
    """The data of an hour ago, under the same system identifier: its log ends before what was published."""
    way = lone_way
    way.once()
    way.shop.place(orders=10)
    way.once()
    own_server.stop("fast")
    shutil.copytree(own_server.data, tmp_path / "backup", symlinks=True)
    own_server.start()
    way.database.reconnect()
    way.shop.reconnect()
    way.shop.place(orders=50)
    way.database.query("CREATE TABLE noise AS SELECT md5(n::text) FROM generate_series(1, 20000) n")
    way.shop.place(orders=1)
    way.once()
    published = len(way.ids())
    own_server.stop("immediate")
    owner = own_server.data.stat()
    shutil.rmtree(own_server.data)
    subprocess.run(["cp", "-a", tmp_path / "backup", own_server.data], check=True)
    shutil.chown(own_server.data, owner.st_uid, owner.st_gid)
    subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", own_server.data], check=True)
    own_server.start()
    way.database.reconnect()
    way.shop.reconnect()
    way.shop.count = 1000  # other identities than in the life that was lost
    way.shop.place(orders=10)
    stopped = way.once(status=1).stderr
    assert "before the recorded position" in stopped and "--accept-gap" in stopped
    assert len(way.ids()) == published, "something was published all the same"
    way.once("--accept-gap")
    way.shop.place(orders=5)
    way.once()
    # What was published of the life that was lost is in no table now; all of this one is there.
    assert way.verdict().lost == 0


@pytest.mark.parametrize("way", ["log", "log-exactly"], indirect=True)
def test_no_room_for_a_large_transaction(way, onewrite_release, pg_server, tmp_path):
    """The file that it is put aside in may not grow: one line says where and why, and nothing is lost."""
    admin = pg_server.connect()
    query(admin, "ALTER SYSTEM SET logical_decoding_work_mem = '64kB'")
    query(admin, "SELECT pg_reload_conf()")
    try:
        way.once()
        way.place_large(messages=400, size=20000)
        relay = way.relay("--until-end", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
        wait_for(lambda: "large transaction" in way.said() or relay.poll() is not None, "it to be said", 30)
        relay.kill()
        relay.wait()
        assert way.said().count("cannot put a large transaction aside in") == 1, way.said()
        assert "TMPDIR" in way.said()
        wait_for(way.is_left, "the slot to be left")
        way.once()
        way.must_hold()
    finally:
        query(admin, "ALTER SYSTEM RESET logical_decoding_work_mem")
        query(admin, "SELECT pg_reload_conf()")
