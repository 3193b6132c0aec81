# SPDX-License-Identifier: Apache-2.0
"""The admin API and its clients: a description that a generator takes, errors as it describes them, odd ids, crowds."""

import contextlib
import http.client
import json
import pathlib
import re
import resource
import socket
import threading
import time
from urllib.parse import quote

import pytest
import yaml
from conftest import wait_for
from test_admin import OPENAPI, OPERATOR, READER, TOKENS, answers, check, daemon, resolve, shop  # noqa: F401 (fixtures)

PROBLEM = {"$ref": "#/components/schemas/Problem"}


# --- the description itself --------------------------------------------------------------------------------------------

SCHEMA_KEYS = {"type", "format", "enum", "items", "properties", "required", "additionalProperties", "nullable", "description", "minimum",
               "maximum", "default", "oneOf"}


def check_schema(api, schema, where):
    if "$ref" in schema:
        assert set(schema) == {"$ref"} and resolve(api, schema) is not None, where
        return
    assert set(schema) <= SCHEMA_KEYS and ("type" in schema or "oneOf" in schema), (where, schema)
    assert "additionalProperties" in schema or set(schema.get("required", [])) <= set(schema.get("properties", {})), where
    for name, inner in schema.get("properties", {}).items():
        check_schema(api, inner, f"{where}.{name}")
    for inner in [schema[key] for key in ("items", "additionalProperties") if key in schema] + schema.get("oneOf", []):
        check_schema(api, inner, where)


def check_parameter(api, parameter, where):
    if "$ref" in parameter:
        parameter = resolve(api, parameter)
    assert set(parameter) <= {"name", "in", "required", "description", "schema"}, (where, parameter)
    assert parameter["in"] == "query" or parameter["required"] is True, where
    check_schema(api, parameter["schema"], where)
    return parameter["name"] if parameter["in"] == "path" else None


def check_response(api, response, where):
    response = resolve(api, response)
    assert set(response) <= {"description", "content"} and response["description"], where
    for kind, content in response["content"].items():
        assert set(content) == {"schema"}, (where, kind)
        check_schema(api, content["schema"], where)


def test_a_generator_takes_the_description():
    api, ids = yaml.safe_load(OPENAPI.read_text()), []
    assert re.fullmatch(r"3\.0\.\d", api["openapi"]) and {"title", "version"} <= set(api["info"])
    for name, schema in api["components"]["schemas"].items():
        check_schema(api, schema, name)
    for path, item in api["paths"].items():
        shared = {check_parameter(api, parameter, path) for parameter in item.get("parameters", [])}
        for method in set(item) - {"parameters"}:
            what = item[method]
            assert set(what) <= {"summary", "operationId", "security", "parameters", "responses"}, (path, method)
            own = {check_parameter(api, parameter, path) for parameter in what.get("parameters", [])}
            assert (shared | own) - {None} == set(re.findall(r"\{(\w+)\}", path)), path
            ids.append(what["operationId"])
            for status, response in what["responses"].items():
                check_response(api, response, (path, status))
    assert len(ids) == len(set(ids)) > 10


# --- errors --------------------------------------------------------------------------------------------------------------


def test_errors_are_as_described(shop, daemon):  # noqa: F811
    api = yaml.safe_load(OPENAPI.read_text())
    shop.configure(f"admin: {{ listen: '127.0.0.1:0', {TOKENS} }}")
    d = daemon(token=OPERATOR)
    shop.put([-1])
    [letter] = wait_for(lambda: d.get("/api/v1/dead-letters?store=pay")["items"], "a letter")
    at = f"/api/v1/dead-letters/{letter['number']}"
    shop.pay.execute("UPDATE onewrite_dead_letter SET replays = 99")
    cases = [(400, "/api/v1/dead-letters", "GET", {}), (400, "/api/v1/dead-letters?store=pay&limit=x", "GET", {}),
             (401, "/api/v1/pipelines", "GET", {"token": None}), (401, "/nothing", "GET", {"token": "wrong-0123456789"}),
             (403, "/api/v1/consumers/billing/pause", "POST", {"token": READER}), (403, f"{at}/discard?store=pay", "POST", {"token": READER}),
             (403, "/healthz", "GET", {"headers": {"Origin": "http://x"}}), (404, "/nothing", "GET", {}),
             (404, "/api/v1/relays/nobody", "GET", {}), (405, "/metrics", "POST", {"body": "x"}), (405, "/healthz", "DELETE", {}),
             (409, f"{at}/replay?store=pay", "POST", {}), (413, "/api/v1/consumers/billing/pause", "POST", {"body": b"x" * 70000})]
    for status, path, method, more in cases:
        got, headers, text = d.ask(path, method, **more)
        assert got == status and headers["Content-Type"] == "application/problem+json", (path, got, text)
        problem = json.loads(text)
        check(api, PROBLEM, problem, path)
        assert problem["status"] == status and problem["title"] == http.client.responses[status].replace("Request Entity", "Content"), problem
        assert (headers["WWW-Authenticate"] is not None) == (status == 401) and (headers["Allow"] is not None) == (status == 405)
    assert d.get("/api/v1/consumers/billing")["state"] == "working" and len(d.get("/api/v1/dead-letters?store=pay")["items"]) == 1
    d.end()


# --- ids and bytes ------------------------------------------------------------------------------------------------------


def test_odd_ids_and_bytes(shop, daemon):  # noqa: F811
    """What is in a letter comes out as it was, and as JSON, whatever it is."""
    shop.configure("admin: { listen: 'unix:o.sock' }")
    d = daemon()
    ids = ['two "words"', "ünï😀", "100%", "a/b", "?x=1&y#z", "7", "..", "<script>", "line\nbreak", "\x7f\x01"]
    for i, name in enumerate(ids):
        shop.outbox.execute("INSERT INTO onewrite_dead_letter (position, id, key, payload, headers, reason, attempts, set_aside_at) "
                            "VALUES (?, ?, ?, ?, ?, ?, 1, 0)", (str(i), name, bytes([i, 255, 0]), bytes(range(256)), '{"h": "\\u0000"}', f"because of \"{name}\"\x00"))
    items = d.get("/api/v1/dead-letters?store=shop")["items"]
    assert [item["id"] for item in items] == ids and all(item["key_base64"] for item in items)
    for item in items:
        whole = d.get(f"/api/v1/dead-letters/{item['number']}?store=shop")
        assert whole["id"] == item["id"] and whole["payload_base64"] and item["id"] in whole["reason" if "reason" in whole else "id"]
        status, _, text = d.ask(f"/api/v1/dead-letters/{quote(item['id'], safe='')}?store=shop")
        if "/" in item["id"] or item["id"] == "7":  # a part of the path of its own; the number of another one
            assert status == 404 or json.loads(text)["number"] == 7
        else:
            assert status == 200 and json.loads(text)["number"] == item["number"], (item["id"], text)
    d.end()


def test_pages(shop, daemon):  # noqa: F811
    shop.configure("admin: { listen: 'unix:o.sock' }")
    d = daemon()
    shop.outbox.execute("INSERT INTO onewrite_dead_letter (position, state, id, payload, reason, attempts, set_aside_at) "
                        "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 2500) "
                        "SELECT n, CASE n % 3 WHEN 0 THEN 'parked' ELSE 'dead' END, 'id' || n, zeroblob(2000), 'r', 1, 0 FROM n")
    seen, after = [], 0
    while page := d.get(f"/api/v1/dead-letters?store=shop&limit=1000&after={after}")["items"]:
        assert len(page) <= 1000
        seen += [item["number"] for item in page]
        after = seen[-1]
    assert seen == list(range(1, 2501))
    assert len(d.get("/api/v1/dead-letters?store=shop")["items"]) == 100
    parked = d.get("/api/v1/dead-letters?store=shop&state=parked&limit=10&after=30")["items"]
    assert [item["number"] for item in parked] == list(range(33, 63, 3))
    assert d.get("/api/v1/dead-letters/id77?store=shop")["number"] == 77
    d.end()


# --- crowds ----------------------------------------------------------------------------------------------------------------


def test_a_crowd(shop, daemon):  # noqa: F811
    """A thousand that connect and say nothing: those in front of the door are answered when the others were shown out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    shop.configure("admin: { listen: '127.0.0.1:0', timeout: 2s, connections: 64 }")
    d = daemon()
    host, port = d.at.split(":")
    crowd = []
    for _ in range(1000):
        client = socket.socket()
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect((host, int(port)))
        crowd.append(client)
    shop.put([1])
    wait_for(lambda: shop.paid() == {1}, "the order, meanwhile")
    assert len(list(pathlib.Path(f"/proc/{d.process.pid}/task").iterdir())) < 100
    wait_for(lambda: answers(d), "an answer", seconds=60)
    for client in crowd:
        client.close()
    wait_for(lambda: answers(d), "an answer, when they are gone", seconds=60)
    d.end()


def test_many_at_once(shop, daemon):  # noqa: F811
    shop.configure("admin: { listen: 'unix:o.sock' }")
    d = daemon()
    got, failed = [], []

    def ask():
        for _ in range(10):
            try:
                got.append(d.status("/metrics"))
            except (OSError, http.client.HTTPException) as error:
                failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert got == [200] * 300 and not failed
    d.end()


@pytest.mark.parametrize("how", ["headers", "body", "nothing"])
def test_a_byte_now_and_then(shop, daemon, how):  # noqa: F811
    """All of a request has the time that is configured for it."""
    shop.configure("admin: { listen: 'unix:o.sock', timeout: 1s }")
    d = daemon()
    client = d.connection()
    client.connect()
    if how == "body":
        client.sock.sendall(b"POST /api/v1/consumers/billing/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
    elif how == "headers":
        client.sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
    client.sock.settimeout(0.2)
    began, is_open = time.monotonic(), True
    while is_open and time.monotonic() - began < 30:
        try:
            if how != "nothing":
                client.sock.sendall(b"X" if how == "body" else b"X: y\r\n")
            is_open = client.sock.recv(1000) != b""
        except socket.timeout:
            pass
        except OSError:
            is_open = False
    assert not is_open and d.get("/api/v1/consumers/billing")["state"] == "working"
    d.end()
