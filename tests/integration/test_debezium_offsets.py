# SPDX-License-Identifier: Apache-2.0
"""What Debezium has published is taken over from its stored offset: the relay begins exactly behind it. A small reader of
the slot stands for Debezium: it computes, after each row, the offset that Debezium stores then."""

import io
import json
import struct

import pytest
from conftest import wait_for
from oracle import records_of
from postgres import pg_database, pg_server, query  # noqa: F401

PROPERTIES = """\
debezium.source.connector.class=io.debezium.connector.postgresql.PostgresConnector
debezium.source.plugin.name=pgoutput
debezium.source.database.hostname=127.0.0.1
debezium.source.database.port={port}
debezium.source.database.user=postgres
debezium.source.database.dbname={name}
debezium.source.database.sslmode=disable
debezium.source.table.include.list=public.outbox
debezium.source.topic.prefix=shop
debezium.source.slot.name={slot}
debezium.source.publication.name=pub
debezium.sink.type=kafka
debezium.sink.kafka.producer.bootstrap.servers=127.0.0.1:1
debezium.transforms=outbox
debezium.transforms.outbox.type=io.debezium.transforms.outbox.EventRouter
debezium.format.key=simplestring
debezium.format.value=simplestring
"""


def insert(connection, *identities):
    for identity in identities:
        query(connection, "INSERT INTO outbox VALUES (%s, 'order', 'k', 'T', (SELECT string_agg(md5(random()::text || n), '') "
              "FROM generate_series(1, 60) n))", identity)


@pytest.fixture
def outbox(pg_database):  # noqa: F811
    pg_database.query("CREATE TABLE outbox (id text PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload text)")
    pg_database.query("CREATE TABLE other (n int); CREATE PUBLICATION pub FOR ALL TABLES")
    pg_database.query("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", f"{pg_database.name}_dbz")
    return pg_database


def what_debezium_does(database):
    """(ids that are published so far, the offset that is stored then), after each of its steps."""
    from psycopg2 import connect
    from psycopg2.extras import LogicalReplicationConnection
    end = database.one("SELECT pg_current_wal_lsn() - '0/0'")
    connection = connect(host="127.0.0.1", port=database.server.port, user="postgres", dbname=database.name,
                         connection_factory=LogicalReplicationConnection)
    cursor = connection.cursor()
    cursor.start_replication(slot_name=f"{database.name}_dbz", decode=False, options={"proto_version": "1", "publication_names": "pub"})
    published, steps, offset, is_outbox = [], [([], {})], {"transaction_id": None}, {}
    while True:
        message = cursor.read_message()
        if message is None:
            cursor.send_feedback(reply=True, force=True)
            if cursor.wal_end >= end:
                break
            continue
        kind, body = message.payload[:1], message.payload[1:]
        if kind == b"B":
            xid, = struct.unpack(">16xI", body)
        elif kind == b"R":
            is_outbox[body[:4]] = body[4:].split(b"\0")[1] == b"outbox"
        elif kind == b"I" and is_outbox[body[:4]]:
            size, = struct.unpack(">I", body[8:12])
            published.append(body[12:12 + size].decode())
            offset.update(lsn=message.data_start, txId=xid, messageType="INSERT", ts_usec=1)
            steps.append((list(published), dict(offset)))
        elif kind == b"C":
            offset.update(lsn_commit=message.data_start, lsn_proc=message.data_start)
            if "lsn" in offset:  # a heartbeat
                steps.append((list(published), dict(offset)))
    connection.close()
    return steps


def is_dropped(database, slot):
    """A sender of the server's may still hold it, or take it yet, when its client is gone already."""
    from psycopg2.errors import ObjectInUse
    try:
        database.query("SELECT pg_drop_replication_slot(%s)", slot)
    except ObjectInUse:
        return False
    return True


def relay_behind(run, tmp_path, database, n, *offsets, status=0):
    """The relay on a slot that stands where Debezium's stood, with what it has stored; the ids that it publishes."""
    slot = f"{database.name}_{n}"
    database.query("SELECT pg_copy_logical_replication_slot(%s, %s)", f"{database.name}_dbz", slot)
    properties = tmp_path / "application.properties"
    properties.write_text(PROPERTIES.format(port=database.server.port, name=database.name, slot=slot))
    done = run("import-debezium", *offsets, properties)
    config = tmp_path / "onewrite.yaml"
    config.write_text(done.stdout.replace('url: "kafka://127.0.0.1:1"', f'url: "file:{slot}.jsonl"'))
    said = run("run", "--until-end", config, status=status)
    path = tmp_path / f"{slot}.jsonl"
    if status == 0:  # and at the next start nothing comes again
        run("run", "--until-end", config)
        wait_for(lambda: is_dropped(database, slot), "the slot to be left")
        return [record["id"] for record in records_of(path.read_text())] if path.exists() else []
    return said.stderr


@pytest.mark.parametrize("memory", ["64MB", "64kB"])
def test_exactly_behind(run, outbox, tmp_path, memory):
    """After each row and each commit, with transactions that lie over each other, streamed while in progress or not."""
    outbox.query(f"ALTER SYSTEM SET logical_decoding_work_mem = '{memory}'")
    outbox.query("SELECT pg_reload_conf()")
    long, short = outbox.connect(), outbox.connect()
    query(long, "BEGIN")
    insert(long, *(f"long-{n}" for n in range(3)))
    insert(short, "soon")
    query(short, "BEGIN; INSERT INTO other VALUES (1); COMMIT")
    query(long, "SAVEPOINT s")
    insert(long, "never")
    query(long, "ROLLBACK TO s")
    query(short, "BEGIN")
    insert(short, *(f"pair-{n}" for n in range(25)))
    insert(long, "long-3")
    query(short, "COMMIT")
    insert(long, "long-4")
    query(long, "COMMIT")
    insert(short, "last")
    steps = what_debezium_does(outbox)
    everything = steps[-1][0]
    assert len(everything) == 32 and everything[0] == "soon" and everything[-2:] == ["long-4", "last"]
    chosen = [step for n, step in enumerate(steps) if n < 4 or n > len(steps) - 10 or n % 8 == 0]
    for n, (published, offset) in enumerate(chosen):
        given = ("--offsets", json.dumps(offset)) if offset else ()
        assert relay_behind(run, tmp_path, outbox, n, *given) == everything[len(published):], offset
    outbox.query("ALTER SYSTEM RESET logical_decoding_work_mem")
    outbox.query("SELECT pg_reload_conf()")


def test_rows_at_one_place(run, outbox, tmp_path):
    """COPY: Debezium's offset does not tell how many of them; none is lost, the first one is not published twice."""
    with outbox.connect().cursor() as cursor:
        cursor.copy_from(io.StringIO("".join(f"c{n}\torder\tk\tT\tx\n" for n in range(5))), "outbox")
    insert(outbox.db, "behind")
    steps = what_debezium_does(outbox)
    in_the_midst = next(offset for published, offset in steps if published == ["c0", "c1", "c2"])
    assert relay_behind(run, tmp_path, outbox, 1, "--offsets", json.dumps(in_the_midst)) == ["c1", "c2", "c3", "c4", "behind"]
    whole = [offset for published, offset in steps if published and published[-1] == "c4"][-1]
    assert relay_behind(run, tmp_path, outbox, 2, "--offsets", json.dumps(whole)) == ["behind"]


def test_a_gap_stops(run, outbox, tmp_path):
    """An offset that the slot does not reach back to, or that the log never came to."""
    insert(outbox.db, "a", "b")
    offset = what_debezium_does(outbox)[-1][1]
    insert(outbox.db, "c")
    outbox.query("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", f"{outbox.name}_dbz")
    said = relay_behind(run, tmp_path, outbox, 1, "--offsets", json.dumps(offset), status=1)
    assert "ahead of" in said and "start_after" in said
    later = {**offset, "lsn": 1 << 60, "lsn_commit": 1 << 60}
    assert "before the" in relay_behind(run, tmp_path, outbox, 2, "--offsets", json.dumps(later), status=1)
    config = tmp_path / "onewrite.yaml"
    run("run", "--until-end", "--accept-gap", "outbox", config)
    insert(outbox.db, "d")
    run("run", "--until-end", config)
    assert [r["id"] for r in records_of((tmp_path / f"{outbox.name}_2.jsonl").read_text())] == ["d"]
    assert 'no relay "nosuch"' in run("run", "--accept-gap", "nosuch", config, status=2).stderr


def test_where_offsets_are_kept(run, outbox, tmp_path):
    """The forms in which an offset is found, and what is none."""
    properties = tmp_path / "application.properties"
    properties.write_text(PROPERTIES.format(port=1, name="x", slot="y"))
    one, two = ('{"transaction_id":null,"lsn_proc":%d,"lsn_commit":%d,"lsn":%d,"txId":7,"ts_usec":1}' % (n, n, n + 16) for n in (256, 512))
    good = {
        "serialised": b"\xac\xed\0\x05sr\0\x11java.util.HashMap\x05{\xda\xc1`\0[B\0\x1c[\"kafka\",{\"server\":\"shop\"}]uq\0~\0\x02\0\0\0" + two.encode() + b"x",
        "topic": f'["x",{{"server":"shop"}}]\t{one}\n["x",{{"server":"other"}}]\t{one}\n["x",{{"server":"shop"}}]\t{two}\n'.encode(),
        "rest": f'{{"offsets":[{{"partition":{{"server":"shop"}},"offset":{two}}}]}}'.encode(),
        "alone": two.encode(),
    }
    for name, data in good.items():
        (tmp_path / name).write_bytes(data)
        assert 'start_after: "0/200, 7, 0/210"' in run("import-debezium", "--offsets", name, properties).stdout, name
    done = '{"last_snapshot_record":true,"lsn":512,"txId":7,"snapshot":true}'
    assert 'start_after: "0/200" ' in run("import-debezium", "--offsets", done, properties).stdout
    midst = '{"last_snapshot_record":false,"lsn":512,"txId":7,"snapshot":"INITIAL","snapshot_completed":false}'
    assert "initial snapshot" in run("import-debezium", "--offsets", midst, properties, status=1).stderr
    (tmp_path / "others").write_text(f'["x",{{"server":"other"}}]\t{one}')
    assert "it has those of: other" in run("import-debezium", "--offsets", "others", properties, status=1).stderr
    assert 'a JSON object with "lsn"' in run("import-debezium", "--offsets", "{}", properties, status=1).stderr
    config = tmp_path / "onewrite.yaml"
    config.write_text(run("import-debezium", "--offsets", two, properties).stdout.replace("0/200,", "nowhere,"))
    assert "is no place in the log" in run("validate", config, status=78).stderr
