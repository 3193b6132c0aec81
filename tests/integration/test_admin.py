# SPDX-License-Identifier: Apache-2.0
"""The admin API: what openapi.yaml says of it, who may do what, and clients that behave badly."""

import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import pytest
import yaml
from conftest import wait_for
from postgres import pg_database, pg_server  # noqa: F401 (fixtures)

OPENAPI = pathlib.Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"
READER, OPERATOR = "reader-0123456789", "operator-0123456789"
TOKENS = f"tokens: [ {{ token: {READER} }}, {{ token: {OPERATOR}, role: operator }} ]"
CONFIG = """version: 1
stores: {{ shop: "sqlite:shop.db", pay: "sqlite:pay.db" }}
brokers: {{ bus: "journal:bus.db" }}
relays:
  - name: orders
    from: {{ store: shop }}
    to: {{ broker: bus }}
consumers:
  - name: billing
    from: {{ broker: bus, topics: outbox.event.order }}
    inbox: {{ store: pay }}
    handler: {{ sql: "insert into paid (number, id) values (${{!payload.number}}, ${{!id}})" }}
    retry: {{ initial: 10ms, max_attempts: 1 }}
    dead_letter: {{ store: pay }}
{admin}
"""


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


class Daemon:
    """A `run` in the background, and how to ask it."""

    def __init__(self, start, tmp_path, *options, config="c.yaml", log="log", listens=True, waits=True, token=None, **more):
        self.folder, self.log_path, self.token = tmp_path, tmp_path / log, token
        with self.log_path.open("w") as stderr:
            self.process = start("run", *options, config, stderr=stderr, **more)
        self.at = wait_for(self.address, "the admin API") if listens else None
        if listens and waits:
            wait_for(lambda: self.status("/readyz") == 200, "readiness")

    def log(self):
        return self.log_path.read_text()

    def address(self):
        found = re.findall(r'msg="admin API" listen=(\S+)', self.log())
        assert self.process.poll() is None, self.log()
        return found[-1] if found else None

    def connection(self):
        if self.at.startswith("unix:"):
            return Unix(str(self.folder / self.at.removeprefix("unix:")))
        return http.client.HTTPConnection(self.at, timeout=30)

    def ask(self, path, method="GET", token="", headers=None, body=None):
        """(status, headers, text); token "": the usual one, None: none."""
        connection = self.connection()
        token = self.token if token == "" else token
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, text

    def get(self, path):
        status, _, text = self.ask(path)
        assert status == 200, text
        return json.loads(text)

    def status(self, path, method="GET", **more):
        return self.ask(path, method, **more)[0]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log()


@pytest.fixture
def shop(run, tmp_path):
    """shop.configure("admin: …"), shop.put(numbers): orders; those whose number is negative cannot be handled."""
    run("init", "sqlite:shop.db")
    run("init", "sqlite:pay.db")

    class Shop:
        outbox = sqlite3.connect(tmp_path / "shop.db", timeout=30, isolation_level=None)
        pay = sqlite3.connect(tmp_path / "pay.db", timeout=30, isolation_level=None)

        def configure(self, admin, name="c.yaml"):
            (tmp_path / name).write_text(CONFIG.format(admin=admin))
            run("validate", name)

        def put(self, numbers):
            self.outbox.executemany("INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) VALUES (?, 'order', ?, 'P', ?)",
                                    [(f"order-{n}", f"k{n}", json.dumps({"number": n})) for n in numbers])

        def paid(self):
            return {number for (number,) in self.pay.execute("SELECT number FROM paid")}

    Shop.pay.execute("CREATE TABLE paid (number INTEGER CHECK (number >= 0), id TEXT)")
    return Shop()


@pytest.fixture
def daemon(start, tmp_path):
    return lambda *options, **more: Daemon(start, tmp_path, *options, **more)


# --- what openapi.yaml says ----------------------------------------------------------------------------------------


def resolve(api, thing):
    while "$ref" in thing:
        at = api
        for part in thing["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        thing = at
    return thing


def check(api, schema, value, where):
    """The part of JSON Schema that openapi.yaml uses; more keys than are described are a mistake too."""
    schema = resolve(api, schema)
    if "oneOf" in schema:
        schema = next(s for s in map(lambda s: resolve(api, s), schema["oneOf"]) if value["kind"] in s["properties"]["kind"]["enum"])
    if value is None:
        assert schema.get("nullable"), where
        return
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    assert isinstance(value, kinds[schema["type"]]), (where, value)
    assert value in schema.get("enum", [value]), (where, value)
    if schema["type"] == "array":
        for i, item in enumerate(value):
            check(api, schema["items"], item, f"{where}[{i}]")
    if schema["type"] == "object":
        assert set(schema.get("required", [])) <= set(value), (where, value)
        for key, inner in value.items():
            described = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
            if described:
                check(api, described, inner, f"{where}.{key}")
            elif "DeadLetter" not in where:
                pytest.fail(f"{where}.{key} is not described")


def test_everything_in_openapi_is_answered(shop, daemon):
    api = yaml.safe_load(OPENAPI.read_text())
    shop.configure(f"admin: {{ listen: '127.0.0.1:0', {TOKENS} }}")
    d = daemon(token=OPERATOR)
    shop.put([1, -1, -2, 2])
    wait_for(lambda: shop.paid() == {1, 2}, "the orders")
    letters = wait_for(lambda: (items := d.get("/api/v1/dead-letters?store=pay")["items"]) and len(items) == 2 and items, "two letters")
    numbers = iter([letter["number"] for letter in letters])
    kept = letters[0]["number"]
    for path, item in api["paths"].items():
        methods = {m.upper(): what for m, what in item.items() if m in ("get", "post", "put", "delete", "patch")}
        for method, what in methods.items():
            name = "orders" if "/relays" in path else "billing"
            number = next(numbers) if method == "POST" and "{id}" in path else kept
            url = path.replace("{name}", name).replace("{id}", str(number)) + ("?store=pay" if "dead-letters" in path else "")
            status, headers, text = d.ask(url, method)
            assert str(status) in what["responses"], (method, url, status, text)
            assert "default" in what["responses"], (method, path)
            content = what["responses"][str(status)]["content"]
            kind = headers["Content-Type"].split(";")[0]
            assert kind in content, (url, kind)
            if kind == "application/json":
                check(api, content[kind]["schema"], json.loads(text), "DeadLetter" if "dead-letters" in path else path)
            if what.get("security") == []:
                assert d.status(url, method, token=None) == status
            else:
                assert d.status(url, method, token=None) == 401 and d.status(url, method, token="wrong-0123456789") == 401
            if "(operator)" in what["summary"]:
                assert d.status(url, method, token=READER) == 403
        for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - set(methods):
            status, headers, text = d.ask(url, method, body="x")
            assert status == 405 and set(headers["Allow"].split(", ")) - {"HEAD"} == set(methods), (method, url, text)
    for path in ("/", "/api/v1", "/api/v1/relays/nobody", "/api/v1/consumers/orders", "/api/v1/consumers//pause", "/metrics/",
                 "/api/v1/dead-letters/77?store=pay", "/api/v1/dead-letters?store=none"):
        status, headers, text = d.ask(path)
        assert status == 404 and headers["Content-Type"] == "application/problem+json", path
        check(api, {"$ref": "#/components/schemas/Problem"}, json.loads(text), path)
    d.end()


def parse_openmetrics(text):
    """{family: (type, {sample: value})}; fails on what a strict reader of OpenMetrics would refuse."""
    assert text.endswith("\n# EOF\n")
    families, name = {}, None
    for line in text.splitlines()[:-1]:
        meta = re.fullmatch(r"# (TYPE|UNIT|HELP) (\w+) (.+)", line)
        if meta:
            kind, of, rest = meta.groups()
            if of != name:
                assert of not in families and kind == "TYPE", line
                name, families[of] = of, {"samples": {}}
            assert kind not in families[of] and not families[of]["samples"], line
            families[of][kind] = rest
            continue
        sample = re.fullmatch(r'(\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? (-?[0-9.]+)', line)
        assert sample, line
        suffix = {"counter": "_total", "info": "_info"}.get(families[name]["TYPE"], "")
        assert sample[1] == name + suffix and line.rpartition(" ")[0] not in families[name]["samples"], line
        families[name]["samples"][line.rpartition(" ")[0]] = float(sample[3])
    for of, family in families.items():
        assert family["samples"] and "HELP" in family, of
        assert "UNIT" not in family or of.endswith("_" + family["UNIT"]), of
    return families


def openmetrics(d):
    return d.ask("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"})


def parse_plain(text):
    """{family: {sample: value}} of the older text format; fails where a strict reader of it would."""
    families, name = {}, None
    assert text.endswith("\n") and "# UNIT" not in text and "# EOF" not in text
    for line in text.splitlines():
        meta = re.fullmatch(r"# (TYPE|HELP) (\w+) (.+)", line)
        if meta and meta[1] == "TYPE":
            assert meta[2] not in families and meta[3] in ("counter", "gauge"), line
            assert meta[2].endswith("_total") == (meta[3] == "counter"), line
            name, families[meta[2]] = meta[2], {}
        elif not meta:
            sample = re.fullmatch(r"(\w+)(\{.*\})? (-?[0-9.]+)", line)
            assert sample and sample[1] == name and line.rpartition(" ")[0] not in families[name], line
            families[name][line.rpartition(" ")[0]] = float(sample[3])
        else:
            assert meta[2] == name and not families[name], line
    return families


def test_metrics(shop, daemon):
    shop.configure("admin: { listen: '127.0.0.1:0' }")
    d = daemon()
    shop.put(range(25))
    wait_for(lambda: len(shop.paid()) == 25, "the orders")

    def sample(family, labels):
        text = openmetrics(d)[2]
        samples = parse_openmetrics(text).get(family, {"samples": {}})["samples"]
        return next((value for key, value in samples.items() if labels in key), None)

    wait_for(lambda: sample("onewrite_consumer_messages_handled", 'consumer="billing"') == 25, "the count")
    wait_for(lambda: sample("onewrite_relay_messages_accepted", 'relay="orders"') == 25, "the relay's count")
    assert sample("onewrite_relay_up", 'relay="orders"') == 1
    assert sample("onewrite_consumer_breaker", 'onewrite_consumer_breaker="closed"') == 1
    assert 1e6 < sample("process_resident_memory_bytes", "") < 1e10 and sample("process_open_fds", "") > 3
    assert abs(sample("process_start_time_seconds", "") - time.time()) < 600
    wait_for(lambda: sample("onewrite_consumer_lag_messages", 'topic="outbox.event.order"') == 0, "no lag")
    assert openmetrics(d)[1]["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    _, headers, text = d.ask("/metrics")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8" and headers["Vary"] == "Accept"
    plain, samples = parse_plain(text), {}
    for family in parse_openmetrics(openmetrics(d)[2]).values():
        samples |= family["samples"]
    assert {sample for family in plain.values() for sample in family} == set(samples)
    check_by_promtool(text)
    d.end()


def check_by_promtool(text):
    """Prometheus' own opinion, where it is installed."""
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == "", done.stderr


# --- who may do what ------------------------------------------------------------------------------------------------


def test_loopback_without_tokens_is_for_looking(shop, daemon):
    shop.configure("admin: { listen: 'localhost:0' }")
    d = daemon()
    assert d.get("/api/v1/consumers/billing")["state"] == "working"
    assert d.status("/api/v1/consumers/billing/pause", "POST") == 403
    assert d.status("/metrics", headers={"Host": "evil.example"}) == 403
    assert d.status("/metrics", headers={"Origin": "http://localhost"}) == 403
    assert d.status("/metrics", headers={"Authorization": "Bearer whatever"}) == 200
    d.end()


def test_unix_socket(shop, daemon, tmp_path):
    shop.configure("admin: { listen: 'unix:o.sock' }")
    d = daemon()
    assert (tmp_path / "o.sock").stat().st_mode & 0o777 == 0o660
    assert d.status("/api/v1/consumers/billing/pause", "POST") == 202
    d.process.kill()
    d.process.wait()
    assert (tmp_path / "o.sock").exists()
    d = daemon()  # what was left behind is replaced
    assert d.get("/readyz")["status"] == "ready"
    second = daemon(log="second", listens=False)
    wait_for(lambda: "no admin API" in second.log(), "the second one")
    assert d.get("/healthz") == {"status": "ok"}  # and what is in use is not
    second.end()
    d.end()
    assert not (tmp_path / "o.sock").exists()


@pytest.mark.parametrize("admin, says", [
    ("admin: { listen: '0.0.0.0:8642' }", "there are no tokens; write tokens:, or listen on"),
    ("admin: { listen: ':8642' }", "there are no tokens"),
    ("admin: { listen: '8642' }", "expected ADDRESS:PORT or unix:PATH"),
    ("admin: {}", "listen: missing"),
    ("admin: { listen: '127.0.0.1:1', tokens: [ { token: short } ] }", "has 5 bytes; make it 16 to 256"),
    (f"admin: {{ listen: '127.0.0.1:1', tokens: [ {{ token: {READER} }}, {{ token: {READER} }} ] }}", "is that of tokens[0] already"),
    ("alerts: [ { name: a, when: consumer_lagg > 1, webhook: { url: http://x/ } } ]", 'did you mean "consumer_lag"?'),
    ("alerts: [ { name: a, when: ended } ]", "webhook: missing"),
    ("alerts: [ { name: a, when: ended, of: nobody, webhook: { url: http://x/ } } ]", "there is no relay and no consumer"),
    ("alerts: [ { name: a, when: ended, webhook: { url: 'file:///etc' } } ]", "url"),
])
def test_what_is_wrong_is_said(run, tmp_path, admin, says):
    (tmp_path / "c.yaml").write_text(CONFIG.format(admin=admin))
    done = run("validate", "c.yaml", status=78)
    assert says in done.stderr + done.stdout and READER not in done.stderr + done.stdout


# --- what pipelines tell ---------------------------------------------------------------------------------------------


def test_pause_and_resume(shop, daemon):
    shop.configure(f"admin: {{ listen: '127.0.0.1:0', {TOKENS} }}")
    d = daemon(token=OPERATOR)
    assert d.status("/api/v1/consumers/billing/pause", "POST") == 202
    wait_for(lambda: d.get("/api/v1/consumers/billing")["state"] == "paused", "the pause")
    shop.put(range(5))
    wait_for(lambda: d.get("/api/v1/consumers/billing")["lag"] == 5, "the lag")
    assert shop.paid() == set() and d.status("/readyz") == 200
    cpu = pathlib.Path(f"/proc/{d.process.pid}/stat")
    spent = lambda: sum(map(int, cpu.read_text().rpartition(") ")[2].split()[11:13]))  # noqa: E731
    before = spent()
    time.sleep(1)  # one that is paused has nothing to do
    assert spent() - before < 30
    assert d.status("/api/v1/consumers/billing/resume", "POST") == 202
    wait_for(lambda: shop.paid() == set(range(5)), "the orders")
    wait_for(lambda: d.get("/api/v1/consumers/billing")["lag"] == 0, "no lag")
    d.end()


def test_who_is_not_ready(shop, daemon, tmp_path):
    shop.configure(f"admin: {{ listen: 'unix:o.sock', {TOKENS} }}")
    (tmp_path / "shop.db").rename(tmp_path / "away.db")
    d = daemon("--wait", "1m", token=READER, waits=False)
    text = wait_for(lambda: (text := d.ask("/readyz")[2]) and json.loads(text)["not_ready"] and text, "the relay")
    assert json.loads(text)["status"] == "starting" and json.loads(text)["not_ready"][0]["state"] == "starting"
    assert d.status("/readyz") == 503
    assert d.status("/healthz") == 200
    (tmp_path / "away.db").rename(tmp_path / "shop.db")
    wait_for(lambda: d.status("/readyz") == 200, "readiness")
    shop.configure("admin: { listen: 'unix:second.sock' }", name="second.yaml")
    second = daemon(config="second.yaml", log="second")
    wait_for(lambda: second.get("/api/v1/relays/orders")["state"] == "standing_by", "the second relay")
    wait_for(lambda: second.status("/readyz") == 200, "its readiness")
    second.end()
    shop.outbox.execute("DROP TABLE onewrite_outbox")
    answer = wait_for(lambda: (got := d.ask("/readyz"))[0] == 503 and json.loads(got[2]), "the end of the relay")
    assert [(line["name"], line["state"]) for line in answer["not_ready"]] == [("orders", "failed")]
    assert answer["not_ready"][0]["trouble"] and "not_ready" not in json.loads(d.ask("/readyz", token=None)[2])
    d.process.kill()


def test_dead_letters_go_back(shop, daemon):
    shop.configure("admin: { listen: 'unix:o.sock' }")
    d = daemon()
    shop.put([-1, -2, 3])
    letters = lambda query="": d.get(f"/api/v1/dead-letters?store=pay{query}")["items"]  # noqa: E731
    wait_for(lambda: len(letters()) == 2, "two letters")
    first, second = letters()
    assert "payload" not in first and "payload_base64" not in first  # which would be null, as of a tombstone
    assert letters("&limit=1") == [first] and letters(f"&after={first['number']}") == [second] and letters("&state=queued") == []
    assert d.status("/api/v1/dead-letters?store=pay&state=open") == 400 and d.status("/api/v1/dead-letters?store=pay&after=x") == 400
    assert d.status("/api/v1/dead-letters?store=pay&limit=0") == 400 and d.status("/api/v1/dead-letters") == 400
    whole = d.get(f"/api/v1/dead-letters/{first['number']}?store=pay")
    number = int(whole["id"].removeprefix("order-"))
    assert json.loads(whole["payload"]) == {"number": number}
    shop.pay.execute("DROP TABLE paid")
    shop.pay.execute("CREATE TABLE paid (number INTEGER, id TEXT)")
    assert d.status(f"/api/v1/dead-letters/{first['number']}/replay?store=pay", "POST") == 202
    wait_for(lambda: shop.paid() == {number}, "the replay")
    assert d.status(f"/api/v1/dead-letters/{second['number']}/discard?store=pay", "POST") == 200
    wait_for(lambda: letters() == [], "no letters")
    assert d.status(f"/api/v1/dead-letters/{second['number']}/discard?store=pay", "POST") == 404
    d.end()


def test_reload(shop, daemon):
    shop.configure("")
    d = daemon(listens=False, token=READER)
    wait_for(lambda: "msg=working consumer" in d.log(), "the consumer")
    shop.configure(f"admin: {{ listen: '127.0.0.1:0', {TOKENS} }}")
    d.process.send_signal(signal.SIGHUP)
    d.at = wait_for(d.address, "the admin API")
    wait_for(lambda: d.status("/readyz") == 200, "readiness")
    started = d.log().count("msg=working")
    shop.configure(f"admin: {{ listen: '127.0.0.1:0', {TOKENS.replace(READER, 'another-0123456789')} }}")
    d.process.send_signal(signal.SIGHUP)
    old = d.at
    d.at = wait_for(lambda: d.address() != old and d.address(), "the new address")
    assert d.status("/metrics", token=READER) == 401 and d.status("/metrics", token="another-0123456789") == 200
    assert d.log().count("msg=working") == started  # pipelines are not touched
    shop.configure("")
    d.process.send_signal(signal.SIGHUP)
    wait_for(lambda: d.log().count("configuration read again") == 3, "the third configuration")
    with pytest.raises(ConnectionRefusedError):
        d.ask("/healthz")
    d.end()


# --- clients that behave badly ------------------------------------------------------------------------------------------


def test_a_port_in_use_is_a_warning(shop, daemon):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        shop.configure(f"admin: {{ listen: '127.0.0.1:{taken.getsockname()[1]}' }}")
        d = daemon(listens=False)
        shop.put([1])
        wait_for(lambda: shop.paid() == {1}, "the order")
        assert re.search(r'level=warn msg="no admin API; all else works on" error=".*in use', d.log())
        d.end()


def test_slow_clients_are_shown_out(shop, daemon):
    shop.configure("admin: { listen: '127.0.0.1:0', timeout: 1s, connections: 4 }")
    d = daemon()
    host, port = d.at.split(":")
    begun = time.monotonic()
    silent, slow = socket.create_connection((host, int(port))), socket.create_connection((host, int(port)))
    slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    wait_for(lambda: answers(d), "an answer, meanwhile")
    slow.settimeout(0.1)
    while True:  # a byte now and then would go on for ever
        try:
            slow.sendall(b"x")
            if slow.recv(1) == b"":
                break
        except socket.timeout:
            assert time.monotonic() - begun < 20
        except (BrokenPipeError, ConnectionResetError):
            break
    silent.settimeout(20)
    assert silent.recv(100).startswith((b"", b"HTTP/1.1 408"))
    many = [socket.create_connection((host, int(port))) for _ in range(4)]
    wait_for(lambda: answers(d), "an answer, when these are out")
    for client in [silent, slow, *many]:
        client.close()
    d.end()


def answers(d):
    try:
        return d.status("/healthz") == 200
    except (OSError, http.client.HTTPException):
        return False


def test_what_is_too_large(shop, daemon):
    shop.configure("admin: { listen: 'unix:o.sock' }")
    d = daemon()
    status, headers, _ = d.ask("/api/v1/consumers/billing/pause", "POST", body=b"x" * (10 << 20))
    assert status == 413 and headers["Content-Type"] == "application/problem+json"
    assert d.get("/api/v1/consumers/billing")["state"] == "working"
    assert d.status("/healthz", headers={"X-Large": "x" * 40000}) in (400, 431, 413)
    assert d.status("/" + "x" * 40000) in (400, 414, 431)
    assert d.status("/api/v1/consumers/" + "x" * 300) == 404
    assert d.status("/api/v1/consumers/%00%0a%ff") == 404
    raw = d.connection()
    raw.connect()
    raw.sock.sendall(b"\x16\x03\x01\x02\x00\x01 no http\r\n\r\n")
    raw.sock.recv(1000)
    raw.close()
    assert d.get("/healthz") == {"status": "ok"}
    d.end()


# --- PostgreSQL -----------------------------------------------------------------------------------------------------------


def test_what_the_log_keeps(run, daemon, tmp_path, pg_database):  # noqa: F811
    run("init", pg_database.url)
    (tmp_path / "c.yaml").write_text(f"""version: 1
stores: {{ shop: "{pg_database.url}" }}
brokers: {{ out: "file:out.jsonl" }}
relays:
  - name: orders
    from: {{ store: shop, by: log }}
    to: {{ broker: out }}
admin: {{ listen: 'unix:o.sock' }}
""")
    d = daemon()
    line = wait_for(lambda: (line := d.get("/api/v1/relays/orders"))["retained_bytes"] is not None and line, "what is kept")
    assert 0 <= line["retained_bytes"] < 1 << 30
    assert 'onewrite_relay_retained_bytes{relay="orders"} ' in d.ask("/metrics")[2]
    d.end()
