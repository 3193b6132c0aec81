# SPDX-License-Identifier: Apache-2.0
"""A relay with `to: debezium:`, from a real PostgreSQL to a real Kafka: the records that Debezium Server wrote for the same
rows and options. The cases are those of tests/golden/debezium; ONEWRITE_GOLDEN names a folder of which all are taken.
"""

import base64
import json
import os
import pathlib
import re
from collections import defaultdict

import pytest
from conftest import wait_for
from postgres import pg_database, pg_server  # noqa: F401

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "golden" / "debezium"
# Converters, headers and envelope, defaults of the table, tombstones, expansion, UPDATE and DELETE, set aside.
FEW = ["basic_defaults", "basic_strings", "envelope_types_schemas", "expand_json", "header_alias", "key_types_simplestring", "op_update_warn", "partition_by_key_string",
       "payload_types_json", "route_null", "timestamp_tz", "tombstone_text"]
GIVEN = os.environ.get("ONEWRITE_GOLDEN")
CASES = sorted(pathlib.Path(GIVEN).glob("*.json")) if GIVEN else [FOLDER / f"{name}.json" for name in FEW]
PARTITIONS = 4


def make_table(database, table):
    columns = []
    for column in table["columns"]:
        written = database.one("SELECT format_type(%s, %s)", column["type"], column["typmod"])
        columns.append(f'"{column["name"]}" {written}' + (" NOT NULL" if column["not_null"] else "")
                       + (f" DEFAULT {column['default']}" if column["default"] else ""))
    database.query(f'CREATE TABLE public."{table["name"]}" ({", ".join(columns)})')
    database.query(f'ALTER TABLE public."{table["name"]}" REPLICA IDENTITY FULL')


def write_row(database, tables, row):
    name, op, values = row
    columns = [f'"{column["name"]}"' for column in tables[name]["columns"]]
    if op == "INSERT":
        database.query(f'INSERT INTO public."{name}" ({", ".join(columns)}) VALUES ({", ".join(["%s"] * len(values))})', *values)
    elif op == "UPDATE":
        setters = ", ".join(f"{column} = %s" for column in columns)
        database.query(f'UPDATE public."{name}" SET {setters} WHERE {columns[0]} = %s', *values, values[0])
    else:
        database.query(f'DELETE FROM public."{name}" WHERE {columns[0]} = %s', values[0])


def write_config(run, tmp_path, database, kafka, case, **more):
    """The configuration that import-debezium makes of the case, or None: Debezium stops at its options."""
    server = database.server
    lines = {"source.database.hostname": "127.0.0.1", "source.database.port": server.port, "source.database.user": "postgres",
             "source.database.dbname": database.name, "source.database.sslmode": "disable", "source.plugin.name": "pgoutput",
             "source.slot.name": f"{database.name}_dbz", "sink.type": "kafka",
             "sink.kafka.producer.bootstrap.servers": kafka.bootstrap, **more}
    properties = tmp_path / "application.properties"
    properties.write_text(case["properties"] + "".join(f"debezium.{name}={value}\n" for name, value in lines.items()))
    done = run("import-debezium", properties, status=None)
    if done.returncode == 78:
        return None
    assert done.returncode in (0, 3), done.stderr
    config = tmp_path / "onewrite.yaml"
    config.write_text(done.stdout)
    return config


def decoded(text):
    return None if text is None else base64.b64decode(text)


def masked(value):
    """Java's addresses are other ones each time."""
    return value if value is None else re.sub(rb"\[B@[0-9a-f]+", b"[B@", value)


def ends(kafka, topics):
    """Where the topics end now: what comes behind is of this test."""
    from confluent_kafka import Consumer, TopicPartition
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "reader"})
    places = [TopicPartition(topic, partition) for topic in topics for partition in kafka.topics()[topic].partitions]
    found = {(place.topic, place.partition): consumer.get_watermark_offsets(place, timeout=10)[1] for place in places}
    consumer.close()
    return found


def read_from(kafka, starts):
    from confluent_kafka import Consumer, TopicPartition
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "reader", "enable.auto.commit": False,
                         "enable.partition.eof": True, "fetch.wait.max.ms": 5})
    consumer.assign([TopicPartition(topic, partition, offset) for (topic, partition), offset in starts.items()])
    found, ended = [], set()
    while len(ended) < len(starts):
        message = consumer.poll(20)
        assert message is not None, "nothing comes"
        if message.error():
            ended.add((message.topic(), message.partition()))
            continue
        headers = [(name, masked(value)) for name, value in message.headers() or []]
        found.append((message.topic(), masked(message.key()), masked(message.value()), headers, message.partition()))
    consumer.close()
    return found


def by_key(records):
    """Those of a key in their order; those without a key have none."""
    groups = defaultdict(list)
    for topic, key, *rest in records:
        groups[topic, key].append(tuple(rest))
    return {place: sorted(group, key=repr) if place[1] is None else group for place, group in groups.items()}


def wanted(case):
    return [(topic, masked(decoded(key)), masked(decoded(value)), [(name, masked(decoded(text))) for name, text in headers], *rest)
            for topic, key, value, headers, *rest in case["records"]]


def make_topics(kafka, topics):
    missing = topics - set(kafka.topics())
    for topic in missing:
        kafka.create(topic, PARTITIONS)
    if missing:
        wait_for(lambda: has_leaders(kafka, missing), "the leaders of new topics")


def has_leaders(kafka, topics):
    from confluent_kafka import KafkaException
    try:
        return bool(ends(kafka, topics))
    except (KafkaException, KeyError):
        return False


def relay_case(run, tmp_path, database, kafka, case, **more):
    """Writes the rows of a case and relays them; False: Debezium stops at its options."""
    tables = {table["name"]: table for table in case["tables"]}
    config = write_config(run, tmp_path, database, kafka, case, **more)
    if not config:
        return False
    for table in case["tables"]:
        make_table(database, table)
    database.query("CREATE PUBLICATION dbz_publication FOR ALL TABLES")
    database.query("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", f"{database.name}_dbz")
    run("init", database.url)
    for row in case["rows"]:
        write_row(database, tables, row)
    run("run", "--until-end", config)
    return True


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_as_debezium(run, tmp_path, pg_database, kafka, path):  # noqa: F811
    case = json.loads(path.read_text())
    if any(column["type"] >= 16384 for table in case["tables"] for column in table["columns"]):
        pytest.skip("needs types that are not PostgreSQL's own")
    want = wanted(case)
    topics = {record[0] for record in want}
    make_topics(kafka, topics)
    starts = ends(kafka, topics)
    if not relay_case(run, tmp_path, pg_database, kafka, case):
        assert not want
        return
    have = by_key(read_from(kafka, starts))
    for place, records in by_key(want).items():
        found = have.get(place, [])
        if len(records[0]) < 3:  # it does not say the partition
            found = [record[:2] for record in found]
        # Debezium stops where we set aside and go on.
        assert (found[:len(records)] if case["stops"] else found) == records, place
    if not case["stops"]:
        assert set(have) == {record[:2] for record in want}
        assert pg_database.query("SELECT id, reason FROM onewrite.dead_letter") == []


CASE = json.loads((FOLDER / "basic_strings.json").read_text())


def simple_case(topic, rows):
    properties = CASE["properties"].replace("g_ev.", f"{topic}.")
    return {**CASE, "properties": properties, "rows": [["outbox", op, [f"11111111-2222-4333-8444-{n:012}", "Order", key, "T", payload]]
                                                       for op, n, key, payload in rows]}


def values(kafka, topic):
    starts = {(topic, partition): 0 for partition in kafka.topics()[topic].partitions}
    return sorted(record[2].decode() for record in read_from(kafka, starts) if record[2])


def test_nothing_but_drops_in_transactions(run, tmp_path, pg_database, kafka):  # noqa: F811
    """What publishes nothing is confirmed all the same: the slot moves on, and never ahead of what the broker has on record."""
    make_topics(kafka, {"drops.Order"})
    case = simple_case("drops", [("INSERT", 1, "a", '{"v": 1}'), ("UPDATE", 1, "a", '{"v": 2}'), ("INSERT", 2, "a", '{"v": 3}')])
    assert relay_case(run, tmp_path, pg_database, kafka, case)
    config = tmp_path / "onewrite.yaml"
    config.write_text(re.sub(r'( +)(url: "kafka:.*)\n', r"\1\2\n\1delivery: exactly_once\n", config.read_text()))
    tables = {table["name"]: table for table in case["tables"]}
    for n in range(3):
        for i in range(40):
            write_row(pg_database, tables, simple_case("drops", [("UPDATE", 1, "a", f'{{"v": {n + 10}}}')])["rows"][0])
            if i == 30:
                before = pg_database.one("SELECT pg_current_wal_lsn()")
        run("run", "--until-end", config)
        wait_for(lambda: pg_database.one("SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s", before,
                                         f"{pg_database.name}_dbz"), "the server to take what the relay has said at its end", 10)
    write_row(pg_database, tables, simple_case("drops", [("INSERT", 3, "a", '{"v": 4}')])["rows"][0])
    run("run", "--until-end", config)
    assert values(kafka, "drops.Order") == ['{"v": 1}', '{"v": 3}', '{"v": 4}']
    assert pg_database.query("SELECT id FROM onewrite.dead_letter") == []


def test_rows_before_the_slot_and_after_a_change_of_the_table(run, tmp_path, pg_database, kafka):  # noqa: F811
    make_topics(kafka, {"snap.Order"})
    case = simple_case("snap", [])
    tables = {table["name"]: table for table in case["tables"]}
    more = {"source.snapshot.mode": "initial", "transforms.outbox.table.fields.additional.placement": "colour:header,type:header:kind",
            "transforms.outbox.table.fields.additional.error.on.missing": "true"}
    config = write_config(run, tmp_path, pg_database, kafka, case, **more)
    pg_database.query("CREATE TYPE colour AS ENUM ('red', 'green'); CREATE DOMAIN shade AS colour NOT NULL DEFAULT 'red'")
    make_table(pg_database, case["tables"][0])
    run("init", pg_database.url)
    write_row(pg_database, tables, simple_case("snap", [("INSERT", 1, "a", '{"v": 1}')])["rows"][0])
    run("run", "--until-end", config)
    assert "colour" in pg_database.one("SELECT reason FROM onewrite.dead_letter")
    pg_database.query("ALTER TABLE outbox ADD COLUMN colour shade")
    write_row(pg_database, tables, simple_case("snap", [("INSERT", 2, "a", '{"v": 2}')])["rows"][0])
    pg_database.query("ALTER TABLE outbox DROP COLUMN colour; ALTER TABLE outbox ADD COLUMN colour text DEFAULT 'blue'")
    write_row(pg_database, tables, simple_case("snap", [("INSERT", 3, "a", '{"v": 3}')])["rows"][0])
    run("run", "--until-end", config)
    assert values(kafka, "snap.Order") == ['{"v": 2}', '{"v": 3}']
    starts = {("snap.Order", partition): 0 for partition in range(PARTITIONS)}
    assert [dict(record[3])["colour"] for record in read_from(kafka, starts)] == [b'"red"', b'"blue"']
    assert len(pg_database.query("SELECT id FROM onewrite.dead_letter")) == 1
