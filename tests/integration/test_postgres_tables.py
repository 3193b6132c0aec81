# SPDX-License-Identifier: Apache-2.0
"""Several outbox tables in one slot, with their own routes; logical messages of others; what another reader has published."""

import json
import signal

import pytest
from conftest import wait_for
from oracle import records_of
from postgres import pg_database, pg_server, query  # noqa: F401

COLUMNS = "id text, aggregatetype text, aggregateid text, type text, payload text"
CONFIG = """
version: 1
stores: {{ shop: "{url}" }}
brokers: {{ out: "{to}" }}
relays:
  - name: outbox
    from: {{ store: shop, slot: {slot}, {source} }}
    to: {{ broker: out, {destination} }}
"""


@pytest.fixture
def tables(run, pg_database):  # noqa: F811
    """Two tables of a service beside our own."""
    run("init", pg_database.url)
    pg_database.query(f"CREATE TABLE a ({COLUMNS}, seq bigserial); CREATE SCHEMA other; CREATE TABLE other.\"B\" (n int, {COLUMNS})")
    return pg_database


def write(database, table, *identities, kind="order", key="k", payload="{}"):
    for identity in identities:
        database.query(f"INSERT INTO {table} (id, aggregatetype, aggregateid, type, payload) VALUES (%s, %s, %s, 'T', %s)",
                       identity, kind, key, payload)


def configure(tmp_path, database, source, destination="topic: all", to="file:events.jsonl"):
    path = tmp_path / "onewrite.yaml"
    path.write_text(CONFIG.format(url=database.url, to=to, slot=database.name, source=source, destination=destination))
    return path


def published(tmp_path):
    path = tmp_path / "events.jsonl"
    return records_of(path.read_text()) if path.exists() else []


def ids(tmp_path):
    return [record["id"] for record in published(tmp_path)]


ALL = "outbox: [onewrite.outbox, a, other.B]"


def test_one_slot_for_several_tables(run, tables, tmp_path):
    """Their rows come from one snapshot, then in the order of the commits; only our own are pruned."""
    write(tables, "onewrite.outbox", "o1")
    write(tables, "a", "a1", "a2")
    write(tables, 'other."B"', "b1")
    config = configure(tmp_path, tables, ALL)
    run("run", "--until-end", config)
    assert ids(tmp_path) == ["o1", "a1", "a2", "b1"]
    for n in (2, 3):
        write(tables, 'other."B"', f"b{n}")
        write(tables, "onewrite.outbox", f"o{n}")
        write(tables, "a", f"a{n + 1}")
    run("run", "--until-end", config)
    assert ids(tmp_path)[4:] == ["b2", "o2", "a3", "b3", "o3", "a4"]
    counts = [tables.one(f"SELECT count(*) FROM {table}") for table in ("onewrite.outbox", "a", 'other."B"')]
    assert counts == [0, 4, 3]
    assert len(tables.query("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")) == 1
    assert tables.query("SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = %s ORDER BY 1, 2", tables.name) == [
        ("onewrite", "outbox"), ("other", "B"), ("public", "a")]


@pytest.mark.parametrize("label", ["log.slot-made:1", "log.mid-snapshot:1", "log.mid-snapshot:12", "log.before-record:1"])
def test_killed_in_the_snapshot_of_several(run, tables, tmp_path, label):
    for n in range(10):
        write(tables, "a", f"a{n}")
        write(tables, "onewrite.outbox", f"o{n}")
    config = configure(tmp_path, tables, ALL)
    run("run", "--until-end", config, status=-signal.SIGKILL, env={"ONEWRITE_CRASH": label})
    left = "SELECT active_pid FROM pg_replication_slots WHERE database = current_database() AND active"
    wait_for(lambda: not tables.query(left), "the slot to be left")
    run("run", "--until-end", config)
    assert sorted(set(ids(tmp_path))) == sorted(f"{table}{n}" for table in "ao" for n in range(10))
    assert tables.one("SELECT count(*) FROM onewrite.outbox") == 0 and tables.one("SELECT count(*) FROM a") == 10


def test_routes_of_single_tables(run, tables, tmp_path):
    """What a table says stands on top of what the relay says."""
    write(tables, "onewrite.outbox", "o")
    write(tables, "a", "a")
    write(tables, 'other."B"', "b")
    config = configure(tmp_path, tables, ALL, 'topic: "all.${!type}", tables: { a: { topic: "only.${!id}", key: "${!id}" }, '
                       'other.B: { debezium: { route.topic.replacement: "ev.$${routedByValue}" } } }')
    run("run", "--until-end", config)
    found = {record["topic"]: (record["key"], record["value"], record["headers"]) for record in published(tmp_path)}
    assert found == {"all.T": ("k", "{}", {"type": "T"}), "only.a": ("a", "{}", {"type": "T"}), "ev.order": ("k", "{}", {"id": "b", "type": "T"})}
    tables.query("UPDATE a SET payload = 'x'; UPDATE other.\"B\" SET payload = 'x'")
    write(tables, "a", "a2")
    run("run", "--until-end", config)
    assert [record["topic"] for record in published(tmp_path)][3:] == ["only.a2"]
    wrong = configure(tmp_path, tables, "outbox: a", "tables: { b: { topic: x, debezium: {} } }")
    said = run("validate", wrong, status=78).stderr
    assert "from.outbox does not name this table" in said and "debezium is in place of topic and key" in said
    said = run("validate", configure(tmp_path, tables, "outbox: [a, b.c.d]"), status=78).stderr
    assert 'relays[0].from.outbox: "b.c.d" is no table' in said
    wrong = configure(tmp_path, tables, "outbox: a", 'topic: x, key: "${!id}", debezium: {}')
    said = run("validate", wrong, status=78).stderr
    assert "to.topic: debezium is in place" in said and "to.key: debezium is in place" in said


def test_a_publication_that_lacks_one(run, tables, tmp_path):
    tables.query(f"CREATE PUBLICATION {tables.name} FOR TABLE a")
    said = run("run", "--until-end", configure(tmp_path, tables, "outbox: [a, other.B]"), status=1).stderr
    assert f'ALTER PUBLICATION "{tables.name}" ADD TABLE "other"."B"' in said
    assert "what is inserted until it has is not published" in said
    tables.query("DROP PUBLICATION IF EXISTS onewrite_outbox; CREATE PUBLICATION onewrite_outbox FOR TABLE a")
    said = run("relay", tables.url, "stdout:", status=1).stderr
    assert "has no table onewrite.outbox; a DBA may run: ALTER PUBLICATION" in said  # it is noticed later, as a gap
    said = run("run", "--until-end", configure(tmp_path, tables, "outbox: [a, a]"), status=None).stderr
    assert "named twice" in said


def test_no_snapshot(run, tables, tmp_path):
    write(tables, "a", "before")
    config = configure(tmp_path, tables, "outbox: a, snapshot: never")
    run("run", "--until-end", config)
    write(tables, "a", "after")
    run("run", "--until-end", config)
    assert ids(tmp_path) == ["after"]


# --- messages of others ---------------------------------------------------------------------------------

ROUTER = ("debezium: { topic.prefix: src, value.converter: org.apache.kafka.connect.json.JsonConverter, "
          "value.converter.schemas.enable: false%s }")


def messages(tmp_path):
    return [json.loads(record["value"])["message"]["prefix"] for record in published(tmp_path) if record["topic"] == "src.message"]


@pytest.mark.parametrize("streamed", [False, True])
def test_messages_pass_through(run, tables, tmp_path, streamed):
    """In a transaction at its commit, in their place among the rows; others at once, whatever becomes of theirs."""
    tables.query(f"ALTER SYSTEM SET logical_decoding_work_mem = '{'64kB' if streamed else '64MB'}'")
    tables.query("SELECT pg_reload_conf()")
    config = configure(tmp_path, tables, "outbox: a", ROUTER % "")
    run("run", "--until-end", config)
    db = tables.connect()
    for end in ("COMMIT", "ROLLBACK"):
        query(db, "BEGIN")
        query(db, "SELECT pg_logical_emit_message(true, %s, 'x')", f"first {end}")
        query(db, "INSERT INTO a (id, aggregatetype, aggregateid, type, payload) SELECT %s || n, 'order', 'k', 'T', "
              "(SELECT string_agg(md5(random()::text || n || i), '') FROM generate_series(1, 100) i) FROM generate_series(1, 40) n", end)
        query(db, "SELECT pg_logical_emit_message(false, %s, 'x')", f"at once {end}")
        query(db, "SELECT pg_logical_emit_message(true, %s, 'x'), pg_logical_emit_message(true, 'onewrite', 'ours')", f"last {end}")
        query(db, end)
    run("run", "--until-end", config)
    run("run", "--until-end", config)
    tables.query("ALTER SYSTEM RESET logical_decoding_work_mem")
    tables.query("SELECT pg_reload_conf()")
    assert messages(tmp_path) == ["at once COMMIT", "first COMMIT", "last COMMIT", "at once ROLLBACK"]
    found = [record["topic"] for record in published(tmp_path)]
    assert found == ["src.message", "src.message", *["outbox.event.order"] * 40, "src.message", "src.message"]
    first, second = [json.loads(record["value"]) for record in published(tmp_path)[:2]]
    assert first["op"] == "m" and first["source"]["txId"] is None and first["source"]["db"] == tables.name
    assert second["source"]["txId"] > 0 and second["message"]["content"] == "eA=="
    assert tables.query("SELECT * FROM onewrite.dead_letter") == []


def test_messages_that_are_not_wanted(run, tables, tmp_path):
    config = configure(tmp_path, tables, "outbox: a", ROUTER % ", message.prefix.include.list: 'a.*,B', message.prefix.exclude.list: ab")
    run("run", "--until-end", config)
    for prefix in ("a", "abc", "AB", "b", "c", "xa"):
        tables.query("SELECT pg_logical_emit_message(true, %s, 'x')", prefix)
    run("run", "--until-end", config)
    assert messages(tmp_path) == ["a", "abc", "b"]
    assert "message.prefix.include.list" in run("validate", configure(tmp_path, tables, "outbox: a", ROUTER % ", message.prefix.include.list: '('"),
                                                status=78).stderr


def test_an_update_is_told(run, tables, tmp_path):
    """warn and error drop it, with a line; fatal sets it aside."""
    tables.query("ALTER TABLE a REPLICA IDENTITY FULL")
    tables.query(f"CREATE PUBLICATION {tables.name} FOR TABLE a")
    for n, (word, level) in enumerate({"warn": "warn", "error": "error", "fatal": "set aside"}.items()):
        config = configure(tmp_path, tables, "outbox: a", ROUTER % f", table.op.invalid.behavior: {word}")
        run("run", "--until-end", config)
        write(tables, "a", f"{n}")
        tables.query("UPDATE a SET payload = 'x' WHERE id = %s", str(n))
        said = run("run", "--until-end", config).stderr
        lines = [line for line in said.splitlines() if "an UPDATE of the outbox table" in line]
        assert len(lines) == 1 and level in lines[0] and f"message {n}" in lines[0], said
    assert ids(tmp_path) == ["0", "1", "2"]
    assert tables.query("SELECT id FROM onewrite.dead_letter") == [("2",)]
