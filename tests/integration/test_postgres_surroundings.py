# SPDX-License-Identifier: Apache-2.0
"""What a database and its roles may have been given: an encoding, settings of sessions, names, ways to reach it."""

import itertools

import psycopg2
import pytest
from conftest import wait_for
from oracle import records_of
from postgres import is_dropped, pg_database, pg_server, query  # noqa: F401 (fixtures)

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
