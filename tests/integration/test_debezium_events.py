# SPDX-License-Identifier: Apache-2.0
"""Tables that are no outbox, beside one that is: their rows come out as the change events that Debezium Server wrote for the
same statements and options. The cases are those of tests/golden/debezium/events; in most of them the router has a predicate
that keeps it away from the tables, which Debezium ran without any.
"""

import json
import pathlib
import re

import pytest
from postgres import pg_database, pg_server  # noqa: F401
from test_debezium import by_key, ends, make_topics, read_from, write_config

CASES = sorted((pathlib.Path(__file__).resolve().parents[1] / "golden" / "debezium" / "events").glob("*.json"))


def masked(text, database="golden"):
    """Times, numbers of the log and the version of the program are other ones each time; their types are not."""
    if text is None:
        return None
    text = re.sub(r'"(ts_ms|ts_us|ts_ns|txId|lsn)":\d+', r'"\1":0', text)
    text = re.sub(r'"sequence":"(?:[^"\\]|\\.)*"', '"sequence":""', text)
    return re.sub(r'("source":\{"version":)"[^"]*"', r'\1""', text).replace(f'"db":"{database}"', '"db":"golden"')


def check_times(event):
    """What masked() takes away: the same time in three units."""
    for part in event.values() if isinstance(event, dict) else ():
        check_times(part)
    if isinstance(event, dict) and "ts_ns" in event:
        assert event["ts_ns"] // 1000 == event["ts_us"] and event["ts_us"] // 1000 == event["ts_ms"] > 1700000000000, event


def events(kafka, starts, database):
    def text(value):
        return None if value is None else value.decode()
    found = read_from(kafka, starts)
    for _topic, _key, value, _headers, _partition in found:
        check_times(value and json.loads(value))
    return [(topic, text(key), masked(text(value), database), [(name, text(header)) for name, header in headers])
            for topic, key, value, headers, _partition in found]


def relay(run, tmp_path, database, kafka, case, **more):
    """Makes the tables and everything that the relay makes at its first start, then runs the script and relays."""
    missing = [name for name in re.findall(r"CREATE EXTENSION (\w+)", case["setup"])
               if not database.one("SELECT count(*) FROM pg_available_extensions WHERE name = %s", name)]
    if missing:
        pytest.skip(f"the server has no extension {missing[0]}")
    config = write_config(run, tmp_path, database, kafka, case, **more)
    database.query(case["setup"])
    run("init", database.url)
    run("run", "--until-end", config)
    transactions = re.findall(r"BEGIN;\n(.*)COMMIT;", case["script"], re.S) or re.split(r"(?<=;)\n", case["script"])
    for statements in transactions:
        if statements:
            database.query(statements)
    run("run", "--until-end", config)
    return config


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_as_debezium(run, tmp_path, pg_database, kafka, path):  # noqa: F811
    case = json.loads(path.read_text())
    topics = {record[0] for record in case["records"]}
    make_topics(kafka, topics)
    starts = ends(kafka, topics)
    relay(run, tmp_path, pg_database, kafka, case)
    want = [(topic, key, masked(value), [tuple(header) for header in headers]) for topic, key, value, headers in case["records"]]
    have = events(kafka, starts, pg_database.name)
    assert by_key(have) == by_key(want)
    assert pg_database.query("SELECT id, reason FROM onewrite.dead_letter") == []


OUTBOX = "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload text);"
PROPERTIES = json.loads(CASES[0].read_text())["properties"]


def simple_case(prefix, tables, setup, script, *more):
    properties = re.sub("g_src", prefix, re.sub("include.list=.*", f"include.list=public.outbox,{tables}", PROPERTIES))
    properties = re.sub(r"^debezium\.source\.column.*\n", "", properties, flags=re.M)
    return {"properties": properties + "".join(f"{line}\n" for line in more), "setup": OUTBOX + setup, "script": script}


def rows(kafka, topics):
    starts = {(topic, partition): 0 for topic in topics for partition in kafka.topics()[topic].partitions}
    found = []
    for topic, key, value, headers, _partition in read_from(kafka, starts):
        event = value and json.loads(value)
        found.append((key and json.loads(key), event and (event["op"], event["before"], event["after"], event["source"]["snapshot"]),
                      dict(headers)))
    return found


def test_a_key_that_changes(run, tmp_path, pg_database, kafka):  # noqa: F811
    """Of the old key the row is deleted, of the new one it is made; each says what the other is."""
    make_topics(kafka, {"moved.public.t"})
    case = simple_case("moved", "public.t", "CREATE TABLE t (b int, a int, v text, PRIMARY KEY (a, b))",
                       "INSERT INTO t VALUES (1, 2, 'x');\nUPDATE t SET b = 3;\nUPDATE t SET v = 'y'")
    relay(run, tmp_path, pg_database, kafka, case)
    old, new = {"a": 2, "b": 1}, {"a": 2, "b": 3}
    found = rows(kafka, {"moved.public.t"})
    assert [event[:2] for event in found if event[0] == old] == [
        (old, ("c", None, {"b": 1, "a": 2, "v": "x"}, "false")), (old, ("d", {"b": 1, "a": 2, "v": None}, None, "false")), (old, None)]
    assert [event[:2] for event in found if event[0] == new] == [
        (new, ("c", None, {"b": 3, "a": 2, "v": "x"}, "false")), (new, ("u", None, {"b": 3, "a": 2, "v": "y"}, "false"))]
    assert [event[2] for event in found if event[0] == old] == [{}, *2 * [{"__debezium.newkey": b'{"a":2,"b":3}'}]]
    assert [event[2] for event in found if event[0] == new] == [{"__debezium.oldkey": b'{"a":2,"b":1}'}, {}]


def test_rows_before_the_slot(run, tmp_path, pg_database, kafka):  # noqa: F811
    make_topics(kafka, {"before.public.t", "before.public.u"})
    case = simple_case("before", "public.t,public.u", "CREATE TABLE t (a int PRIMARY KEY); CREATE TABLE u (a int PRIMARY KEY);"
                       "INSERT INTO t SELECT generate_series(1, 128); INSERT INTO u VALUES (201), (202), (203)", "INSERT INTO u VALUES (204)")
    case["properties"] = case["properties"].replace("snapshot.mode=no_data", "snapshot.mode=initial")
    relay(run, tmp_path, pg_database, kafka, case)
    found = sorted(((key["a"], event[0], event[3]) for key, event, _headers in rows(kafka, {"before.public.t", "before.public.u"})))
    assert found == [(1, "r", "first_in_data_collection"), *((n, "r", "true") for n in range(2, 128)), (128, "r", "last_in_data_collection"),
                     (201, "r", "first_in_data_collection"), (202, "r", "true"), (203, "r", "last"), (204, "c", "false")]


def test_a_large_value_that_was_not_changed(run, tmp_path, pg_database, kafka):  # noqa: F811
    """With the whole old row in the log it is known; without, the text of the option stands for it."""
    make_topics(kafka, {"large.public.t", "large.public.u"})
    setup = "".join(f"CREATE TABLE {name} (a int PRIMARY KEY, n int, v text, b bytea, l text[]);"
                    f"ALTER TABLE {name} ALTER v SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL, ALTER l SET STORAGE EXTERNAL;"
                    for name in "tu") + "ALTER TABLE u REPLICA IDENTITY FULL"
    script = ";\n".join(f"INSERT INTO {name} VALUES (1, 0, repeat('x', 4000), decode(repeat('00', 4000), 'hex'), ARRAY[repeat('y', 4000)]);\n"
                        f"UPDATE {name} SET n = 1" for name in "tu")
    relay(run, tmp_path, pg_database, kafka, simple_case("large", "public.t,public.u", setup, script))
    after = [event[2] for _key, event, _headers in rows(kafka, {"large.public.t"}) if event[0] == "u"]
    assert after == [{"a": 1, "n": 1, "v": "__debezium_unavailable_value", "b": "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==",
                      "l": ["__debezium_unavailable_value"]}]
    after = [event[2] for _key, event, _headers in rows(kafka, {"large.public.u"}) if event[0] == "u"]
    assert (after[0]["n"], after[0]["v"], after[0]["l"], len(after[0]["b"])) == (1, "x" * 4000, ["y" * 4000], 5336)


def test_a_transaction_that_is_put_aside(run, tmp_path, pg_database, kafka):  # noqa: F811
    """Streamed while it is in progress; what a savepoint took back is no change. Tombstones keep their places."""
    make_topics(kafka, {"aside.public.t"})
    pg_database.query(f"ALTER DATABASE {pg_database.name} SET logical_decoding_work_mem = '64kB'")
    script = ("DO $$ BEGIN INSERT INTO t SELECT n, 'x' FROM generate_series(1, 3000) n; DELETE FROM t WHERE a % 2 = 0; "
              "BEGIN DELETE FROM t; RAISE 'no'; EXCEPTION WHEN OTHERS THEN NULL; END; UPDATE t SET v = 'y' WHERE a % 3 = 0; END $$")
    relay(run, tmp_path, pg_database, kafka, simple_case("aside", "public.t", "CREATE TABLE t (a int PRIMARY KEY, v text)", script))
    found = {}
    for key, event, _headers in rows(kafka, {"aside.public.t"}):
        found.setdefault(key["a"], []).append(event and event[0])
    assert found == {n: ["c"] + (["d", None] if n % 2 == 0 else ["u"] if n % 3 == 0 else []) for n in range(1, 3001)}


def test_what_has_to_be_there(run, tmp_path, pg_database, kafka):  # noqa: F811
    """A publication that leaves updates out is told; and none is made that would make statements of others fail."""
    case = simple_case("told", "public.t", "CREATE TABLE t (a int)", "")
    config = write_config(run, tmp_path, pg_database, kafka, case)
    pg_database.query(case["setup"])
    run("init", pg_database.url)
    done = run("run", "--until-end", config, status=None)
    assert done.returncode != 0 and "ALTER TABLE public.t REPLICA IDENTITY FULL" in done.stderr
    pg_database.query("CREATE PUBLICATION dbz_publication FOR ALL TABLES WITH (publish = 'insert')")
    done = run("run", "--until-end", config, status=None)
    assert done.returncode != 0 and "does not publish insert, update, delete" in done.stderr
