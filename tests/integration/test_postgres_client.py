# SPDX-License-Identifier: Apache-2.0
"""libonewrite-postgres, called as an application calls it, and the examples."""

import ctypes
import ctypes.util
import json
import pathlib
import subprocess
import sys

import pytest
from oracle import records_of
from postgres import pg_database, pg_server, query  # noqa: F401 (fixtures)

psycopg2 = pytest.importorskip("psycopg2", reason="psycopg2 is not installed (package python3-psycopg2)")

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
EINVALID, EUSAGE, ENOTFOUND, EUNREACHABLE, EBUSY, ETOOBIG = -1, -2, -4, -5, -6, -12


class Header(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_char_p)]


class Message(ctypes.Structure):
    _fields_ = [("id", ctypes.c_char_p), ("aggregate_type", ctypes.c_char_p), ("aggregate_id", ctypes.c_char_p),
                ("type", ctypes.c_char_p), ("payload", ctypes.c_char_p), ("payload_size", ctypes.c_size_t),
                ("headers", ctypes.POINTER(Header)), ("header_count", ctypes.c_size_t), ("time_ms", ctypes.c_int64)]


class Statement(ctypes.Structure):
    _fields_ = [("sql", ctypes.c_char_p), ("count", ctypes.c_int), ("types", ctypes.c_void_p),
                ("values", ctypes.POINTER(ctypes.c_char_p)), ("lengths", ctypes.c_void_p), ("formats", ctypes.c_void_p),
                ("result_format", ctypes.c_int)]


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 508)]


def message(identity=None, key=b"42", payload=b'{"total":990}', headers=(), time_ms=0, **more):
    array = (Header * max(1, len(headers)))(*headers)
    m = Message(identity, b"order", key, b"OrderPlaced", payload, len(payload or b""), array, len(headers), time_ms)
    for name, value in more.items():
        setattr(m, name, value)
    return m


class Client:
    def __init__(self, library, url):
        self.pq = ctypes.CDLL(ctypes.util.find_library("pq"))
        for name in ("PQconnectdb", "PQexec"):
            getattr(self.pq, name).restype = ctypes.c_void_p
        for name in ("PQresultErrorField",):
            getattr(self.pq, name).restype = ctypes.c_char_p
        self.library = ctypes.CDLL(str(library))
        self.conn = ctypes.c_void_p(self.pq.PQconnectdb(url.encode()))
        assert self.pq.PQstatus(self.conn) == 0

    def exec(self, sql):
        result = ctypes.c_void_p(self.pq.PQexec(self.conn, sql.encode()))
        status = self.pq.PQresultStatus(result)
        self.pq.PQclear(result)
        return status in (1, 2)

    def put(self, m):
        err, identity = Error(), ctypes.create_string_buffer(37)
        r = self.library.ow_outbox_put_postgres(self.conn, ctypes.byref(m), identity, ctypes.byref(err))
        assert r == err.code or r == 0
        return r, identity.value.decode() if r == 0 else err.text.decode()

    def both(self, sql, values, m):
        err, identity, result = Error(), ctypes.create_string_buffer(37), ctypes.c_void_p()
        statement = Statement(sql.encode(), len(values), None, (ctypes.c_char_p * max(1, len(values)))(*values), None, None, 0)
        r = self.library.ow_outbox_exec_postgres(self.conn, ctypes.byref(statement), ctypes.byref(m), ctypes.byref(result),
                                                 identity, ctypes.byref(err))
        state = self.pq.PQresultErrorField(result, ord("C")) if result else None
        if result:
            self.pq.PQclear(result)
        return r, identity.value.decode() if r == 0 else err.text.decode(), state

    def close(self):
        self.pq.PQfinish(self.conn)


@pytest.fixture
def client(onewrite_release, run, pg_database):
    run("init", pg_database.url)
    pg_database.query("CREATE TABLE orders (id text PRIMARY KEY, total int)")
    client = Client(pathlib.Path(onewrite_release).parent / "src/libonewrite-postgres.so", pg_database.url)
    yield client
    client.close()


def rows(database):
    return database.query("SELECT id, aggregatetype, aggregateid, type, payload, payload_bytes, headers FROM onewrite.outbox ORDER BY seq")


def test_in_the_transaction_of_the_application(client, pg_database):
    assert client.exec("BEGIN")
    assert client.put(message())[0] == 0
    assert client.exec("ROLLBACK")
    assert rows(pg_database) == []
    assert client.exec("BEGIN") and client.exec("INSERT INTO orders VALUES ('42', 990)")
    r, identity = client.put(message(headers=[(b"trace", b"a1b2"), (b"none", None)]))
    assert (r, len(identity), identity[14]) == (0, 36, "7") and rows(pg_database) == []
    assert client.exec("COMMIT")
    assert rows(pg_database) == [(identity, "order", "42", "OrderPlaced", '{"total":990}', None, {"trace": "a1b2", "none": None})]


def test_bytes_time_and_own_id(client, pg_database):
    assert client.put(message(b"mine", payload=b"\xff\xfe", time_ms=1767323045678)) == (0, "")
    assert client.put(message(b"null", payload=None))[0] == 0
    assert client.put(message(b"zero", payload=b"a\0b"))[0] == 0
    found = {row[0]: row for row in rows(pg_database)}
    assert bytes(found["mine"][5]) == b"\xff\xfe" and found["mine"][4] is None
    assert found["null"][4] is None and found["null"][5] is None
    assert bytes(found["zero"][5]) == b"a\0b"
    assert pg_database.one("SELECT (extract(epoch FROM time) * 1000)::bigint FROM onewrite.outbox WHERE id = 'mine'") == 1767323045678


def test_what_is_refused(client, pg_database):
    assert client.put(message(key=b"")) == (EINVALID, "aggregate_id is empty")
    assert client.put(message(headers=[(b"a\n", b"b")]))[0] == EINVALID
    assert client.put(message(payload=b"x" * (1 << 20) + b"y"))[0] == ETOOBIG
    assert client.exec("BEGIN") and not client.exec("nonsense")
    assert client.put(message())[0] == EUSAGE
    assert client.exec("ROLLBACK")
    assert client.exec("SET client_encoding = 'LATIN1'")
    r, text = client.put(message(payload="é".encode()))
    assert r == EUSAGE and "LATIN1" in text and rows(pg_database) == []
    assert client.exec("SET client_encoding = 'UTF8'")
    pg_database.query("DROP SCHEMA onewrite CASCADE")
    r, text = client.put(message())
    assert r == ENOTFOUND and "onewrite init" in text
    pg_database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                      "AND datname = current_database() AND backend_type = 'client backend'")
    assert client.put(message())[0] == EUNREACHABLE


INSERT = "INSERT INTO orders VALUES ($1, $2)"


def test_both_in_one_round_trip(client, pg_database):
    r, identity, _ = client.both(INSERT, [b"1", b"990"], message())
    assert r == 0 and [row[0] for row in rows(pg_database)] == [identity]
    # Again: the order is there already, so there is no second message.
    r, text, state = client.both(INSERT, [b"1", b"990"], message())
    assert (r, state) == (EINVALID, b"23505") and text.startswith("the statement: duplicate key")
    assert len(rows(pg_database)) == 1
    # The connection goes on as it was.
    assert client.both(INSERT, [b"2", b"990"], message())[0] == 0
    assert client.exec("BEGIN")
    assert client.both(INSERT, [b"3", b"990"], message())[0] == 0
    assert client.exec("ROLLBACK")
    assert pg_database.one("SELECT count(*) FROM orders") == 2 and len(rows(pg_database)) == 2


def test_neither_when_the_message_or_the_commit_fails(client, pg_database):
    assert client.both(INSERT, [b"1", b"990"], message(key=b""))[0] == EINVALID
    pg_database.query("ALTER TABLE onewrite.outbox ADD CONSTRAINT no CHECK (aggregateid <> 'no')")
    r, text, _ = client.both(INSERT, [b"1", b"990"], message(key=b"no"))
    assert r == EINVALID and text.startswith("the outbox: ")
    pg_database.query("CREATE TABLE parent (id text PRIMARY KEY)")
    pg_database.query("ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES parent DEFERRABLE INITIALLY DEFERRED")
    r, text, _ = client.both(INSERT, [b"1", b"990"], message())
    assert r == EINVALID and text.startswith("the commit: ")
    assert pg_database.one("SELECT count(*) FROM orders") == 0 and rows(pg_database) == []


def test_it_follows_the_outbox_without_a_table(client, run, pg_database):
    run("init", "--outbox", "message", pg_database.url)
    pg_database.query("SELECT pg_create_logical_replication_slot('look', 'test_decoding')")
    r, identity, _ = client.both(INSERT, [b"1", b"990"], message())
    assert r == 0 and rows(pg_database) == []
    data = [d for d, in pg_database.query("SELECT data FROM pg_logical_slot_get_changes('look', NULL, NULL)") if "prefix: onewrite" in d]
    assert len(data) == 1 and json.loads(data[0].split("content:", 1)[1])["id"] == identity


@pytest.mark.parametrize("language", ["c", "python", "sql"])
def test_examples(language, onewrite, run, pg_database, tmp_path):
    run("init", pg_database.url)
    pg_database.query("CREATE TABLE orders (id text PRIMARY KEY, total int)")
    command = {
        "c": [pathlib.Path(onewrite).parent / "examples/place_order_postgres", pg_database.url, "42", "990"],
        "python": [sys.executable, EXAMPLES / "python/place_order_postgres.py", pg_database.url, "42", "990"],
        "sql": ["psql", "-X", "-v", "ON_ERROR_STOP=1", "-f", EXAMPLES / "sql/place_order_postgres.sql", pg_database.url],
    }[language]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert again.returncode != 0 and "duplicate key" in again.stderr
    record, = records_of(run("relay", "--by", "polling", "--until-end", pg_database.url, "stdout:").stdout)
    assert (record["topic"], record["key"], json.loads(record["value"])) == ("outbox.event.order", "42", {"total": 990})
    assert record["headers"] == {"type": "OrderPlaced", "trace": "a1b2"} and len(record["id"]) == 36


def test_the_inbox(client, pg_database):
    def claim(identity=b"m1", consumer=b"billing"):
        err = Error()
        r = client.library.ow_inbox_claim_postgres(client.conn, consumer, identity, ctypes.byref(err))
        return r if r >= 0 else (r, err.text.decode())

    assert claim() == (EUSAGE, "the inbox: no transaction is open; BEGIN one, and put the effect into it")
    assert client.exec("BEGIN") and claim() == 1 and claim() == 0 and client.exec("ROLLBACK")
    assert client.exec("BEGIN") and claim() == 1 and client.exec("COMMIT")
    assert client.exec("BEGIN") and claim() == 0 and claim(consumer=b"other") == 1 and client.exec("COMMIT")
    assert client.exec("BEGIN")
    assert claim(b"")[0] == claim(b"\xff")[0] == claim(consumer=None)[0] == EINVALID and claim(b"x" * 2001)[0] == ETOOBIG
    assert not client.exec("nonsense") and claim()[0] == EUSAGE and client.exec("ROLLBACK")
    pg_database.query("CREATE ROLE poor_consumer LOGIN")
    assert client.exec("SET ROLE poor_consumer") and client.exec("BEGIN")
    assert claim()[0] == -7 and client.exec("ROLLBACK") and client.exec("RESET ROLE")
    pg_database.query("GRANT onewrite_consumer TO poor_consumer")
    assert client.exec("SET ROLE poor_consumer") and client.exec("BEGIN") and claim(b"m2") == 1 and client.exec("COMMIT")
    assert client.exec("RESET ROLE")
    pg_database.query("DROP OWNED BY poor_consumer")
    pg_database.query("DROP ROLE poor_consumer")
    pg_database.query("DROP SCHEMA onewrite CASCADE")
    assert client.exec("BEGIN")
    r, text = claim()
    assert r == ENOTFOUND and "onewrite init" in text
