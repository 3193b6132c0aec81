# SPDX-License-Identifier: Apache-2.0
"""The relay from an SQLite outbox: what arrives, in which order, who works, and how it ends."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import time

import pytest
from conftest import wait_for
from oracle import Shop, Verdict, compare, records_of

ALL_RIGHT = Verdict(0, 0, 0, 0)


@pytest.fixture
def shop(run, tmp_path):
    run("init", "sqlite:shop.db")
    return Shop(tmp_path / "shop.db")


@pytest.fixture
def journal(run):
    """What the journal has, in the order in which it was accepted."""

    def read(url="journal:bus.db", topic="outbox.event.order"):
        return records_of(run("tail", url, "--topic", topic, "--from", "beginning", "--until-end", "-o", "jsonl").stdout)

    return read


def drain(run, to="journal:bus.db", *options, **more):
    return run("relay", *options, "--until-end", "sqlite:shop.db", to, **more)


def test_a_plain_insert_of_five_columns_arrives(run, tmp_path):
    run("init", "sqlite:shop.db")
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) VALUES (?, ?, ?, ?, ?)",
                   ("id-1", "order", "4711", "OrderPlaced", '{"total": 1.50}'))
    drain(run)
    record, = records_of(run("tail", "journal:bus.db", "--topic", "outbox.event.order", "--until-end", "-o", "jsonl").stdout)
    assert list(record) == ["topic", "partition", "offset", "time", "id", "key", "headers", "value"]
    assert record["id"] == "id-1" and record["key"] == "4711" and record["value"] == '{"total": 1.50}'
    assert record["headers"]["type"] == "OrderPlaced"


def test_commit_order_and_no_ghosts(run, shop, journal):
    for i in range(50):
        shop.place(orders=1 + i % 3, rolled_back=i % 7 == 0)
    drain(run)
    assert compare(shop.truth(), journal()) == ALL_RIGHT
    assert shop.waiting() == 0


def test_templates_route(run, tmp_path):
    run("init", "sqlite:shop.db")
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("INSERT INTO onewrite_outbox (aggregatetype, aggregateid, type, payload, headers) "
                   "VALUES ('order', '1', 'Paid', '{\"region\": {\"name\": \"north\"}}', '{\"tenant\": \"acme\", \"n\": 7}')")
    drain(run, "file:events.jsonl", "--topic", "${!headers.tenant}.${!payload.region.name}.$$", "--key", "${!type}-${!headers.n}")
    record, = records_of((tmp_path / "events.jsonl").read_text())
    assert record["topic"] == "acme.north.$" and record["key"] == "Paid-7"
    assert record["headers"] == {"type": "Paid", "tenant": "acme", "n": "7"}


def test_rows_are_marked_and_kept_where_that_is_asked(run, shop, journal):
    shop.place(orders=10)
    run("relay", "--until-end", "sqlite:shop.db?after=mark", "journal:bus.db")
    assert shop.waiting() == 10
    assert shop.db.execute("SELECT count(*) FROM onewrite_outbox WHERE accepted_at IS NULL").fetchone() == (0,)
    run("relay", "--until-end", "sqlite:shop.db?after=mark", "journal:bus.db")
    assert compare(shop.truth(), journal()) == ALL_RIGHT


def test_marked_rows_are_purged_when_old(run, start, shop):
    shop.place(orders=10)
    start("relay", "sqlite:shop.db?after=mark&keep=1ms", "journal:bus.db")
    wait_for(lambda: shop.waiting() == 0, "marked rows to be deleted")


def test_new_rows_are_seen_at_once(run, start, shop, tmp_path):
    """Not after an interval: the median of the times from commit to publication is a few milliseconds."""
    relay = start("relay", "sqlite:shop.db", "stdout:")
    times = []
    for _ in range(15):
        began = time.monotonic()
        shop.place()
        relay.stdout.readline()
        times.append(time.monotonic() - began)
    assert sorted(times)[7] < 0.2, times


def test_seq_goes_on_after_the_table_was_emptied(run, shop, journal):
    shop.place(orders=5)
    drain(run)
    shop.place(orders=5)
    drain(run)
    assert compare(shop.truth(), journal()) == ALL_RIGHT


def test_a_new_database_at_the_same_path_is_not_swallowed(run, tmp_path, journal):
    """The journal remembers a position of the first file; the second one counts from 1 again."""
    truth = {}
    for name in ("first", "second"):
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"shop.db{suffix}").unlink(missing_ok=True)
        run("init", "sqlite:shop.db")
        with sqlite3.connect(tmp_path / "shop.db") as db:
            for number in range(1, 4):
                db.execute("INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) "
                           "VALUES (?, 'order', ?, 'T', 'x')", (f"{name}-{number}", name))
                truth[f"{name}-{number}"] = (name, number)
        db.close()
        drain(run)
    assert compare(truth, journal()) == ALL_RIGHT


def test_a_database_restored_from_a_backup_is_not_swallowed(run, shop, journal, tmp_path):
    shop.place(orders=3)
    shop.db.execute("VACUUM INTO ?", (str(tmp_path / "backup.db"),))
    shop.place(orders=10)
    drain(run)
    shop.db.close()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"shop.db{suffix}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", tmp_path / "shop.db")
    restored = Shop(tmp_path / "shop.db")
    restored.count = 1000  # other orders than those that the backup does not know of
    restored.place(orders=4)
    done = drain(run)
    assert "went back in time" in done.stderr
    identities = {record["id"] for record in journal()}
    assert set(restored.truth()) <= identities


def test_a_second_relay_stands_by_and_takes_over(run, start, shop, journal, tmp_path):
    def log(name):
        return (tmp_path / name).read_text()

    first = start("relay", "sqlite:shop.db", "journal:bus.db", stderr=open(tmp_path / "first.log", "w"))
    wait_for(lambda: "working" in log("first.log"), "the first relay to work")
    start("relay", "sqlite:shop.db", "journal:bus.db", stderr=open(tmp_path / "second.log", "w"))
    wait_for(lambda: "standing by" in log("second.log"), "the second relay to stand by")
    assert str(first.pid) in log("second.log"), "it names the one that works"
    shop.place(orders=3)
    wait_for(lambda: shop.waiting() == 0, "the first relay to publish")
    first.kill()
    began = time.monotonic()
    shop.place(orders=3)
    wait_for(lambda: shop.waiting() == 0, "the second relay to take over")
    assert time.monotonic() - began < 1.5
    assert log("second.log").count("standing by") == 1
    assert compare(shop.truth(), journal()) == ALL_RIGHT


def test_sigterm_drains_and_ends_with_0(start, shop, run, journal, tmp_path):
    relay = start("relay", "sqlite:shop.db", "journal:bus.db", stderr=open(tmp_path / "log", "w"))
    shop.place(orders=500)
    wait_for(lambda: shop.waiting() < 500, "the relay to begin")
    relay.send_signal(signal.SIGTERM)
    assert relay.wait(10) == 0
    assert "stopped" in (tmp_path / "log").read_text()
    drain(run)
    assert compare(shop.truth(), journal()) == ALL_RIGHT


@pytest.mark.parametrize("column, value, reason", [
    ("payload", "x" * (1024 * 1024 + 1), "payload has 1048577 bytes, the limit is 1048576"),
    ("headers", '{"a": "line\\nbreak"}', 'header "a" has a line break'),
    ("headers", "no json", "headers: "),
    ("aggregateid", b"\xff\xfe", "aggregateid is not valid UTF-8"),
    ("id", "", "id is empty"),
], ids=["large", "line break", "no json", "no utf-8", "no id"])
def test_what_can_never_be_published_is_set_aside_and_the_rest_goes_on(run, shop, journal, column, value, reason):
    shop.place(orders=2)
    row = {"id": "bad-1", "aggregatetype": "order", "aggregateid": "k", "type": "T", "payload": "p", "headers": None} | {column: value}
    shop.db.execute(f"INSERT INTO onewrite_outbox ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    shop.place(orders=2)
    done = drain(run)
    letter, = shop.dead_letters()
    assert reason in letter[1]
    assert reason.replace('"', '\\"') in done.stderr and len(done.stderr.splitlines()) <= 4
    assert shop.waiting() == 0
    assert compare(shop.truth(), journal()) == ALL_RIGHT
    kept, = shop.db.execute(f"SELECT {column} FROM onewrite_dead_letter").fetchone()
    assert kept == value, "a dead letter is the message as it was"


def test_the_wal_stays_bounded_under_load(start, shop, tmp_path):
    start("relay", "sqlite:shop.db", "journal:bus.db")
    largest = 0
    for _ in range(300):
        shop.place(orders=100)
        largest = max(largest, (tmp_path / "shop.db-wal").stat().st_size)
    wait_for(lambda: shop.waiting() == 0, "the relay to catch up")
    assert largest < 40 * 1024 * 1024
    assert (tmp_path / "bus.db-wal").stat().st_size < 40 * 1024 * 1024


def mounted(path, size):
    path.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size={size} tmpfs {path} 2>/dev/null") != 0:
        pytest.skip("mounting a tmpfs is not permitted here")


def test_a_full_disk_loses_nothing(run, start, shop, journal, tmp_path):
    mounted(tmp_path / "small", "2m")
    try:
        filler = tmp_path / "small" / "filler"
        filler.write_bytes(b"x" * 1300000)
        shop.place(orders=8000)
        relay = start("relay", "sqlite:shop.db", "journal:small/bus.db", stderr=open(tmp_path / "log", "w"))
        wait_for(lambda: "no space left" in (tmp_path / "log").read_text(), "the disk to be full")
        assert relay.poll() is None, "it goes on trying"
        assert shop.waiting() > 0
        assert len((tmp_path / "log").read_text().splitlines()) < 10
        os.system(f"mount -o remount,size=64m {tmp_path / 'small'}")
        wait_for(lambda: shop.waiting() == 0, "the relay to go on once there is space", 40)
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(10) == 0
        assert compare(shop.truth(), journal("journal:small/bus.db")) == ALL_RIGHT
    finally:
        os.system(f"umount -l {tmp_path / 'small'}")


# --- bad input: one clear line, the right exit status ------------------------------------------------------

def says(done, *words):
    """The last line names the thing at fault; a few lines at most."""
    lines = done.stderr.strip().splitlines()
    assert 1 <= len(lines) <= 3, done.stderr
    assert all(word in lines[-1] for word in words), (words, done.stderr)


def test_no_such_file(run):
    says(run("relay", "sqlite:nope.db", "journal:bus.db", status=69), "nope.db: no such file")


def test_no_such_file_can_be_waited_for(run, start, tmp_path):
    relay = start("relay", "--wait", "20s", "--until-end", "sqlite:late.db", "journal:bus.db")
    run("init", "sqlite:late.db")
    assert relay.wait(20) == 0


def test_not_a_database(run, tmp_path):
    (tmp_path / "shop.db").write_text("this is no database, it is a text of more than a hundred bytes\n" * 20)
    says(run("relay", "sqlite:shop.db", "journal:bus.db", status=1), "shop.db: not an SQLite database")
    assert (tmp_path / "shop.db").read_text().startswith("this is no database")


def test_a_journal_that_is_none(run, shop, tmp_path):
    (tmp_path / "bus.db").write_text("this is no database, it is a text of more than a hundred bytes\n" * 20)
    shop.place()
    says(run("relay", "sqlite:shop.db", "journal:bus.db", status=1), "bus.db: not an SQLite database")
    assert shop.waiting() == 1


def test_a_schema_of_a_newer_version(run, shop):
    shop.place()
    shop.db.execute("UPDATE onewrite_meta SET value = '99' WHERE name = 'schema.outbox'")
    says(run("relay", "sqlite:shop.db", "journal:bus.db", status=1), "shop.db", "version 99", "newer onewrite")
    assert shop.waiting() == 1


def test_a_read_only_file(run, shop, tmp_path):
    shop.db.close()
    os.chmod(tmp_path / "shop.db", 0o444)
    if os.access(tmp_path / "shop.db", os.W_OK):
        if os.system(f"cd {tmp_path} && mkdir ro && cp shop.db ro/ && mount --bind ro ro && mount -o remount,ro,bind ro 2>/dev/null"):
            pytest.skip("this user may write everywhere, and mounting is not permitted")
        try:
            says(run("relay", "sqlite:ro/shop.db", "journal:bus.db", status=77), "ro/shop.db", "read-only")
        finally:
            os.system(f"umount -l {tmp_path / 'ro'}")
        return
    says(run("relay", "sqlite:shop.db", "journal:bus.db", status=77), "shop.db", "read-only")


def test_unknown_scheme(run):
    says(run("relay", "sqlite:shop.db", "kafkaesque://x", status=2), "kafkaesque")


def test_a_wrong_template(run, shop):
    says(run("relay", "--topic", "${!aggregate}", "sqlite:shop.db", "journal:bus.db", status=2), "${!aggregate}", "aggregatetype")


def test_a_closed_standard_output(run, start, shop):
    shop.place(orders=5)
    reader, writer = os.pipe()
    os.close(reader)
    relay = start("relay", "sqlite:shop.db", "stdout:", stdout=writer)
    os.close(writer)
    assert relay.wait(10) == 1
    assert "standard output was closed" in relay.stderr.read()
    assert shop.waiting() == 5


# --- run --------------------------------------------------------------------------------------------------

CONFIG = """version: 1
stores: {{ shop: sqlite:shop.db, second: sqlite:second.db }}
brokers: {{ bus: journal:bus.db }}
relays:
  - name: orders
    from: {{ store: shop }}
    to: {{ broker: bus, topic: "{topic}" }}
  - name: others
    from: {{ store: second }}
    to: {{ broker: bus, topic: other }}
"""


def two_shops(run, tmp_path):
    run("init", "sqlite:shop.db")
    run("init", "sqlite:second.db")
    return Shop(tmp_path / "shop.db"), Shop(tmp_path / "second.db")


@pytest.mark.parametrize("kind", ["debug", "tsan"])
def test_run_reads_its_configuration_again(request, run, start, journal, tmp_path, kind):
    program = request.getfixturevalue("onewrite" if kind == "debug" else "onewrite_tsan")
    shop, second = two_shops(run, tmp_path)
    config, log = tmp_path / "onewrite.yaml", tmp_path / "log"
    config.write_text(CONFIG.format(topic="before"))
    daemon = start("run", "onewrite.yaml", stderr=open(log, "w"), program=program)
    shop.place()
    second.place()
    wait_for(lambda: shop.waiting() + second.waiting() == 0, "both relays")
    config.write_text("version: 1\nrelays: nonsense\n")
    daemon.send_signal(signal.SIGHUP)
    wait_for(lambda: "stays as it was" in log.read_text(), "the wrong file to be refused")
    config.write_text(CONFIG.format(topic="after"))
    daemon.send_signal(signal.SIGHUP)
    wait_for(lambda: "read again" in log.read_text(), "the new file to be read")
    shop.place()
    second.place()
    wait_for(lambda: shop.waiting() + second.waiting() == 0, "both relays, after the reload")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(15) == 0, log.read_text()
    assert len(journal(topic="before")) == 1 and len(journal(topic="after")) == 1 and len(journal(topic="other")) == 2
    assert log.read_text().count("relay=others") == 2, "a relay that did not change was not touched"


def test_run_speaks_to_systemd(run, start, tmp_path):
    two_shops(run, tmp_path)
    (tmp_path / "onewrite.yaml").write_text(CONFIG.format(topic="t"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        daemon = start("run", "onewrite.yaml", env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
        assert systemd.recv(100) == b"READY=1"
        assert systemd.recv(100) == b"WATCHDOG=1"
        daemon.send_signal(signal.SIGHUP)
        heard = [systemd.recv(100) for _ in range(3)]
        assert any(h.startswith(b"RELOADING=1\nMONOTONIC_USEC=") for h in heard) and b"READY=1" in heard
        daemon.send_signal(signal.SIGTERM)
        while systemd.recv(100) != b"STOPPING=1":
            pass
        assert daemon.wait(10) == 0


def test_run_says_everything_that_is_wrong_with_a_configuration(run, tmp_path):
    (tmp_path / "orders.yaml").write_text("version: 1\nstores: { shop: sqlite:shop.db }\nbrokers: { bus: journal:bus.db }\n"
                                          "relays:\n  - name: a\n    form: { store: shop }\n    to: { broker: bus }\n")
    done = run("run", "orders.yaml", status=78)
    assert 'orders.yaml:6:5: relays[0].form: unknown key; did you mean "from"?' in done.stderr.splitlines()


def test_json_logs(run, shop):
    shop.place()
    done = drain(run, "journal:bus.db", "--log-format", "json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["msg"] for line in lines] == ["working", "stopped"] and lines[1]["accepted"] == "1"
