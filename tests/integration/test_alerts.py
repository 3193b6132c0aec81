# SPDX-License-Identifier: Apache-2.0
"""Alerts: told when they begin and when they are over, once each, to a webhook and to PagerDuty."""

import http.server
import json
import socket
import threading

import pytest
from conftest import wait_for
from test_admin import daemon, shop  # noqa: F401 (fixtures)


@pytest.fixture
def receiver():
    """receiver.url, receiver.got [(path, headers, body)], receiver.statuses: what it answers, the last one for ever."""

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

    receiver = Receiver()
    receiver.got, receiver.statuses = [], [202]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    yield receiver
    server.shutdown()


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
