# SPDX-License-Identifier: Apache-2.0
"""What every inbox promises, over PostgreSQL; over SQLite the program runs with the tests in C."""

import json
import subprocess

import pytest
from postgres import pg_database, pg_server  # noqa: F401 (fixtures)


def test_contract(onewrite, pg_database):
    program = onewrite.parent / "tests" / "contract_inbox"
    assert program.is_file(), f"{program} is missing; run ./dev test"
    done = subprocess.run([program, pg_database.url], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": kept") == 32


def test_late_transactions(onewrite, pg_database):
    """BEGIN and COMMIT that go along with other statements, which fail, or on connections that break."""
    program = onewrite.parent / "tests" / "contract_pipeline"
    assert program.is_file(), f"{program} is missing; run ./dev test"
    done = subprocess.run([program, pg_database.url], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": kept") == 7


CONFIG = """version: 1
stores: {{ pay: "{}" }}
brokers: {{ bus: "journal:bus.db" }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: outbox.event.order }}
    inbox: {{ store: pay }}
    handler: {{ sql: ["insert into public.paid (number, key) values (${{!payload.number}}, ${{!key}})", "insert into public.log (number) values (${{!payload.number}})"] }}
    retry: {{ initial: 1ms, max: 1ms, max_attempts: 2 }}
    dead_letter: {{ store: pay }}
"""
TABLES = {  # the second statement of 150 fails; or the commit does, which does not say whose fault it is
    "a statement": "CREATE TABLE public.log (number bigint CHECK (number <> 150))",
    "the commit": "CREATE TABLE public.known (number bigint PRIMARY KEY); INSERT INTO public.known SELECT n FROM generate_series(0, 399) n WHERE n <> 150; "
                  "CREATE TABLE public.log (number bigint REFERENCES public.known DEFERRABLE INITIALLY DEFERRED)",
}


@pytest.mark.parametrize("failing", TABLES)
def test_one_poisonous_message(run, pg_database, tmp_path, failing):
    """It is found in a few transactions, alone is set aside, and of its key what follows is parked."""
    messages = [{"id": f"order-{i}", "topic": "outbox.event.order", "key": f"k{i % 90}", "value": json.dumps({"number": i})} for i in range(400)]
    (tmp_path / "c.yaml").write_text(CONFIG.format(pg_database.url))
    run("init", pg_database.url)
    run("publish", "journal:bus.db", "--jsonl", input="".join(json.dumps(m) + "\n" for m in messages))
    pg_database.query("CREATE TABLE public.paid (number bigint, key text);" + TABLES[failing])
    run("run", "--until-end", "c.yaml")
    bad = {n for n in range(150, 400) if n % 90 == 150 % 90}
    assert [n for n, in pg_database.query("SELECT number FROM public.paid ORDER BY number")] == sorted(set(range(400)) - bad)
    assert [n for n, in pg_database.query("SELECT number FROM public.log ORDER BY number")] == sorted(set(range(400)) - bad)
    assert pg_database.query("SELECT id, state, attempts FROM onewrite.dead_letter ORDER BY number") == [
        ("order-150", "dead", 2), ("order-240", "parked", 0), ("order-330", "parked", 0)]
    assert pg_database.one("SELECT count(DISTINCT handled_at) FROM onewrite.inbox") <= 20
