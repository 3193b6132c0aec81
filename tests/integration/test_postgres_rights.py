# SPDX-License-Identifier: Apache-2.0
"""A role that may not: the relay says, in one line, everything that a DBA has to run; that is run, and it works."""

import itertools

import pytest
from oracle import records_of
from postgres import INSERT, Database, new_server, pg_database, pg_server, query  # noqa: F401

numbers = itertools.count()
SAYS = "a DBA may run, in this database: "


@pytest.fixture
def role(pg_database):  # noqa: F811
    """A name, and whatever belongs to it goes with the test."""
    name = f"role-{next(numbers)}"
    pg_database.query(f'CREATE ROLE "{name}" LOGIN')
    yield name
    pg_database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", name)
    pg_database.query(f'REASSIGN OWNED BY "{name}" TO postgres; DROP OWNED BY "{name}"; DROP ROLE "{name}"')


def relay(run, database, role, *more, status=0):  # noqa: F811
    return run("relay", "--until-end", *more, database.server.url(database.name, role), "file:events.jsonl", status=status).stderr


def run_what_it_says(run, database, role, *more):
    said = relay(run, database, role, *more, status=77)
    assert said.count("\n") == 1 and SAYS in said, said
    statements = said.split(SAYS)[1].strip()
    database.query(statements)
    relay(run, database, role, *more)
    return statements


def ids(tmp_path):
    return [record["id"] for record in records_of((tmp_path / "events.jsonl").read_text())]


def test_an_empty_database(run, pg_database, role, tmp_path):  # noqa: F811
    """It makes all of the rest by itself."""
    said = run_what_it_says(run, pg_database, role)
    assert said == f'GRANT CREATE ON DATABASE {pg_database.name} TO "{role}"; ALTER ROLE "{role}" REPLICATION'
    pg_database.query(INSERT, "a", "k", "{}")
    relay(run, pg_database, role)
    assert ids(tmp_path) == ["a"] and pg_database.one("SELECT count(*) FROM onewrite.outbox") == 0


def test_after_init_by_somebody_else(run, pg_database, role, tmp_path):  # noqa: F811
    run("init", pg_database.url)
    pg_database.query(INSERT, "a", "k", "{}")
    said = run_what_it_says(run, pg_database, role)
    assert said == f'GRANT onewrite_relay TO "{role}"; ALTER ROLE "{role}" REPLICATION'
    assert ids(tmp_path) == ["a"] and pg_database.one("SELECT count(*) FROM onewrite.outbox") == 0


def test_tables_of_others(run, pg_database, role, tmp_path):  # noqa: F811
    run("init", pg_database.url)
    pg_database.query(f'ALTER ROLE "{role}" REPLICATION; GRANT onewrite_relay TO "{role}"')
    pg_database.query('CREATE SCHEMA "S"; CREATE TABLE "S".a (LIKE onewrite.outbox); CREATE TABLE b (LIKE onewrite.outbox) PARTITION BY RANGE (seq)')
    pg_database.query("""INSERT INTO "S".a VALUES (1, 'a', 'o', 'k', 'T', 'x', NULL, NULL, now(), NULL)""")
    said = run_what_it_says(run, pg_database, role, "--outbox", "S.a, b", "--slot", f"{pg_database.name}_others")
    assert said == (f'GRANT USAGE ON SCHEMA "S" TO "{role}"; GRANT SELECT ON "S".a TO "{role}"; GRANT SELECT ON public.b TO "{role}"; '
                    f'CREATE PUBLICATION {pg_database.name}_others FOR TABLE "S".a, public.b '
                    "WITH (publish = 'insert', publish_via_partition_root = true)")
    assert ids(tmp_path) == ["a"]


def test_by_message(run, pg_database, role, tmp_path):  # noqa: F811
    run("init", "--outbox", "message", pg_database.url)
    run_what_it_says(run, pg_database, role, "--by", "message")
    pg_database.query("SELECT onewrite.publish('order', 'k', 'T', 'x', id => 'a')")
    relay(run, pg_database, role, "--by", "message")
    assert ids(tmp_path) == ["a"]


def test_by_polling(run, pg_database, role, tmp_path):  # noqa: F811
    run("init", pg_database.url)
    pg_database.query(INSERT, "a", "k", "{}")
    assert run_what_it_says(run, pg_database, role, "--by", "polling") == f'GRANT onewrite_relay TO "{role}"'
    assert ids(tmp_path) == ["a"]


def test_by_polling_where_there_are_no_roles(run, tmp_path):
    """The tables were made by a relay that may make no roles."""
    server = new_server()
    try:
        admin = server.connect()
        query(admin, "CREATE ROLE maker LOGIN REPLICATION; CREATE ROLE \"Other\" LOGIN; GRANT CREATE ON DATABASE postgres TO maker")
        run("relay", "--until-end", server.url("postgres", "maker"), "file:events.jsonl")
        query(admin, INSERT, "a", "k", "{}")
        database = Database(server, "postgres")
        run_what_it_says(run, database, "Other", "--by", "polling")
        assert ids(tmp_path) == ["a"]
        database.db.close()
        admin.close()
    finally:
        server.remove()


def test_wal_level(run):
    server = new_server(wal_level="replica")
    try:
        said = run("relay", server.url("postgres"), "stdout:", status=1).stderr
        assert "ALTER SYSTEM SET wal_level = logical" in said and "restarts the server" in said and "--by polling" in said
        said = run("init", "--outbox", "message", server.url("postgres"), status=1).stderr
        assert said.startswith(f"onewrite: {server.url('postgres')}: wal_level is not logical; a DBA may run: ALTER SYSTEM")
    finally:
        server.remove()
