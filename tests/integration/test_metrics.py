# SPDX-License-Identifier: Apache-2.0
"""What the daemon asks of stores: backlogs, how old they are, how far a slot is behind, dead letters."""

import contextlib
import json
import pathlib
import re
import shutil
import sqlite3
import subprocess
import time

import pytest
import yaml
from conftest import wait_for
from postgres import PgShop, pg_database, pg_server  # noqa: F401 (fixtures)
from test_admin import Daemon, daemon, openmetrics, parse_openmetrics, parse_plain, shop  # noqa: F401 (fixtures)

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "prometheus"
ADMIN = "admin: { listen: 'unix:o.sock' }"


def samples(d, family):
    """{labels as a frozenset of pairs: value}"""
    found = parse_openmetrics(openmetrics(d)[2]).get(family, {"samples": {}})["samples"]
    return {frozenset(re.findall(r'(\w+)="([^"]*)"', key)): value for key, value in found.items()}


def one(d, family):
    found = samples(d, family)
    assert len(found) <= 1, found
    return next(iter(found.values())) if found else None


def letters(d):
    return {tuple(dict(key)[label] for label in ("store", "source", "state")): value
            for key, value in samples(d, "onewrite_dead_letters").items()}


@contextlib.contextmanager
def broker_away(tmp_path):
    """Nobody else can write to the journal."""
    bus = sqlite3.connect(tmp_path / "bus.db", isolation_level=None, timeout=30)
    bus.execute("BEGIN IMMEDIATE")
    yield
    bus.execute("ROLLBACK")
    bus.close()


def test_a_backlog_in_sqlite(shop, daemon, tmp_path):  # noqa: F811
    shop.configure(ADMIN)
    d = daemon()
    wait_for(lambda: one(d, "onewrite_relay_backlog_messages") == 0, "the first answer")
    assert one(d, "onewrite_relay_backlog_age_seconds") == 0
    assert samples(d, "onewrite_store_up")[frozenset({("store", "shop")})] == 1
    with broker_away(tmp_path):
        shop.put(range(500))
        shop.outbox.execute("UPDATE onewrite_outbox SET time = time - 3600000 WHERE seq = (SELECT min(seq) FROM onewrite_outbox)")
        wait_for(lambda: one(d, "onewrite_relay_backlog_messages") == 500, "the backlog", seconds=40)
        assert 3600 <= one(d, "onewrite_relay_backlog_age_seconds") < 4200
        backlog = d.get("/api/v1/relays/orders")["backlog"]
        assert backlog["messages"] == 500 and backlog["oldest_age_seconds"] >= 3600 and backlog["log_bytes"] is None
    wait_for(lambda: one(d, "onewrite_relay_backlog_messages") == 0, "no backlog", seconds=60)
    assert one(d, "onewrite_relay_backlog_age_seconds") == 0 and one(d, "onewrite_relay_lag_bytes") is None
    d.end()


@pytest.mark.parametrize("after", ["delete", "mark"])
def test_a_backlog_is_counted_to_a_bound(shop, daemon, tmp_path, after):  # noqa: F811
    """And estimated beyond. Where rows are marked, those that are kept are as many as they like."""
    shop.outbox.execute("INSERT INTO onewrite_outbox (aggregatetype, aggregateid, type, payload) "
                        "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 230000) "
                        "SELECT 'order', 'k', 'P', '{}' FROM n")
    if after == "mark":
        shop.outbox.execute("UPDATE onewrite_outbox SET accepted_at = 1 WHERE seq <= 229990")
    else:
        shop.outbox.execute("DELETE FROM onewrite_outbox WHERE seq BETWEEN 229980 AND 229990")
    shop.configure(ADMIN)
    text = (tmp_path / "c.yaml").read_text()
    (tmp_path / "c.yaml").write_text(text.replace("from: { store: shop }", f"from: {{ store: shop, after: {after} }}"))
    with broker_away(tmp_path):
        d = daemon("--wait", "1m", waits=False)
        value = wait_for(lambda: one(d, "onewrite_relay_backlog_messages"), "the backlog")
        d.process.kill()
    assert value == (10 if after == "mark" else 230000)


@pytest.mark.parametrize("by", ["polling", "log", "message"])
def test_a_backlog_in_postgres(run, daemon, tmp_path, pg_database, by):  # noqa: F811
    run("init", *(["--outbox", "message"] if by == "message" else []), pg_database.url)
    (tmp_path / "c.yaml").write_text(f"""version: 1
stores: {{ shop: "{pg_database.url}" }}
brokers: {{ bus: "journal:bus.db" }}
relays:
  - name: orders
    from: {{ store: shop, by: {by} }}
    to: {{ broker: bus }}
{ADMIN}
alerts:
  - {{ name: far, when: relay_lag > 1TiB, webhook: {{ url: 'http://127.0.0.1:9/' }} }}
""")
    d = daemon()
    orders = PgShop(pg_database, publish=by == "message")
    wait_for(lambda: one(d, "onewrite_store_up") == 1, "the first answer")
    assert one(d, "onewrite_relay_backlog_messages") == (None if by == "message" else 0)
    if by != "polling":
        wait_for(lambda: one(d, "onewrite_relay_lag_bytes") is not None, "the slot")
    with broker_away(tmp_path):
        for _ in range(7):
            orders.place()
        if by == "message":
            wait_for(lambda: (one(d, "onewrite_relay_lag_bytes") or 0) > 1000, "what is behind", seconds=40)
        else:
            wait_for(lambda: one(d, "onewrite_relay_backlog_messages") == 7, "the backlog", seconds=40)
            assert 0 < one(d, "onewrite_relay_backlog_age_seconds") < 600
    if by != "message":
        wait_for(lambda: one(d, "onewrite_relay_backlog_messages") == 0, "no backlog", seconds=60)
    assert (one(d, "onewrite_relay_retained_bytes") is None) == (by == "polling")
    d.end()


def test_a_backlog_in_partitions(run, daemon, tmp_path, pg_database):  # noqa: F811
    """Where accepted rows are not deleted one by one, they do not count all the same."""
    run("init", "--outbox", "partitioned", "--partition-rows", "500", pg_database.url)
    (tmp_path / "c.yaml").write_text(f"""version: 1
stores: {{ shop: "{pg_database.url}" }}
brokers: {{ bus: "journal:bus.db" }}
relays:
  - {{ name: orders, from: {{ store: shop, by: polling }}, to: {{ broker: bus }} }}
{ADMIN}
""")
    d = daemon()
    orders = PgShop(pg_database)
    orders.place(5)
    wait_for(lambda: one(d, "onewrite_relay_messages_confirmed") == 5, "five")
    with broker_away(tmp_path):
        orders.place(4)
        wait_for(lambda: one(d, "onewrite_relay_backlog_messages") == 4, "the backlog", seconds=40)
    wait_for(lambda: one(d, "onewrite_relay_backlog_messages") == 0, "no backlog", seconds=60)
    d.end()


def test_roles_may_ask(run, daemon, tmp_path, pg_database):  # noqa: F811
    """What init grants to a relay and to a consumer is enough."""
    run("init", pg_database.url)
    pg_database.query("CREATE TABLE paid (id text)")
    urls = {}
    for kind in ("relay", "consumer"):
        role = f"{kind}_{pg_database.name}"
        pg_database.query(f"CREATE ROLE {role} LOGIN; GRANT onewrite_{kind} TO {role}; GRANT INSERT ON paid TO {role}")
        urls[kind] = pg_database.server.url(pg_database.name, role)
    pg_database.query("INSERT INTO onewrite.dead_letter (source, position, state, reason, attempts, replay_position) "
                      "VALUES ('polling', '1', 'queued', 'r', 1, 1), ('consumer/billing', '1', 'dead', 'r', 1, NULL)")
    (tmp_path / "c.yaml").write_text(f"""version: 1
stores: {{ shop: "{urls['relay']}", pay: "{urls['consumer']}" }}
brokers: {{ bus: "journal:bus.db" }}
relays:
  - {{ name: orders, from: {{ store: shop, by: polling }}, to: {{ broker: bus }} }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: outbox.event.order }}
    inbox: {{ store: pay }}
    handler: {{ sql: "insert into paid (id) values (${{!id}})" }}
    dead_letter: {{ store: pay }}
{ADMIN}
""")
    d = daemon()
    wait_for(lambda: set(samples(d, "onewrite_store_up").values()) == {1} and len(samples(d, "onewrite_store_up")) == 2, "both", seconds=40)
    assert one(d, "onewrite_relay_backlog_messages") == 0
    assert letters(d)["pay", "consumer/billing", "dead"] == 1 and letters(d)["shop", "polling", "queued"] == 0
    assert letters(d)["pay", "polling", "queued"] == 1  # it cannot know better
    d.end()
    listed = json.loads(run("dlq", "list", "--store", urls["consumer"], "-o", "json").stdout)
    assert sorted(letter["state"] for letter in listed) == ["dead", "queued"]
    for kind in urls:
        pg_database.query(f"DROP OWNED BY {kind}_{pg_database.name}; DROP ROLE {kind}_{pg_database.name}")


def test_lag_on_kafka(run, daemon, kafka, tmp_path, pg_database):
    topic = f"lag-{pg_database.name}"
    kafka.create(topic, partitions=2)
    run("init", pg_database.url)
    pg_database.query("CREATE TABLE paid (id text)")
    (tmp_path / "c.yaml").write_text(f"""version: 1
stores: {{ shop: "{pg_database.url}" }}
brokers: {{ bus: "kafka://{kafka.bootstrap}" }}
relays:
  - {{ name: orders, from: {{ store: shop }}, to: {{ broker: bus, topic: {topic} }} }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: {topic} }}
    inbox: {{ store: shop }}
    handler: {{ sql: "insert into paid (id) values (${{!id}})" }}
{ADMIN}
""")
    d = daemon("--wait", "1m")
    orders = PgShop(pg_database)
    orders.place(5)
    wait_for(lambda: pg_database.one("SELECT count(*) FROM paid") == 5, "the first messages", seconds=60)
    assert d.status("/api/v1/consumers/billing/pause", "POST") == 202
    wait_for(lambda: d.get("/api/v1/consumers/billing")["state"] == "paused", "the pause")
    orders.place(5)
    lag = lambda: {dict(key)["partition"]: value for key, value in samples(d, "onewrite_consumer_lag_messages").items()}  # noqa: E731
    wait_for(lambda: sum(lag().values()) == 5, "the lag", seconds=60)
    behind = wait_for(lambda: (age := d.get("/api/v1/consumers/billing")["lag_seconds"]) and age > 1 and age, "its age")
    assert behind < 120 and set(lag()) == {"0", "1"}
    assert d.status("/api/v1/consumers/billing/resume", "POST") == 202
    wait_for(lambda: sum(lag().values()) == 0 and d.get("/api/v1/consumers/billing")["lag_seconds"] == 0, "no lag", seconds=60)
    assert pg_database.one("SELECT count(*) FROM paid") == 10
    d.end()


def test_dead_letters_are_counted(shop, daemon):  # noqa: F811
    shop.configure(ADMIN)
    d = daemon()
    wait_for(lambda: letters(d).get(("pay", "consumer/billing", "dead")) == 0, "that there are none")
    assert letters(d)["shop", "polling", "dead"] == 0
    shop.put([-1, -2])
    shop.outbox.execute("INSERT INTO onewrite_outbox (aggregatetype, aggregateid, type, payload, headers) VALUES ('order', 'k', 'P', '{}', 'none')")
    wait_for(lambda: letters(d)["pay", "consumer/billing", "dead"] == 2, "the consumer's", seconds=40)
    wait_for(lambda: letters(d)["shop", "polling", "dead"] == 1, "the relay's", seconds=40)
    assert d.get("/api/v1/consumers/billing")["dead_letters"] == 2 and d.get("/api/v1/relays/orders")["dead_letters"] == 1
    shop.pay.execute("UPDATE onewrite_dead_letter SET source = 'consumer/was', state = 'parked' WHERE id = 'order--1'")
    wait_for(lambda: letters(d).get(("pay", "consumer/was", "parked")) == 1, "somebody else's", seconds=40)
    assert letters(d)["pay", "consumer/billing", "dead"] == 1
    shop.pay.execute("DELETE FROM onewrite_dead_letter")
    wait_for(lambda: letters(d)["pay", "consumer/billing", "dead"] == 0, "that there are none", seconds=40)
    assert ("pay", "consumer/was", "parked") not in letters(d)
    d.end()


def test_a_store_that_is_away(shop, daemon, tmp_path):  # noqa: F811
    """What it told last stays, and is said to be old."""
    shop.configure(ADMIN)
    d = daemon()
    shop.put([-1])
    wait_for(lambda: letters(d).get(("pay", "consumer/billing", "dead")) == 1, "the letter", seconds=40)
    up = lambda: samples(d, "onewrite_store_up")[frozenset({("store", "pay")})]  # noqa: E731
    (tmp_path / "pay.db").rename(tmp_path / "away.db")
    wait_for(lambda: up() == 0, "that it is away", seconds=40)
    assert letters(d)["pay", "consumer/billing", "dead"] == 1
    wait_for(lambda: 'msg="a store cannot be asked' in d.log(), "a line", seconds=40)
    (tmp_path / "away.db").rename(tmp_path / "pay.db")
    wait_for(lambda: up() == 1, "that it is back", seconds=40)
    d.end()


def test_how_old_a_lag_is(shop, daemon):  # noqa: F811
    shop.configure(ADMIN)
    d = daemon()
    shop.put([1])
    wait_for(lambda: shop.paid() == {1}, "the order")
    wait_for(lambda: set(samples(d, "onewrite_consumer_lag_seconds").values()) == {0}, "no lag")
    assert d.status("/api/v1/consumers/billing/pause", "POST") == 202
    wait_for(lambda: d.get("/api/v1/consumers/billing")["state"] == "paused", "the pause")
    shop.put([2])
    began = time.monotonic()
    first = wait_for(lambda: max(samples(d, "onewrite_consumer_lag_seconds").values()), "its age")
    later = wait_for(lambda: (age := d.get("/api/v1/consumers/billing")["lag_seconds"]) >= first + 1 and age, "that it grows")
    assert later < time.monotonic() - began + 5
    assert d.status("/api/v1/consumers/billing/resume", "POST") == 202
    wait_for(lambda: set(samples(d, "onewrite_consumer_lag_seconds").values()) == {0}, "no lag")
    d.end()


def test_what_is_asked_follows_the_configuration(shop, daemon, tmp_path):  # noqa: F811
    shop.configure(ADMIN)
    d = daemon()
    wait_for(lambda: len(samples(d, "onewrite_store_up")) == 2, "both stores")
    text = (tmp_path / "c.yaml").read_text()
    (tmp_path / "c.yaml").write_text(text.replace("    dead_letter: { store: pay }\n", ""))
    d.process.send_signal(1)
    wait_for(lambda: samples(d, "onewrite_store_up") == {frozenset({("store", "shop")}): 1}, "one store")
    assert d.log().count('msg="admin API"') == 1  # which is not started anew for that
    d.end()


def test_a_relay_without_a_configuration(run, start, tmp_path, shop):  # noqa: F811
    class Relay(Daemon):
        def __init__(self):
            self.folder, self.log_path, self.token, self.at = tmp_path, tmp_path / "log", None, "unix:o.sock"
            with self.log_path.open("w") as stderr:
                self.process = start("relay", "--admin", "unix:o.sock", "sqlite:shop.db", "journal:bus.db", stderr=stderr)

    assert "that needs tokens" in run("relay", "--admin", "0.0.0.0:8642", "sqlite:shop.db", "stdout:", status=2).stderr
    assert "ADDRESS:PORT" in run("relay", "--admin", "8642", "sqlite:shop.db", "stdout:", status=2).stderr
    d = Relay()
    wait_for(lambda: (tmp_path / "o.sock").exists() and d.status("/readyz") == 200, "readiness")
    shop.outbox.execute("INSERT INTO onewrite_outbox (aggregatetype, aggregateid, type, payload, headers) VALUES ('order', 'k', 'P', '{}', 'none')")
    wait_for(lambda: one(d, "onewrite_relay_messages_set_aside") == 1, "the counter")
    wait_for(lambda: letters(d).get(("store", "polling", "dead")) == 1, "the letter", seconds=40)
    [letter] = d.get("/api/v1/dead-letters")["items"]
    assert d.status(f"/api/v1/dead-letters/{letter['number']}/discard", "POST") == 200
    d.end()
    assert not (tmp_path / "o.sock").exists()


# --- what comes with it for Prometheus and Grafana ---------------------------------------------------------------------


def test_rules_and_dashboard_name_what_there_is(run, daemon, tmp_path, pg_database):  # noqa: F811
    run("init", pg_database.url)
    pg_database.query("CREATE TABLE paid (id text)")
    (tmp_path / "c.yaml").write_text(f"""version: 1
stores: {{ shop: "{pg_database.url}" }}
brokers: {{ bus: "journal:bus.db" }}
relays:
  - name: orders
    from: {{ store: shop, by: log }}
    to: {{ broker: bus }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: outbox.event.order }}
    inbox: {{ store: shop }}
    handler: {{ sql: "insert into paid (id) values (${{!id}})" }}
    dead_letter: {{ store: shop }}
{ADMIN}
""")
    d = daemon()
    pg_database.query("INSERT INTO onewrite.outbox (aggregatetype, aggregateid, type, payload) VALUES ('order', 'k', 'P', '{}')")
    wait_for(lambda: samples(d, "onewrite_consumer_lag_seconds") and one(d, "onewrite_relay_lag_bytes") is not None
             and one(d, "onewrite_relay_retained_bytes") is not None and letters(d), "all of it", seconds=40)
    families = parse_plain(d.ask("/metrics")[2])
    rules = yaml.safe_load((EXAMPLES / "alerts.yaml").read_text())
    board = json.loads((EXAMPLES / "grafana.json").read_text())
    told = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    labels = {name: set(re.findall(r'(\w+)="', "".join(samples))) | {"instance", "job"} for name, samples in families.items()}
    assert len(told) >= 10 and len(shown) >= 12
    for expression in told + shown:
        names = set(re.findall(r"(?<![\w\"])(?:onewrite|process)_\w+(?!\w*=)", expression))
        assert names and names <= set(families) or expression.startswith("up{"), expression
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            for name in names:
                assert set(grouped.split(", ")) <= labels[name], expression
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "rules", EXAMPLES / "alerts.yaml"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    d.end()
