# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL as a store: init and its rights, what people see, and the outbox by polling."""

import base64
import json
import pathlib
import subprocess

import pytest
from conftest import wait_for
from oracle import records_of
from postgres import PgShop, is_dropped, pg_database, pg_server, query  # noqa: F401 (fixtures)

psycopg2 = pytest.importorskip("psycopg2", reason="psycopg2 is not installed (package python3-psycopg2)")


def drain(run, database, to="stdout:", *options, **more):
    return records_of(run("relay", "--by", "polling", *options, "--until-end", database.url, to, **more).stdout)


# --- init ---------------------------------------------------------------------------------------------------


def test_init_twice_changes_nothing(run, pg_database):
    assert "created schema onewrite" in run("init", pg_database.url).stderr
    before = pg_database.query("SELECT * FROM onewrite.meta ORDER BY name")
    assert "nothing to do" in run("init", pg_database.url).stderr
    assert pg_database.query("SELECT * FROM onewrite.meta ORDER BY name") == before
    tables = pg_database.query("SELECT relname FROM pg_class WHERE relnamespace = 'onewrite'::regnamespace AND relkind = 'r'")
    assert {name for name, in tables} == {"outbox", "dead_letter", "inbox", "consumer", "lease", "meta", "position", "accepted"}
    assert pg_database.query("SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = 'onewrite_outbox'") == [
        ("onewrite", "outbox")]


def test_many_inits_at_once(start, pg_database):
    processes = [start("init", pg_database.url) for _ in range(6)]
    for process in processes:
        assert process.wait(60) == 0, process.stderr.read()
    assert pg_database.one("SELECT count(*) FROM onewrite.meta") == 3


def test_the_printed_sql_does_the_same(run, pg_server, pg_database, tmp_path):
    (tmp_path / "init.sql").write_text(run("init", "--print", pg_database.url).stdout)
    done = subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", tmp_path / "init.sql", pg_database.url],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in run("init", pg_database.url).stderr


def test_the_printed_sql_of_the_outbox_without_a_table(run, pg_server, tmp_path):
    """Its slot is the one that a relay looks for, and can be read: the publication is there before it."""
    admin = pg_server.connect()
    query(admin, 'CREATE DATABASE "My-shop"')
    url = pg_server.url("My-shop")
    try:
        (tmp_path / "init.sql").write_text(run("init", "--outbox", "message", "--print", url).stdout)
        done = subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", tmp_path / "init.sql", url], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "nothing to do" in run("init", "--outbox", "message", url).stderr
        db = pg_server.connect("My-shop")
        query(db, "SELECT onewrite.publish('order', 'k', 'T', 'x', id => 'first')")
        db.close()
        run("relay", "--by", "message", "--until-end", url, "file:events.jsonl")
        assert [record["id"] for record in records_of((tmp_path / "events.jsonl").read_text())] == ["first"]
        slots = query(admin, "SELECT coalesce(to_jsonb(s) ->> 'failover', 'true') FROM pg_replication_slots s WHERE database = 'My-shop'")
        assert slots == [("true",)]
    finally:
        wait_for(lambda: is_dropped(admin, '"My-shop"'), "the database to be given up")
        admin.close()


@pytest.fixture
def role(pg_database):
    name = f"u_{pg_database.name}"
    pg_database.query(f"CREATE ROLE {name} LOGIN")
    yield name
    pg_database.query(f"DROP OWNED BY {name} CASCADE")
    pg_database.query(f"DROP ROLE {name}")


def test_a_role_without_rights_prints_the_sql(run, pg_server, pg_database, role):
    url = pg_server.url(pg_database.name, role)
    done = run("init", url, status=77)
    assert "permission denied for database" in done.stderr and "CREATE TABLE onewrite.outbox" in done.stdout
    done = run("relay", "--by", "polling", "--until-end", url, "stdout:", status=77)
    assert f'GRANT CREATE ON DATABASE "{pg_database.name}" TO "{role}"' in done.stderr
    run("init", pg_database.url)
    done = run("relay", "--by", "polling", "--until-end", url, "stdout:", status=77)
    assert done.stderr.endswith(f": GRANT onewrite_relay TO {role}\n")
    assert run("check", url, status=77)


def test_an_owner_that_may_make_no_roles(run, pg_server, pg_database, role):
    """The tables are made; what is left over is printed, and done later by somebody who may."""
    pg_database.query(f"GRANT CREATE ON DATABASE {pg_database.name} TO {role}")
    run("init", pg_server.url(pg_database.name, role))
    assert pg_database.one("SELECT tableowner FROM pg_tables WHERE schemaname = 'onewrite' AND tablename = 'outbox'") == role
    run("relay", "--by", "polling", "--until-end", pg_server.url(pg_database.name, role), "stdout:")


def test_least_privilege(run, pg_server, pg_database, role):
    """The application may put messages and nothing else; the relay may read and delete them."""
    run("init", pg_database.url)
    pg_database.query(f"GRANT onewrite_app TO {role}")
    app = pg_database.connect(role)
    query(app, "SELECT onewrite.publish('order', '1', 'Placed', '{}')")
    query(app, "INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) VALUES ('a', 'order', '1', 'T', 'x')")
    for sql in ("SELECT * FROM onewrite.outbox", "DELETE FROM onewrite.outbox", "SELECT * FROM onewrite.dead_letter",
                "UPDATE onewrite.lease SET epoch = 9"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            query(app, sql)
    app.close()
    pg_database.query(f"REVOKE onewrite_app FROM {role}")
    pg_database.query(f"GRANT onewrite_relay TO {role}")
    url = pg_server.url(pg_database.name, role)
    run("check", url)
    assert len(records_of(run("relay", "--by", "polling", "--until-end", url, "stdout:").stdout)) == 2
    relay = pg_database.connect(role)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(relay, "SELECT onewrite.publish('order', '1', 'Placed', '{}')")
    relay.close()


def test_the_outbox_without_a_table(run, pg_database):
    """publish() stays the same for the application; the slot is there before the first message."""
    run("init", "--outbox", "message", pg_database.url)
    slot = f"onewrite_{pg_database.name}_message"
    assert pg_database.query("SELECT slot_name, plugin FROM pg_replication_slots WHERE database = current_database()") == [
        (slot, "pgoutput")]
    assert "nothing to do" in run("init", "--outbox", "message", pg_database.url).stderr
    assert "nothing to do" in run("init", pg_database.url).stderr
    pg_database.query("SELECT pg_create_logical_replication_slot('look', 'test_decoding')")
    identity = pg_database.one("SELECT onewrite.publish('order', '4711', 'Placed', %s, headers => %s)", '{"a":"é\\n"}', '{"h":"v"}')
    pg_database.query("SELECT onewrite.publish_bytes('order', '4711', 'Placed', %s, id => 'b')", bytes(range(256)))
    assert pg_database.one("SELECT count(*) FROM onewrite.outbox") == 0
    rows = pg_database.query("SELECT data FROM pg_logical_slot_get_changes('look', NULL, NULL)")
    found = [json.loads(data.split("content:", 1)[1]) for data, in rows if data.startswith("message: transactional: 1 prefix: onewrite")]
    assert [m.pop("time") > 1.7e12 for m in found] == [True, True]
    assert found[0] == {"id": identity, "aggregatetype": "order", "aggregateid": "4711", "type": "Placed", "headers": {"h": "v"},
                        "payload": '{"a":"é\\n"}'}
    assert base64.b64decode(found[1]["payload_base64"], validate=True) == bytes(range(256))
    pg_database.query("SELECT pg_drop_replication_slot('look')")
    assert "made what was missing" in run("init", "--outbox", "table", pg_database.url).stderr
    pg_database.query("SELECT onewrite.publish('order', '4711', 'Placed', '{}')")
    assert pg_database.one("SELECT count(*) FROM onewrite.outbox") == 1


# --- what people see ------------------------------------------------------------------------------------------


def test_status_and_check(run, pg_database):
    assert "there is no outbox in it" in run("status", pg_database.url, status=4).stderr
    assert "there is no outbox in it" in run("check", pg_database.url, status=69).stderr
    run("init", pg_database.url)
    run("check", pg_database.url)
    pg_database.query("SELECT onewrite.publish('order', '1', 'Placed', 'abc') FROM generate_series(1, 3)")
    row = json.loads(run("status", pg_database.url, "-o", "jsonl").stdout.splitlines()[0])
    assert (row["kind"], row["waiting"], row["bytes"], row["dead_letters"], row["relay_at_work"]) == ("outbox", 3, 9, 0, False)
    assert 0 <= row["oldest_ms"] < 60000


def test_no_password_in_any_message(onewrite, pg_server):
    for url in (f"postgres://u:geheim@127.0.0.1:{pg_server.port}/nowhere", "postgres://u:geheim@127.0.0.1:1/x",
                "postgres://u:geheim@db.example.com/x?sslmode=prefer", "postgres://u:geheim@h/x?nonsense=1",
                "postgres://u:geheim@h:port/x", "postgres://u:geheim@[::1/x"):
        done = subprocess.run([onewrite, "status", url], capture_output=True, text=True, timeout=60)
        assert done.returncode in (2, 4, 69, 77) and "geheim" not in done.stdout + done.stderr, (url, done)


def test_plain_text_to_another_host_must_be_said(run):
    assert "plain text" in run("status", "postgres://db.example.com/x?sslmode=prefer", status=2).stderr
    assert "plain text" in run("status", "postgres://db.example.com/x?sslmode=allow", status=2).stderr


# --- by polling -------------------------------------------------------------------------------------------------


def test_every_column_arrives(run, pg_database):
    run("init", pg_database.url)
    pg_database.query("INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload, headers, time) VALUES "
                      "('a', 'order', 'k1', 'Placed', 'text é', '{\"b\":\"1\",\"a\":null}', '2026-01-02T03:04:05.678901Z')")
    pg_database.query("SELECT onewrite.publish_bytes('order', 'k2', 'Placed', '\\x00ff', id => 'b')")
    pg_database.query("SELECT onewrite.publish('order', 'k3', 'Placed', NULL, id => 'c')")
    a, b, c = drain(run, pg_database)
    assert a == {"topic": "outbox.event.order", "time": "2026-01-02T03:04:05.678Z", "id": "a", "key": "k1",
                 "headers": {"type": "Placed", "b": "1", "a": None}, "value": "text é"}
    assert (b["id"], b["value"]) == ("b", {"base64": "AP8="})
    assert (c["id"], c["value"]) == ("c", None)
    assert pg_database.one("SELECT count(*) FROM onewrite.outbox") == 0


def test_more_than_a_batch_in_order(run, pg_database):
    run("init", pg_database.url)
    pg_database.query("INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
                      "SELECT n::text, 'order', (n %% 7)::text, 'T', repeat('x', 300) FROM generate_series(1, 12000) n"
                      .replace("%%", "%"))
    records = drain(run, pg_database)
    assert [int(r["id"]) for r in records] == list(range(1, 12001))


def test_large_payloads_keep_memory_bounded(run, onewrite_release, pg_database, tmp_path):
    """A batch ends by bytes as well as by rows."""
    run("init", pg_database.url)
    pg_database.query("INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
                      "SELECT n::text, 'order', n::text, 'T', repeat(md5(n::text), 30000) FROM generate_series(1, 150) n")
    script = ("import resource, subprocess, sys; s = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL);"
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(s)")
    done = subprocess.run(["python3", "-c", script, onewrite_release, "-q", "relay", "--by", "polling", "--until-end",
                           pg_database.url, "stdout:"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert pg_database.one("SELECT count(*) FROM onewrite.outbox") == 0
    assert int(done.stdout) < 80000, f"{done.stdout} KiB"


def test_marking_instead_of_deleting(run, pg_database):
    run("init", pg_database.url)
    shop = PgShop(pg_database)
    shop.place(orders=5)
    url = pg_database.url + "?after=mark"
    assert len(records_of(run("relay", "--by", "polling", "--until-end", url, "stdout:").stdout)) == 5
    assert len(records_of(run("relay", "--by", "polling", "--until-end", url, "stdout:").stdout)) == 0
    assert pg_database.one("SELECT count(*) FROM onewrite.outbox WHERE accepted_at IS NOT NULL") == 5


def test_what_cannot_be_published_is_set_aside(run, pg_database):
    run("init", pg_database.url)
    pg_database.query("SELECT onewrite.publish('order', '1', 'Placed', 'good', id => 'good')")
    pg_database.query("SELECT onewrite.publish_bytes('order', '1', 'Placed', '\\x0001', id => 'bad', headers => '{\"h\":\"a\\nb\"}')")
    pg_database.query("SELECT onewrite.publish('order', '1', 'Placed', 'after', id => 'after')")
    assert [r["id"] for r in drain(run, pg_database)] == ["good", "after"]
    (source, identity, payload, reason), = pg_database.query(
        "SELECT source, id, payload_bytes, reason FROM onewrite.dead_letter")
    assert (source, identity, bytes(payload)) == ("polling", "bad", b"\0\1") and "header" in reason
    assert pg_database.one("SELECT count(*) FROM onewrite.outbox") == 0


def test_from_a_configuration(run, pg_database, tmp_path):
    run("init", pg_database.url)
    PgShop(pg_database).place(orders=3)
    (tmp_path / "onewrite.yaml").write_text(
        "version: 1\nstores: { shop: { url: \"${SHOP}\", shards: 3 } }\nbrokers: { out: \"file:events.jsonl\" }\n"
        "relays:\n- { name: shop, from: { store: shop, by: polling }, to: { broker: out } }\n")
    run("run", "--until-end", "onewrite.yaml", env={"SHOP": pg_database.url})
    assert len(records_of((tmp_path / "events.jsonl").read_text())) == 3
    assert pg_database.one("SELECT epoch FROM onewrite.lease WHERE name = 'outbox'") == 3


def test_a_backlog_is_read_by_the_index(run, pg_database):
    """The plan over a backlog: an index scan that stops at the limit, and no sort."""
    run("init", pg_database.url)
    pg_database.query("INSERT INTO onewrite.outbox (aggregatetype, aggregateid, type, payload) "
                      "SELECT 'order', (n % 7)::text, 'T', 'x' FROM generate_series(1, 20000) n")
    text = (pathlib.Path(__file__).parents[2] / "sql/postgres/outbox.sql").read_text()
    sql = text.split("-- name: read_batch\n")[1].split(";")[0]
    pg_database.query("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
    pg_database.query(f"PREPARE r (bigint, bigint[], int[], int, int, bigint) AS {sql}")
    plan = "\n".join(line for line, in pg_database.query(
        "EXPLAIN (ANALYZE, COSTS OFF) EXECUTE r (5, '{7,8,9}', '{0,1,2,3}', 8, 100, 1000000)"))
    assert "Index Scan using outbox_pkey" in plan and "Sort" not in plan, plan
    removed = [int(line.rsplit(":", 1)[1]) for line in plan.splitlines() if "Rows Removed by Filter" in line]
    assert sum(removed) < 400, plan


def test_a_relay_waits_for_the_server(run, start, pg_database):
    """wait_for_it: a server that cannot be reached at the start is an error; one that goes is not."""
    run("relay", "--by", "polling", "postgres://postgres@127.0.0.1:1/x", "stdout:", status=69)
    run("init", pg_database.url)
    relay = start("relay", "--by", "polling", pg_database.url, "file:events.jsonl")
    shop = PgShop(pg_database)
    shop.place()
    wait_for(lambda: shop.waiting() == 0, "the first message to go")
    pg_database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'onewrite' "
                      "AND datname = current_database()")
    shop.place()
    wait_for(lambda: shop.waiting() == 0, "the second message to go")
    relay.terminate()
    assert relay.wait(10) == 0
