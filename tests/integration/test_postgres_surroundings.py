# SPDX-License-Identifier: Apache-2.0
"""What a database and its roles may have been given: an encoding, settings of sessions, names, ways to reach it."""

import copy
import itertools
import os
import pathlib
import shutil
import subprocess
import tempfile
from urllib.parse import quote

import psycopg2
import pytest
from conftest import wait_for
from oracle import records_of
from ports import free_port
from postgres import is_dropped, new_server, pg_database, pg_server, query  # noqa: F401 (fixtures)

_numbers = itertools.count(1)


@pytest.fixture
def database(pg_server):
    """database(clause): the name of a new database, made as the clause says."""
    made = []
    admin = pg_server.connect()

    def call(clause=""):
        made.append(f"surrounded{next(_numbers)}")
        query(admin, f"CREATE DATABASE {made[-1]} {clause}")
        return made[-1]

    yield call
    for name in made:
        wait_for(lambda name=name: is_dropped(admin, name), f"database {name} to be given up")
    admin.close()


def values(tmp_path):
    path = tmp_path / "events.jsonl"
    return [(record["id"], record["value"]) for record in records_of(path.read_text())] if path.exists() else []


@pytest.mark.parametrize("by", ["log", "message", "polling"])
@pytest.mark.parametrize("encoding,word", [("LATIN1", "é"), ("EUC_JP", "日本"), ("SQL_ASCII", "é")])
def test_encodings(run, pg_server, database, tmp_path, encoding, word, by):
    """What is published is UTF-8 whatever the database is in. One of SQL_ASCII holds any bytes: what is no text goes as bytes,
    and holds nothing up."""
    name = database(f"TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    url = pg_server.url(name)
    run("init", *(["--outbox", "message"] if by == "message" else []), url)
    db = pg_server.connect(name)
    db.set_client_encoding("UTF8" if encoding != "SQL_ASCII" else "SQL_ASCII")

    def put(identity, payload, kind="T"):
        query(db, b"SELECT onewrite.publish('order', 'k', E'" + kind.encode() + b"', '" + payload + b"', id => '" + identity.encode() + b"')")

    put("first", word.encode())
    run("relay", "--by", by, "--until-end", url, "file:events.jsonl")
    expected = [("first", word), ("second", word), ("last", "x")]
    put("second", word.encode())
    put("bad", word.encode(), f"bad\\n{word}")
    if encoding == "SQL_ASCII" and by == "message":
        with pytest.raises(psycopg2.Error, match="UTF8"):  # JSON is UTF-8: this is told to whom it concerns
            put("raw", b"\xe9")
    elif encoding == "SQL_ASCII":
        put("raw", b"\xe9")
        expected.insert(2, ("raw", {"base64": "6Q=="}))
    put("last", b"x")
    run("relay", "--by", by, "--until-end", url, "file:events.jsonl")
    assert values(tmp_path) == expected
    assert query(db, "SELECT id FROM onewrite.dead_letter") == [("bad",)]
    if by != "message":
        run("dlq", "replay", url, "bad")
    db.close()


@pytest.mark.parametrize("setting,value", [
    ("default_transaction_read_only", "on"), ("default_transaction_isolation", "'repeatable read'"), ("lock_timeout", "1"),
    ("statement_timeout", "1"), ("idle_in_transaction_session_timeout", "1"),
    ("transaction_timeout", "50"), ("standard_conforming_strings", "off"), ("client_encoding", "LATIN1"), ("search_path", "''"),
    ("bytea_output", "escape"), ("\"DateStyle\"", "'SQL, DMY'"), ("\"TimeZone\"", "'Asia/Kolkata'")])
def test_settings_of_a_role(run, pg_server, database, tmp_path, setting, value):
    name = database()
    url = pg_server.url(name)
    admin = pg_server.connect()
    if not query(admin, "SELECT 1 FROM pg_settings WHERE name = %s", setting.strip('"')):
        pytest.skip("this server does not know it")
    query(admin, f"ALTER ROLE postgres IN DATABASE {name} SET {setting} = {value}")
    run("init", url)
    db = psycopg2.connect(host="127.0.0.1", port=pg_server.port, user="postgres", dbname=name,
                          options="-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0")
    db.autocommit = True
    db.set_client_encoding("UTF8")
    for by in ("polling", "log", "log"):  # the log's first start, and what comes after it
        query(db, "SELECT onewrite.publish('order', 'k', 'T', 'é', id => 'text')")
        query(db, "SELECT onewrite.publish_bytes('order', 'k', 'T', decode('00ff5c', 'hex'), id => 'bytes')")
        query(db, "SELECT onewrite.publish('order', 'k', 'T' || chr(10), 'x', id => 'bad')")
        run("relay", "--by", by, "--until-end", url, "file:events.jsonl")
        assert values(tmp_path) == [("text", "é"), ("bytes", {"base64": "AP9c"})], by
        (tmp_path / "events.jsonl").unlink()
    assert query(db, "SELECT count(*) FROM onewrite.dead_letter") == [(3,)]
    assert query(db, "SELECT count(*) FROM onewrite.outbox") == [(0,)]
    db.close()
    admin.close()


def test_ways_to_reach_it(run, pg_server, database, tmp_path):
    """As libpq has them: a socket, several hosts, a service, what is in the environment."""
    name, port, folder = database(), pg_server.port, pg_server.folder
    (tmp_path / "services").write_text(f"[shop]\nhost=127.0.0.1\nport={port}\nuser=postgres\ndbname={name}\n")
    services = {"PGSERVICEFILE": str(tmp_path / "services")}
    run("init", pg_server.url(name))
    db = pg_server.connect(name)
    for n, (url, env) in enumerate([
            (f"postgres:///{name}?host={folder}&port={port}&user=postgres", {}),
            (f"postgres://postgres@{quote(str(folder), safe='')}:{port}/{name}", {}),
            (f"postgres:///{name}", {"PGHOST": str(folder), "PGPORT": str(port), "PGUSER": "postgres"}),
            (f"postgres://postgres@127.0.0.1:1,127.0.0.1:{port}/{name}?target_session_attrs=read-write", {}),
            (f"postgres://postgres@127.0.0.1:{port}/{name}?options=-c%20work_mem%3D8MB", {}),
            ("postgres://", {"PGSERVICE": "shop", **services}),
            ("postgres://?service=shop&sslmode=disable", services)]):
        query(db, "SELECT onewrite.publish('order', 'k', 'T', 'x', id => %s)", str(n))
        run("relay", "--until-end", url, "file:events.jsonl", env=env)
        assert values(tmp_path)[-1] == (str(n), "x"), url
    # Nothing to be had from a file is taken for the word of a person that plain text may leave this machine.
    said = run("relay", "--until-end", "postgres://?service=shop", "file:events.jsonl", env=services, status=77)
    assert "sslmode" in said.stderr
    db.close()


@pytest.mark.parametrize("clause", ["sslmode=disable", "sslmode=prefer"])
def test_a_service_says_how(run, pg_server, database, tmp_path, clause):
    """A host that is not this machine, by another name of it."""
    (tmp_path / "services").write_text(f"[shop]\nhost=0.0.0.0\nport={pg_server.port}\nuser=postgres\ndbname={database()}\n{clause}\n")
    said = run("init", "postgres://", env={"PGSERVICE": "shop", "PGSERVICEFILE": str(tmp_path / "services")}, status=None)
    assert said.returncode == (0 if clause.endswith("disable") else 77), said.stderr


def test_names_of_databases_and_passwords(run, pg_server, tmp_path):
    """What is special in a URL stands there as %XX; the slot's name is made of the database's."""
    admin = pg_server.connect()
    password, role = "p@ss:w/rd?#&%=+ \u00fc'\"\\", "We ird-R\u00f6le"
    names = ["my-shop db \u00dcn\u00ef", "My-shop db \u00dcn\u00ef", "x" * 63, "x" * 62 + "y"]
    rules = (pg_server.data / "pg_hba.conf").read_text()
    (pg_server.data / "pg_hba.conf").write_text(f'host all "{role}" 127.0.0.1/32 scram-sha-256\n{rules}')
    query(admin, "SELECT pg_reload_conf()")
    query(admin, f'CREATE ROLE "{role}" LOGIN SUPERUSER PASSWORD %s', password)
    try:
        for name in names:
            query(admin, f'CREATE DATABASE "{name}"')
            where = f"127.0.0.1:{pg_server.port}/{quote(name)}"
            run("init", f"postgres://{quote(role)}:{quote(password, safe='')}@{where}")
            db = pg_server.connect(name)
            query(db, "SELECT onewrite.publish('order', 'k', 'T', %s)", name)
            db.close()
            run("relay", "--until-end", f"postgres://{quote(role)}@{where}", "file:events.jsonl", env={"PGPASSWORD": password})
            assert values(tmp_path)[-1][1] == name
        slots = [slot for slot, in query(admin, "SELECT slot_name FROM pg_replication_slots WHERE database = ANY (%s)", names)]
        assert len(slots) == len(names) and max(map(len, slots)) <= 63, slots
    finally:
        (pg_server.data / "pg_hba.conf").write_text(rules)
        for name in names:
            wait_for(lambda name=name: is_dropped(admin, f'"{name}"'), f"database {name} to be given up")
        query(admin, f'DROP ROLE IF EXISTS "{role}"')
        query(admin, "SELECT pg_reload_conf()")
        admin.close()


@pytest.mark.parametrize("table", ["Mixed Case", "quo\"te", "it's", "per%cent;semi", "select", "\u00fcn\u00efcode", "x" * 63])
def test_names_of_tables(run, pg_database, tmp_path, table):
    quoted = '"' + table.replace('"', '""').replace("%", "%%") + '"'
    insert = f"INSERT INTO {quoted} VALUES (%s, 'order', 'k', 'T', %s)"
    pg_database.query(f"CREATE TABLE {quoted} (id text, aggregatetype text, aggregateid text, type text, payload text, \"Mo re\" int)".replace("%%", "%"))
    for identity, payload in (("a", "x"), ("b", None)):  # out of the first snapshot, and out of the log
        pg_database.query(insert, identity, payload)
        run("relay", "--outbox", table, "--until-end", pg_database.url, "file:events.jsonl")
    assert values(tmp_path) == [("a", "x"), ("b", None)]


def test_sessions_that_are_to_end_when_idle(run, start, pg_server, database):
    """The relay's own have nothing to do for most of the time."""
    name = database()
    admin = pg_server.connect()
    if pg_server.version < 14:
        pytest.skip("this server does not know it")
    run("init", pg_server.url(name))
    query(admin, f"ALTER ROLE postgres IN DATABASE {name} SET idle_session_timeout = 500")
    start("relay", pg_server.url(name), "file:events.jsonl")
    wait_for(lambda: query(admin, "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend' AND "
                                  "application_name = 'onewrite' AND clock_timestamp() - backend_start > interval '2 s'", name),
             "a session that lasts")
    admin.close()


@pytest.fixture
def pair(is_long):
    """A primary of PostgreSQL 17 and its standby, which keeps the slots that are marked for a failover in step."""
    if not is_long:
        pytest.skip("a standby takes half a minute to keep a slot in step")
    primary = new_server(17)
    standby = copy.copy(primary)
    standby.folder = pathlib.Path(tempfile.mkdtemp(prefix="onewrite-pg-"))
    standby.data, standby.port = standby.folder / "data", free_port()
    try:
        query(primary.connect(), "SELECT pg_create_physical_replication_slot('standby')")
        primary.stop("fast")
        subprocess.run(["cp", "-a", primary.data, standby.data], check=True)
        shutil.rmtree(standby.data / "pg_replslot/standby")
        with open(standby.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(f"port = {standby.port}\nunix_socket_directories = '{standby.folder}'\nhot_standby_feedback = on\n"
                       "sync_replication_slots = on\nprimary_slot_name = 'standby'\n"
                       f"primary_conninfo = 'host=127.0.0.1 port={primary.port} user=postgres dbname=postgres'\n")
        with open(primary.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write("synchronized_standby_slots = 'standby'\n")
        (standby.data / "standby.signal").touch()
        shutil.copymode(primary.data / "PG_VERSION", standby.data / "standby.signal")
        owner = primary.data.stat()
        for path in (standby.folder, standby.data / "standby.signal"):
            os.chown(path, owner.st_uid, owner.st_gid)
        yield primary.start(), standby.start()
    finally:
        primary.remove()
        standby.remove()


def test_a_failover(run, start, pair, tmp_path):
    """The relay goes on at the standby that was promoted, from the slot that it had there: all of it, and in order."""
    primary, standby = pair
    run("init", primary.url("postgres"))
    db, there = primary.connect(), standby.connect()
    count = itertools.count()

    def put(connection):
        query(connection, "SELECT onewrite.publish('order', 'k', 'T', 'x', id => %s)", str(next(count)))
        return True

    hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    start("relay", "--window-messages", 50, f"postgres://postgres@{hosts}/postgres?target_session_attrs=read-write", "file:events.jsonl")
    for by in ("log", "polling"):
        said = run("relay", "--by", by, "--until-end", standby.url("postgres"), "file:none.jsonl", status=69).stderr
        assert said.count("\n") == 1 and "read-only" in said, said
    # The slot is in step only once the primary has gone on past the place where the standby began with it.
    wait_for(lambda: put(db) and not query(db, "CHECKPOINT") and query(
        there, "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'onewrite_postgres_log' AND synced AND NOT temporary"),
             "the standby to have the slot", 120)
    for _ in range(10):
        put(db)
    end = query(db, "SELECT pg_current_wal_lsn()::text")[0][0]
    wait_for(lambda: query(there, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", end)[0][0], "the standby to have all of it")
    primary.stop("immediate")
    standby.run("pg_ctl", "-D", standby.data, "promote", "-w")
    for _ in range(10):
        put(there)
    total = next(count)
    wait_for(lambda: len(values(tmp_path)) >= total, "the relay to go on", 60)
    published = [int(identity) for identity, _ in values(tmp_path)]
    assert list(dict.fromkeys(published)) == list(range(total))
    assert len(published) - total <= 50, "a window"
