# SPDX-License-Identifier: Apache-2.0
"""The decoder beside an independent reader of the same log: PostgreSQL's own test_decoding, on a slot of its own.

What ours decoded is written in test_decoding's form and must be the same text, change by change, over a matrix of types and
operations with random rows. SEED=n repeats a run; `./dev test --long` takes more rounds and every version of the server.
"""

import io
import json
import os
import random
import re
import struct
import subprocess

import pytest
from conftest import wait_for
from oracle import records_of
from postgres import RELEASES, new_server, pg_database, query  # noqa: F401 (fixtures)

IS_LONG = os.environ.get("LONG") == "1"
VERSIONS = RELEASES if IS_LONG else (10, 15, 18)
ROUNDS = 40 if IS_LONG else 6
SETTINGS = ("SET search_path = pg_catalog; SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'; "
            "SET extra_float_digits = 3; SET bytea_output = 'hex'; SET client_encoding = 'UTF8'")


# --- random values, as literals ------------------------------------------------------------------------------


def code_point(dice, low=1):
    while True:
        point = dice.choice((dice.randint(low, 0x7f), dice.randint(low, 0x7ff), dice.randint(low, 0xffff), dice.randint(low, 0x10ffff)))
        if not 0xd800 <= point <= 0xdfff:
            return chr(point)


def text(dice, most=20):
    return "".join(dice.choice(("'", "''", "\\", '"', "\n", "null", "[", "]", ":", " ", code_point(dice))) for _ in range(dice.randint(0, most)))


def name(dice):
    """What a key or a header may be: it has no control characters and is not empty."""
    return "".join(c for c in text(dice, 5) if c.isprintable()) + "k"


def floating(dice, form):
    number = struct.unpack("<" + form, dice.randbytes(struct.calcsize(form)))[0]
    return dice.choice((repr(number).replace("inf", "Infinity").replace("nan", "NaN"), "NaN", "Infinity", "-Infinity", "-0", "0.1", "1e-30"))


def digits(dice, most):
    return "".join(dice.choice("0123456789") for _ in range(dice.randint(1, most)))


def numeric(dice, version):
    special = ("NaN", "0", "-0.000", "1e-16383", "9" * 3000 + "." + "1" * 2000, "1e131071", *(("Infinity", "-Infinity") if version >= 14 else ()))
    return dice.choice((*special, *[dice.choice(("", "-")) + digits(dice, 40) + "." + digits(dice, 40)] * len(special)))


def moment(dice, zone=""):
    clock = f"{dice.randint(0, 23):02}:{dice.randint(0, 59):02}:{dice.randint(0, 59):02}.{dice.randint(0, 999999):06}{zone}"
    day = f"{dice.choice((1, 44, 1969, 1970, 2026, 9999, 10000, 294275)):04}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
    return dice.choice(("infinity", "-infinity", "epoch", f"{day} {clock}", f"4712-{dice.randint(1, 12)}-13 {clock} BC"))


def value_of_json(dice, depth=3):
    if depth == 0 or dice.random() < 0.4:
        return dice.choice((None, True, False, 0, -1, 1e300, 12345678901234567890, text(dice).replace("\0", "")))
    if dice.random() < 0.5:
        return [value_of_json(dice, depth - 1) for _ in range(dice.randint(0, 3))]
    return {text(dice, 4): value_of_json(dice, depth - 1) for _ in range(dice.randint(0, 3))}


def array(dice, item, quote=True):
    def one():
        if dice.random() < 0.2:
            return "NULL"
        return '"' + item().replace("\\", "\\\\").replace('"', '\\"') + '"' if quote else item()
    return "{" + ",".join(one() for _ in range(dice.randint(0, 5))) + "}"


def bits(dice, count):
    return "".join(dice.choice("01") for _ in range(count))


def types_of(version, extensions):
    """name -> (type, literal of a random value)."""
    def whole(size):
        most = 1 << (8 * size - 1)
        return lambda d: str(d.choice((0, -1, most - 1, -most, d.randint(-most, most - 1))))
    types = {
        "small": ("smallint", whole(2)), "medium": ("integer", whole(4)), "big": ("bigint", whole(8)),
        "num": ("numeric", lambda d: numeric(d, version)), "money_like": ("numeric(30,7)", lambda d: d.choice(("NaN", "-0", digits(d, 20) + "." + digits(d, 9)))),
        "single": ("real", lambda d: floating(d, "f")), "twice": ("double precision", lambda d: floating(d, "d")),
        "cash": ("money", lambda d: d.choice(("-92233720368547758.08", "92233720368547758.07", f"{d.randint(-10**9, 10**9) / 100:.2f}"))),
        "yes": ("boolean", lambda d: d.choice(("t", "f"))), "fixed": ("character(12)", lambda d: text(d, 3)[:12]),
        "short": ("character varying(30)", lambda d: text(d, 6)[:30]), "words": ("text", text), "called": ("name", lambda d: text(d, 3)[:15]),
        "letter": ('"char"', lambda d: d.choice("a'\\ ")), "raw": ("bytea", lambda d: "\\x" + d.randbytes(d.randint(0, 40)).hex()),
        "day": ("date", lambda d: d.choice(("infinity", "-infinity", "4713-11-24 BC", "5874897-12-31", "2026-02-28", "0001-01-01"))),
        "clock": ("time", lambda d: d.choice(("00:00:00", "24:00:00", f"{d.randint(0, 23)}:59:59.{d.randint(0, 999999):06}"))),
        "clock_there": ("time(3) with time zone", lambda d: f"{d.randint(0, 23)}:00:01.5{d.choice(('+00', '-12:34', '+05:30'))}"),
        "at": ("timestamp", moment), "at_there": ("timestamp with time zone", lambda d: moment(d, d.choice(("+00", "-09:30", "+13")))),
        "lasts": ("interval", lambda d: f"{d.randint(-999, 999)} years {d.randint(-11, 11)} mons {d.randint(-40, 40)} days {d.randint(-99999, 99999)}.{d.randint(0, 999999):06} s"),
        "doc": ("json", lambda d: json.dumps(value_of_json(d), ensure_ascii=d.random() < 0.5, indent=d.choice((None, 2))).replace("\\u0000", "")),
        "docb": ("jsonb", lambda d: json.dumps(value_of_json(d), ensure_ascii=False)),
        "uid": ("uuid", lambda d: d.randbytes(16).hex()), "host": ("inet", lambda d: d.choice(("127.0.0.1", "10.0.0.1/8", "::1", "2001:db8::1/64"))),
        "net": ("cidr", lambda d: d.choice(("10.0.0.0/8", "2001:db8::/32"))), "mac": ("macaddr", lambda d: d.randbytes(6).hex()),
        "mac8": ("macaddr8", lambda d: d.randbytes(8).hex()), "five": ("bit(5)", lambda d: bits(d, 5)),
        "some_bits": ("bit varying", lambda d: bits(d, d.randint(0, 70))), "mood": ("mood", lambda d: d.choice(("sad", "so'so", "very glad"))),
        "rank": ("rank", lambda d: str(d.randint(1, 10))), "pair": ("pair", lambda d: "(" + ("" if d.random() < .3 else str(d.randint(-9, 9)))
                                                                   + ',"' + text(d).replace("\\", "\\\\").replace('"', '""') + '")'),
        "ints": ("integer[]", lambda d: d.choice(("[0:1][2:3]={{1,2},{3,NULL}}", array(d, lambda: str(d.randint(-9, 9)), False)))),
        "texts": ("text[]", lambda d: array(d, lambda: text(d, 5))), "nums": ("numeric(9,2)[]", lambda d: array(d, lambda: digits(d, 5))),
        "uids": ("uuid[]", lambda d: array(d, lambda: d.randbytes(16).hex())), "moods": ("mood[]", lambda d: array(d, lambda: d.choice(("sad", "so'so")))),
        "pairs": ("pair[]", lambda d: array(d, lambda: '(1,"a ""b""")')),
        "span": ("int4range", lambda d: d.choice(("empty", "(,)", "[1,5)", "(1,5]", f"[{d.randint(-99, 0)},)"))),
        "num_span": ("numrange", lambda d: d.choice(("empty", "[1.50,2.500)", "(,7]"))),
        "at_span": ("tstzrange", lambda d: d.choice(('["2026-01-01 00:00:00+00",infinity)', '(,"2026-01-01 12:34:56.789+02"]'))),
        "spans": ("int8range[]", lambda d: array(d, lambda: "[1,2)")), "day_span": ("daterange", lambda d: "[2026-01-01,2026-12-31]"),
        "spot": ("point", lambda d: f"({floating(d, 'd')},-0)"), "ring": ("circle", lambda d: "<(1,2),3.5>"), "area": ("polygon", lambda d: "((0,0),(1,1),(1,0))"),
        "way": ("path", lambda d: d.choice(("[(0,0),(1,1)]", "((0,0),(1,1))"))), "part": ("lseg", lambda d: "[(1,2),(3,4)]"), "frame": ("box", lambda d: "(1,1),(0,0)"),
        "straight": ("line", lambda d: "{1,-1,0}"), "vector": ("tsvector", lambda d: "'it''s':1A fat:2,4 \\\\:3"), "search": ("tsquery", lambda d: "fat & !'r a t':*B"),
        "page": ("xml", lambda d: d.choice(("<a b=\"'\">é</a>", "text & <b/>".replace("&", "&amp;")))), "object": ("oid", lambda d: str(d.randint(0, 2**32 - 1))),
        "place": ("pg_lsn", lambda d: f"{d.randint(0, 2**32 - 1):X}/{d.randint(0, 2**32 - 1):X}"), "of": ("regclass", lambda d: d.choice(("pg_class", "public.small'one"))),
        "taken": ("txid_snapshot", lambda d: "10:20:10,14,15"), "few": ("int2vector", lambda d: "1 2 3"), "some": ("oidvector", lambda d: "1 4294967295"),
        "own": ("integer_range", lambda d: "[1,9)"),
    }
    if version >= 11:
        types["ranks"] = ("rank[]", lambda d: array(d, lambda: str(d.randint(1, 9))))
    if version >= 12:
        types["path_of"] = ("jsonpath", lambda d: '$."a b"[*] ? (@ > 1)')
    if version >= 14:
        types["many_spans"] = ("int4multirange", lambda d: d.choice(("{}", "{[1,3),[5,9)}")))
    if "hstore" in extensions:
        types["store"] = ("public.hstore", lambda d: '"a"=>"1", "b c"=>NULL, "q"=>"x\\"y"')
    if "citext" in extensions:
        types["any_case"] = ("public.citext", text)
    return {f"c_{name}": of for name, of in types.items()}


# --- test_decoding's form ------------------------------------------------------------------------------------

BARE = {20, 21, 23, 26, 700, 701, 1700}  # whole and other numbers, oid


def quoted_name(name):
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def literal(oid, value):
    if oid in BARE:
        return value
    if oid in (1560, 1562):
        return f"B'{value}'"
    if oid == 16:
        return {"t": "true", "f": "false"}[value]
    return "'" + value.replace("'", "''") + "'"


def row_text(row, type_names, skips_null):
    parts = []
    for name, oid, value in row:
        if value is None and skips_null:
            continue
        shown = "null" if value is None else "unchanged-toast-datum" if value is True else literal(oid, value)
        parts.append(f" {quoted_name(name)}[{type_names[oid]}]:{shown}")
    return "".join(parts)


def table_text(tables):
    return ", ".join(f"{quoted_name(schema or 'pg_catalog')}.{quoted_name(name)}" for schema, name in tables)


def in_their_form(change, type_names):
    kind = change[0]
    if kind == "M":
        return f"message: transactional: {int(change[1])} prefix: {change[2]}, sz: {len(change[3].encode())} content:{change[3]}"
    start = f"table {table_text(change[1])}: "
    if kind == "T":
        flags = " ".join(word for word, is_on in (("restart_seqs", change[2]), ("cascade", change[3])) if is_on)
        return f"{start}TRUNCATE: {flags or '(no-flags)'}"
    old, new = change[2], change[3]
    if kind == "D":
        return f"{start}DELETE:" + (row_text(old, type_names, True) if old else " (no-tuple-data)")
    before = f" old-key:{row_text(old, type_names, True)} new-tuple:" if old else ""
    return f"{start}{'INSERT' if kind == 'I' else 'UPDATE'}:{before}{row_text(new, type_names, False)}"


# --- servers, slots, and what is compared --------------------------------------------------------------------


@pytest.fixture(scope="module", params=VERSIONS)
def pg_server(request):
    more = {"logical_decoding_work_mem": "64kB"} if request.param >= 13 else {}
    server = new_server(request.param, **more)
    yield server
    server.remove()


class Readers:
    def __init__(self, database, program):
        self.database, self.program, self.version = database, program, database.server.version
        self.their = database.connect()
        query(self.their, SETTINGS)
        self.has_messages, self.was_streamed, self.seen = False, False, set()

    def begin(self):
        self.database.query("CREATE PUBLICATION everything FOR ALL TABLES")
        self.database.query("SELECT pg_create_logical_replication_slot('ours', 'pgoutput'), pg_create_logical_replication_slot('theirs', 'test_decoding')")

    def ours(self):
        until = self.database.one("SELECT pg_current_wal_insert_lsn()")
        wait_for(lambda: not self.database.query("SELECT FROM pg_replication_slots WHERE active"), "the slot to be left")
        done = subprocess.run([self.program, self.database.url, "ours", "everything", until, *(["messages"] if self.has_messages else [])],
                              capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode()
        self.was_streamed |= b"streamed" in done.stderr
        changes = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
        type_names = dict(query(self.their, "SELECT oid::bigint, format_type(oid, NULL) FROM pg_type"))
        return [in_their_form(change, type_names) for change in changes]

    def theirs(self):
        rows = query(self.their, "SELECT data FROM pg_logical_slot_get_changes('theirs', NULL, NULL, 'include-xids', '0', 'skip-empty-xacts', '1')")
        lines = [data for data, in rows if data not in ("BEGIN", "COMMIT")]
        return [re.sub(r' made\[integer\]:(-?\d+|null)', "", line) for line in lines]

    def compare(self):
        """How many changes were the same; a generated column is in the log, but pgoutput leaves it out."""
        ours, theirs = self.ours(), self.theirs()
        for n, (a, b) in enumerate(zip(ours, theirs)):
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            assert a == b, f"change {n}, at {at}: ours …{a[max(0, at - 80):at + 80]!r}, theirs …{b[max(0, at - 80):at + 80]!r}"
        assert len(ours) == len(theirs)
        self.seen |= set(re.findall("INSERT|UPDATE|DELETE|TRUNCATE|message|old-key|unchanged-toast-datum|null", "\n".join(ours)))
        return len(ours)


@pytest.fixture
def readers(pg_database, onewrite):
    program = onewrite.parent / "tests" / "pgoutput_reader"
    assert program.is_file(), f"{program} is missing; run ./dev test"
    readers = Readers(pg_database, program)
    yield readers
    readers.their.close()


@pytest.fixture
def dice():
    seed = int(os.environ.get("SEED", random.randrange(10**6) if IS_LONG else 4711))
    print(f"SEED={seed}")
    return random.Random(seed)


def make_tables(readers):
    database, version = readers.database, readers.version
    for statement in ("CREATE TYPE mood AS ENUM ('sad', 'so''so', 'very glad')", "CREATE DOMAIN rank AS integer CHECK (value > 0)",
                      "CREATE TYPE pair AS (number integer, words text)", "CREATE TYPE integer_range AS RANGE (subtype = integer)",
                      "CREATE TABLE \"small'one\" (a integer, \"B \"\"b\" text, big text)", "ALTER TABLE \"small'one\" REPLICA IDENTITY FULL",
                      "CREATE TABLE keyed (a integer NOT NULL, b text NOT NULL, c text)", "CREATE UNIQUE INDEX by_b ON keyed (b)",
                      "ALTER TABLE keyed REPLICA IDENTITY USING INDEX by_b"):
        database.query(statement)
    extensions = {name for name, in database.query("SELECT name FROM pg_available_extensions")} & {"hstore", "citext"}
    for name in extensions:
        database.query(f"CREATE EXTENSION {name}")
    types = types_of(version, extensions)
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in types.items())
    made = ", made integer GENERATED ALWAYS AS (c_medium / 2) STORED" if version >= 12 else ""
    database.query(f"CREATE TABLE all_types (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {columns}{made})")
    for name in ("c_words", "c_raw", "c_texts", "c_num"):
        database.query(f"ALTER TABLE all_types ALTER COLUMN {name} SET STORAGE EXTERNAL")
    return types


def insert_rows(connection, dice, types, count):
    """One statement; a value is its literal, cast by the server."""
    rows, values = [], []
    for _ in range(count):
        rows.append("(" + ", ".join(f"%s::{kind}" for kind, _ in types.values()) + ")")
        values += [None if dice.random() < 0.15 else make(dice) for _, make in types.values()]
    query(connection, f"INSERT INTO all_types ({', '.join(types)}) VALUES {', '.join(rows)}", *values)


def update_row(connection, dice, types):
    """Of what is not touched, large values are not in the log."""
    few = dice.sample(list(types), dice.randint(1, 4))
    setters = ", ".join(f"{name} = %s::{types[name][0]}" for name in few)
    query(connection, f"UPDATE all_types SET {setters} WHERE id = (SELECT id FROM all_types ORDER BY random() LIMIT 1)",
          *[types[name][1](dice) for name in few])


def copy_rows(connection, types):
    """What the server itself writes, read back by it."""
    out = io.StringIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY (SELECT {', '.join(types)} FROM all_types ORDER BY id DESC LIMIT 3) TO STDOUT", out)
        out.seek(0)
        cursor.copy_expert(f"COPY all_types ({', '.join(types)}) FROM STDIN", out)


def test_types(readers, dice):
    types = make_tables(readers)
    readers.begin()
    db, same = readers.database.db, 0
    for _ in range(ROUNDS):
        insert_rows(db, dice, types, 1)
        insert_rows(db, dice, types, 4)
        query(db, "UPDATE all_types SET c_words = (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 300) n), "
                  "c_raw = decode(repeat('00ff27', 3000), 'hex') WHERE mod(id, 3) = 0")
        for _ in range(5):
            update_row(db, dice, types)
        copy_rows(db, types)
        query(db, "UPDATE all_types SET id = DEFAULT WHERE id = (SELECT min(id) FROM all_types)")
        query(db, "DELETE FROM all_types WHERE id = (SELECT min(id) FROM all_types)")
        same += readers.compare()
    assert same > ROUNDS * 15 and readers.seen >= {"INSERT", "UPDATE", "DELETE", "old-key", "unchanged-toast-datum", "null"}


def test_every_code_point(readers):
    readers.database.query("CREATE TABLE words (a text)")
    readers.begin()
    points = [chr(point) for point in range(1, 0x110000) if not 0xd800 <= point <= 0xdfff]
    for at in range(0, len(points), 20000):
        readers.database.query("INSERT INTO words VALUES (%s)", "".join(points[at:at + 20000]))
    assert readers.compare() == (len(points) + 19999) // 20000


def one_step(connection, dice, types, version, has_messages):
    """Something in a transaction."""
    large = dice.random() < 0.1
    what = dice.choice(("one", "one", "keyed", "keyed", "types", "update", "delete", "full", "truncate", "message", "column"))
    if what == "one":
        query(connection, "INSERT INTO \"small'one\" SELECT n, %s, CASE WHEN %s THEN (SELECT string_agg(md5(random()::text || n || i), '') "
                          "FROM generate_series(1, 200) i) END FROM generate_series(1, %s) n", text(dice), large, 40 if large else 2)
    elif what == "keyed":
        query(connection, "INSERT INTO keyed VALUES (%s, %s, %s) ON CONFLICT (b) DO UPDATE SET a = keyed.a + 1, b = keyed.b || 'x' || random()",
              dice.randint(0, 9), text(dice, 2), text(dice))
    elif what == "types":
        insert_rows(connection, dice, types, 2)
    elif what == "update":
        update_row(connection, dice, types)
    elif what == "delete":
        query(connection, "DELETE FROM keyed WHERE a = %s", dice.randint(0, 9))
    elif what == "full":
        query(connection, "UPDATE \"small'one\" SET a = a + 1 WHERE a = %s", dice.randint(0, 3))
    elif what == "truncate" and dice.random() < 0.2 and version >= 11:
        query(connection, dice.choice(("TRUNCATE keyed", "TRUNCATE keyed, \"small'one\" RESTART IDENTITY", "TRUNCATE \"small'one\" CASCADE")))
    elif what == "message" and has_messages:
        query(connection, "SELECT pg_logical_emit_message(%s, %s, %s)", dice.random() < 0.8, text(dice, 3), text(dice))
    elif what == "column" and dice.random() < 0.3:
        name = f"more{dice.randint(0, 3)}"
        query(connection, f"ALTER TABLE \"small'one\" DROP COLUMN IF EXISTS {name}")
        query(connection, f"ALTER TABLE \"small'one\" ADD COLUMN {name} {dice.choice(('text', 'integer[]', 'mood'))}")


@pytest.mark.parametrize("has_messages", [False, True], ids=["streamed", "messages"])
def test_transactions(readers, dice, has_messages):
    """Savepoints, rollbacks, tables that change, large ones: streamed while they run, but not where messages are asked for."""
    if has_messages and readers.version < 14:
        pytest.skip("decoding hands no messages out")
    readers.has_messages = has_messages
    types = make_tables(readers)
    database, same = readers.database, 0
    insert_rows(database.db, dice, types, 3)
    readers.begin()
    for _ in range(ROUNDS * 2):
        query(database.db, "BEGIN")
        depth = 0
        for _ in range(dice.randint(1, 40)):
            if depth < 3 and dice.random() < 0.3:
                depth += 1
                query(database.db, f"SAVEPOINT s{depth}")
            elif depth > 0 and dice.random() < 0.4:
                query(database.db, f"{dice.choice(('ROLLBACK TO', 'RELEASE'))} SAVEPOINT s{depth}")
                depth -= 1
            one_step(database.db, dice, types, readers.version, has_messages)
        query(database.db, "ROLLBACK" if dice.random() < 0.2 else "COMMIT")
        same += readers.compare()
    assert same > ROUNDS * 10 and readers.seen >= {"INSERT", "UPDATE", "DELETE", *({"TRUNCATE"} if readers.version >= 11 else ()),
                                                   *({"message"} if has_messages else ())}
    assert readers.was_streamed == (readers.version >= 14 and not has_messages)


def test_what_the_relay_publishes(run, readers, dice, tmp_path):
    """Of rows of the outbox, the same as the other reader has seen: many at a time, rolled back in parts, streamed."""
    database = readers.database
    run("init", database.url)
    relay = ("relay", "--until-end", "--prune", "never", database.url, "file:events.jsonl")
    run(*relay)
    database.query("SELECT pg_create_logical_replication_slot('theirs', 'test_decoding')")
    insert = "INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload, headers) VALUES (%s, 'order', %s, 'T', %s, %s)"
    for n in range(ROUNDS * 4):
        query(database.db, "BEGIN")
        for i in range(dice.randint(1, 30)):
            query(database.db, "SAVEPOINT s")
            payload = dice.choice((None, text(dice, 30), text(dice, 30) * 300))
            headers = {f"h{k}": dice.choice((None, name(dice))) for k in range(dice.randint(0, 3))}
            query(database.db, insert, f"{n}-{i}", name(dice), payload, json.dumps(headers, ensure_ascii=False))
            query(database.db, "ROLLBACK TO SAVEPOINT s" if dice.random() < 0.2 else "RELEASE SAVEPOINT s")
        query(database.db, "ROLLBACK" if dice.random() < 0.1 else "COMMIT")
    run(*relay)
    published = records_of((tmp_path / "events.jsonl").read_text())
    theirs = [line for line, in query(readers.their, "SELECT data FROM pg_logical_slot_get_changes('theirs', NULL, NULL)")
              if line.startswith("table onewrite.outbox: INSERT:")]
    assert database.query("SELECT id, reason FROM onewrite.dead_letter") == []
    assert len(published) == len(theirs) > 0
    for record, line in zip(published, theirs):
        assert f" id[text]:{literal(25, record['id'])} " in line and f" aggregateid[text]:{literal(25, record['key'])} " in line
        value = "null" if record["value"] is None else literal(25, record["value"])
        assert f" payload[text]:{value} payload_bytes[bytea]:null" in line, (record, line)
