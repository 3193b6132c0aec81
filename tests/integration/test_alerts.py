# SPDX-License-Identifier: Apache-2.0
"""Alerts: told when they begin and when they are over, once each, to a webhook and to PagerDuty, over restarts of all."""

import http.server
import json
import signal
import socket
import threading

import pytest
from conftest import wait_for
from postgres import pg_database, pg_server  # noqa: F401 (fixtures)
from test_admin import daemon, shop  # noqa: F401 (fixtures)
from test_metrics import broker_away


@pytest.fixture
def receiver():
    """receiver.url, receiver.got [(path, headers, body)], receiver.statuses: what it answers, the last one for ever;
    receiver.close(), receiver.open(): nobody listens meanwhile."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.got.append((self.path, dict(self.headers), body))
            self.send_response(receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Receiver:
        got, statuses = [], [202]

        def bodies(self):
            return [body for _, _, body in self.got]

        def told(self, alert):
            """Of a webhook and of PagerDuty alike: True for its begin, False for its end."""
            return [body.get("status", body.get("event_action")) in ("firing", "trigger") for body in self.bodies()
                    if f":{alert}:" in body.get("key", body.get("dedup_key"))]

        def open(self, port=0):
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
            self.port = self.server.server_port
            threading.Thread(target=self.server.serve_forever, daemon=True).start()

        def close(self):
            self.server.shutdown()
            self.server.server_close()

    receiver = Receiver()
    receiver.got, receiver.statuses = [], [202]
    receiver.open()
    receiver.url = f"http://127.0.0.1:{receiver.port}"
    yield receiver
    receiver.close()


def rules(receiver, to, **conditions):
    whom = {"webhook": f"webhook: {{ url: '{receiver.url}/' }}", "pagerduty": f"pagerduty: {{ routing_key: KEY, url: '{receiver.url}/v2/enqueue' }}"}
    return "alerts:\n" + "".join(f"  - {{ name: {name}, when: {when}, {whom[to]} }}\n" for name, when in conditions.items())


def test_a_webhook_is_told_once_each(shop, daemon, receiver):  # noqa: F811
    shop.configure(f"""admin: {{ listen: 'unix:o.sock' }}
alerts:
  - {{ name: paused, when: consumer_paused, of: billing, webhook: {{ url: '{receiver.url}/hook', secret: s3cret }} }}
  - {{ name: lag, when: consumer_lag > 2 for 1s, webhook: {{ url: '{receiver.url}/lag' }} }}""")
    d = daemon()
    assert d.status("/api/v1/consumers/billing/pause", "POST") == 202
    path, headers, body = wait_for(lambda: receiver.got and receiver.got[0], "the begin")
    assert path == "/hook" and headers["Authorization"] == "Bearer s3cret" and headers["Content-Type"] == "application/json"
    assert body["status"] == "firing" and body["alert"] == "paused" and body["consumer"] == "billing" and body["value"] == 1
    assert body["key"] == f"onewrite:{socket.gethostname()}:paused:billing" and body["time"] >= body["since"]
    shop.put(range(3))
    lag = wait_for(lambda: next((b for b in receiver.bodies() if b["alert"] == "lag"), None), "the lag")
    assert lag["value"] == 3 and lag["status"] == "firing"
    assert d.status("/api/v1/consumers/billing/resume", "POST") == 202
    wait_for(lambda: len(receiver.got) == 4, "both ends")
    told = sorted((b["alert"], b["status"]) for b in receiver.bodies())
    assert told == [("lag", "firing"), ("lag", "resolved"), ("paused", "firing"), ("paused", "resolved")]
    assert len({b["key"] for b in receiver.bodies()}) == 2
    d.end()
    assert len(receiver.got) == 4


def test_pagerduty(shop, daemon, receiver):  # noqa: F811
    shop.configure(f"""admin: {{ listen: 'unix:o.sock' }}
alerts:
  - {{ name: letters, when: dead_letters > 0, pagerduty: {{ routing_key: KEY, severity: warning, url: '{receiver.url}/v2' }} }}""")
    receiver.statuses = [202, 202, 500, 202]
    d = daemon()
    wait_for(lambda: len(receiver.got) == 2, "what may have been open from before is closed", seconds=60)
    assert {b["event_action"] for b in receiver.bodies()} == {"resolve"}
    shop.put([-1])
    wait_for(lambda: len(receiver.got) == 4, "another attempt after an error", seconds=60)
    first, second = receiver.bodies()[2:]
    assert first["event_action"] == second["event_action"] == "trigger" and first["dedup_key"] == second["dedup_key"]
    assert first["routing_key"] == "KEY" and first["dedup_key"] in {b["dedup_key"] for b in receiver.bodies()[:2]}
    payload = second["payload"]
    assert payload["severity"] == "warning" and payload["source"] == socket.gethostname()
    assert payload["component"] == "billing" and payload["custom_details"]["value"] == 1
    assert 'msg="cannot tell an alert, trying again"' in d.log() and "KEY" not in d.log()
    d.end()


def test_what_ends_is_told(shop, daemon, receiver):  # noqa: F811
    """Without the API: a relay that ends by an error, while the consumer runs on."""
    shop.configure(f"""alerts:
  - {{ name: ended, when: ended, webhook: {{ url: '{receiver.url}/' }} }}""")
    d = daemon(listens=False)
    wait_for(lambda: "msg=working relay" in d.log(), "the relay")
    shop.outbox.execute("DROP TABLE onewrite_outbox")
    _, _, body = wait_for(lambda: receiver.got and receiver.got[0], "the alert")
    assert body["alert"] == "ended" and body["relay"] == "orders" and body["status"] == "firing"
    d.process.kill()


def test_a_receiver_that_hangs_holds_up_nothing(shop, daemon):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        shop.configure(f"""admin: {{ listen: 'unix:o.sock' }}
alerts:
  - {{ name: paused, when: consumer_paused, webhook: {{ url: 'http://127.0.0.1:{deaf.getsockname()[1]}/' }} }}""")
        d = daemon()
        d.status("/api/v1/consumers/billing/pause", "POST")
        deaf.settimeout(20)
        connection, _ = deaf.accept()
        d.status("/api/v1/consumers/billing/resume", "POST")
        shop.put([1])
        wait_for(lambda: shop.paid() == {1}, "the order")
        d.end()  # at once, though the call still hangs
        connection.close()


# --- each rule, to each receiver -------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["webhook", "pagerduty"])
def test_rules_of_stores_and_consumers(shop, daemon, receiver, tmp_path, to):  # noqa: F811
    """Each begins once and ends once."""
    conditions = {"backlog": "relay_backlog > 5", "age": "relay_oldest_age > 30m", "lag": "consumer_lag > 5, of: calls",
                  "behind": "consumer_lag_age > 1s, of: calls", "letters": "dead_letters_open > 1, of: billing",
                  "breaker": "consumer_breaker_open, of: calls"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    calls = f"""  - name: calls
    from: {{ broker: bus, topics: outbox.event.order }}
    handler: {{ http: {{ url: 'http://127.0.0.1:{port}/' }} }}
    retry: {{ initial: 50ms, max: 100ms, max_attempts: 0 }}
    breaker: {{ failures: 2, open: 1s, max_open: 1s }}
"""
    shop.configure(calls + "admin: { listen: 'unix:o.sock' }\n" + rules(receiver, to, **conditions))
    d = daemon(env={"STATE_DIRECTORY": str(tmp_path)})
    with broker_away(tmp_path):
        shop.put([-1, -2, *range(10)])
        shop.outbox.execute("UPDATE onewrite_outbox SET time = time - 3600000 WHERE seq = (SELECT min(seq) FROM onewrite_outbox)")
        wait_for(lambda: receiver.told("backlog") == [True] and receiver.told("age") == [True], "the backlog", seconds=60)
    wait_for(lambda: {"lag", "behind", "letters", "breaker"} <= {name for name in conditions if receiver.told(name)[:1] == [True]},
             "the others", seconds=60)

    class Target(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    target = http.server.ThreadingHTTPServer(("127.0.0.1", port), Target)
    threading.Thread(target=target.serve_forever, daemon=True).start()
    shop.pay.execute("DELETE FROM onewrite_dead_letter")
    wait_for(lambda: all(receiver.told(name)[-1:] == [False] for name in conditions), "all ends", seconds=90)
    told = {name: receiver.told(name) for name in conditions}
    d.end()
    target.shutdown()
    # The oldest message also becomes the oldest in flight, and a target that comes back may fail once more: again, but by turns.
    assert all(turns == [True, False] * (len(turns) // 2) for turns in told.values()), told
    assert all(told[name] == [True, False] for name in ("backlog", "lag", "behind", "letters")), told


@pytest.mark.parametrize("to", ["webhook", "pagerduty"])
def test_rules_of_a_log(run, daemon, receiver, tmp_path, pg_database, to):  # noqa: F811
    run("init", pg_database.url)
    (tmp_path / "c.yaml").write_text(f"""version: 1
stores: {{ shop: "{pg_database.url}" }}
brokers: {{ bus: "journal:bus.db" }}
relays:
  - name: orders
    from: {{ store: shop, by: log }}
    to: {{ broker: bus }}
admin: {{ listen: 'unix:o.sock' }}
""" + rules(receiver, to, kept="relay_retained > 20MiB", behind="relay_lag > 20MiB"))
    d = daemon(env={"STATE_DIRECTORY": str(tmp_path)})
    with broker_away(tmp_path):
        pg_database.query("INSERT INTO onewrite.outbox (aggregatetype, aggregateid, type, payload) VALUES ('order', 'k', 'P', '{}')")
        pg_database.query("SELECT count(pg_logical_emit_message(false, 'filler', repeat('x', 1048576))) FROM generate_series(1, 30)")
        wait_for(lambda: receiver.told("kept") == [True] and receiver.told("behind") == [True], "both", seconds=60)
    wait_for(lambda: receiver.told("behind") == [True, False], "the end of the one", seconds=60)

    def kept_is_over():
        pg_database.query("CHECKPOINT")  # tells the reader of a log how far back it has to begin
        return receiver.told("kept") == [True, False]

    wait_for(kept_is_over, "the end of the other", seconds=60)
    d.end()


# --- restarts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["webhook", "pagerduty"])
def test_a_restart_repeats_nothing(shop, daemon, receiver, tmp_path, to):  # noqa: F811
    """Neither the begin of what still is, nor is it over because nothing is known of it yet; a reload is no news either."""
    config = "admin: { listen: 'unix:o.sock' }\n" + rules(receiver, to, letters="dead_letters_open > 0")
    shop.configure(config)
    state = {"STATE_DIRECTORY": f"{tmp_path / 'state'}:/nowhere"}
    (tmp_path / "state").mkdir()
    d = daemon(env=state)
    shop.put([-1])
    wait_for(lambda: receiver.told("letters") == [True], "the begin", seconds=40)
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        d.process.send_signal(signal_number)
        d.process.wait(30)
        d = daemon(env=state, log=f"log{signal_number}")
        wait_for(lambda: d.get("/api/v1/consumers/billing")["dead_letters"] == 1, "that it is known", seconds=40)
    shop.configure(config + rules(receiver, to, more="consumer_lag > 1000000").removeprefix("alerts:\n"))
    d.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration read again" in d.log(), "the reload")
    shop.put([-2])
    wait_for(lambda: d.get("/api/v1/consumers/billing")["dead_letters"] == 2, "the next survey", seconds=40)
    assert receiver.told("letters") == [True]
    d.end()
    shop.pay.execute("DELETE FROM onewrite_dead_letter")  # it is over while nobody looks
    d = daemon(env=state, log="last")
    wait_for(lambda: receiver.told("letters") == [True, False], "the end", seconds=90)
    wait_for(lambda: (tmp_path / "state/alerts").read_text() == "", "that it is forgotten")
    d.end()
    assert len(receiver.got) == 2


def test_without_a_folder_a_webhook_is_told_again(shop, daemon, receiver):  # noqa: F811
    """With the same key, which says that it is the same."""
    shop.configure("admin: { listen: 'unix:o.sock' }\n" + rules(receiver, "webhook", letters="dead_letters_open > 0"))
    d = daemon()
    shop.put([-1])
    wait_for(lambda: receiver.told("letters") == [True], "the begin", seconds=40)
    d.end()
    d = daemon(log="again")
    wait_for(lambda: receiver.told("letters") == [True, True], "the begin again", seconds=40)
    assert len({body["key"] for body in receiver.bodies()}) == 1
    d.end()


@pytest.mark.parametrize("to", ["webhook", "pagerduty"])
def test_a_receiver_that_was_away(shop, daemon, receiver, to):  # noqa: F811
    shop.configure("admin: { listen: 'unix:o.sock' }\n" + rules(receiver, to, paused="consumer_paused", held="consumer_paused"))
    receiver.close()
    d = daemon()
    assert d.status("/api/v1/consumers/billing/pause", "POST") == 202
    wait_for(lambda: "cannot tell an alert" in d.log(), "the failure")
    receiver.open(receiver.port)
    wait_for(lambda: receiver.told("paused") == [True] and receiver.told("held") == [True], "both begins", seconds=60)
    receiver.close()
    receiver.open(receiver.port)
    assert d.status("/api/v1/consumers/billing/resume", "POST") == 202
    wait_for(lambda: receiver.told("paused") == [True, False] and receiver.told("held") == [True, False], "both ends", seconds=60)
    d.end()
    assert "KEY" not in d.log()
