# SPDX-License-Identifier: Apache-2.0
"""The command line as a person meets it: help, exit statuses, and one clear line for each thing that is wrong."""

import json
import os
import re
import shutil
import sqlite3
import subprocess

import pytest

COMMANDS = "relay run validate check init publish tail status drop import-debezium demo completion version help".split()
OUTBOX = ("--aggregatetype", "order", "--aggregateid", "1", "--type", "Placed")

GOOD = """\
version: 1
stores:
  shop: sqlite:shop.db
brokers:
  bus: journal:bus.db
relays:
  - name: orders
    from: { store: shop }
    to: { broker: bus }
"""


def one_line(done):
    """The one line of standard error; nothing is on standard output."""
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert len(done.stderr) < 300, done.stderr
    return done.stderr.strip()


def write(path, text):
    path.write_text(text)
    return path.name


# --- help -----------------------------------------------------------------------------------------------


def test_alone_it_shows_the_short_help_and_fails(run):
    done = run(status=2)
    assert done.stdout == ""
    for command in COMMANDS:
        assert f"\n  {command} " in done.stderr


@pytest.mark.parametrize("command", [None, *COMMANDS, "man", "config-reference", "crash-points"])
def test_help_reads_well(run, command):
    words = [command] if command else []
    text = run(*words, "--help").stdout
    assert text == run("help", *words).stdout
    assert text == run(*words, "-h").stdout
    assert text.startswith("Usage: onewrite " + (command or "COMMAND"))
    for line in text.splitlines():
        assert len(line) <= 100, line
        assert line == line.rstrip(), line
    assert "\n\n\n" not in text


def test_every_exit_status_is_in_the_help_and_the_manual(run):
    for text in (run("--help").stdout, run("man").stdout):
        for status in ("0", "1", "2", "3", "4", "69", "77", "78"):
            assert re.search(rf"^\W*(\\fB)?{status}\b", text, re.M), status


def test_the_manual_is_good_roff(run, tmp_path):
    if not shutil.which("groff"):
        pytest.skip("there is no groff")
    page = run("man").stdout
    assert page.isascii()
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(run, shell, tmp_path):
    script = run("completion", shell).stdout
    for word in (*COMMANDS, "until-end", "journal:"):
        assert word in script
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    subprocess.run([shell, "-n", write(tmp_path / "script", script)], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    "words, expected",
    [
        (["re"], {"relay"}),
        (["status", "--out"], {"--output"}),
        (["status", "--output", "js"], {"json", "jsonl"}),
        (["relay", "jou"], {"journal:"}),
        (["help", "val"], {"validate"}),
        (["-q", "init", "--pr"], {"--print"}),
    ],
)
def test_bash_completes(run, words, expected, tmp_path):
    (tmp_path / "script").write_text(run("completion", "bash").stdout)
    line = " ".join(f"'{word}'" for word in ["onewrite", *words])
    code = f"source ./script; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _onewrite; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected, done.stderr


def test_version(run):
    text = run("--version").stdout
    assert text == run("version").stdout
    version = json.loads(run("version", "-o", "json").stdout)
    assert text.startswith(f"onewrite {version['version']} (debug build)\n")
    assert version["stores"]["sqlite"] and version["brokers"]["journal"]
    assert set(version["libraries"]) >= {"sqlite", "libyaml"}
    assert set(version["libraries"]) <= {"sqlite", "libyaml", "libpq", "librdkafka", "libcurl", "libmicrohttpd", "pcre2", "hiredis"}
    assert all(f" {number}" in text for number in version["libraries"].values())


def test_a_reader_that_goes_away_is_no_error(onewrite):
    with open("/dev/null", "wb") as null:
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([onewrite, "man"], stdin=null, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_an_error(onewrite):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([onewrite, "man"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "onewrite: cannot write to standard output: No space left on device\n"


# --- wrong usage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, message",
    [
        (["realy"], 'unknown command "realy"; did you mean "relay"?'),
        (["qwertyuiop"], 'unknown command "qwertyuiop"; see onewrite --help'),
        (["--verison"], "unknown option --verison; did you mean --version?"),
        (["help", "statsu"], 'unknown command "statsu"; did you mean "status"?'),
        (["status"], "URL|CONFIG is missing; see onewrite status --help"),
        (["status", ""], "URL|CONFIG is empty; see onewrite status --help"),
        (["init", "sqlite:a.db", "b"], '"b" is one argument too many; see onewrite init --help'),
        (["init", "--prnit", "sqlite:a.db"], "unknown option --prnit; did you mean --print?"),
        (["init", "-z", "sqlite:a.db"], "unknown option -z; see onewrite init --help"),
        (["init", "--print=yes", "sqlite:a.db"], "option --print takes no value"),
        (["status", "sqlite:a.db", "-o"], "option -o needs a value: -o FORMAT"),
        (["status", "sqlite:a.db", "-o", "xml"], 'option --output: "xml" is none of table, json, jsonl'),
        (["--log-format", "xml", "version"], 'option --log-format: "xml" is none of auto, text, logfmt, json'),
        (["init", "sqlit:a.db"], 'unknown URL scheme "sqlit"; did you mean "sqlite"?'),
        (["init", "a.db"], '"a.db" is not a URL; write it as sqlite:a.db'),
        (["init", "stdout:"], "stdout: needs no init; it is made when something is published"),
        (["completion", "tcsh"], 'unknown shell "tcsh"; write bash, zsh or fish'),
        (["publish", "sqlite:a.db"], "option --aggregatetype is missing; the outbox of sqlite:a.db needs it"),
        (["publish", "sqlite:a.db", "--key", "k"], "option --key has no meaning for a store; use --aggregateid"),
        (["publish", "journal:a.db"], "option --topic is missing; journal:a.db needs it"),
        (["publish", "journal:a.db", "-t", "a"], "PAYLOAD is missing; give it, or --payload-file FILE (- is standard input), or --tombstone for a message without one"),
        (["publish", "journal:a.db", "-t", "a", "x", "-p", "y"], "PAYLOAD and --payload exclude each other"),
        (["publish", "journal:a.db", "-t", "a", "-p", "x", "-f", "y"], "PAYLOAD, --payload, --payload-file and --tombstone exclude each other"),
        (["publish", "stdout:", "-t", "a", "--header", "b", "x"], 'option --header: "b" has no "="; write NAME=VALUE'),
        (["publish", "stdout:", "-t", "a", "--header", "b=c\nd", "x"], 'header "b" has a line break or NUL in its value'),
        (["publish", "stdout:", "-t", "a", "--header", "=c", "x"], "a header has an empty name"),
        (["publish", "stdout:", "-t", "a", "--key", b"\xff", "x"], "key is not valid UTF-8"),
        (["publish", "stdout:", "-t", "a\nb", "x"], "topic has a control character or a line break in it"),
        (["publish", "stdout:", "--jsonl", "--payload", "x"], "options --jsonl and --payload exclude each other for stdout:"),
    ],
)
def test_wrong_usage_is_one_line_and_2(onewrite, tmp_path, words, message):
    done = subprocess.run([onewrite, *words], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert one_line(done) == "onewrite: " + message
    assert os.listdir(tmp_path) == []


# --- init ----------------------------------------------------------------------------------------------


def test_init_makes_the_outbox_once(run, tmp_path):
    assert run("init", "sqlite:shop.db").stderr == "shop.db: created onewrite_outbox and onewrite_dead_letter (schema version 1)\n"
    before = (tmp_path / "shop.db").read_bytes()
    assert run("init", "sqlite:shop.db").stderr == "shop.db: nothing to do, schema version 1\n"
    assert (tmp_path / "shop.db").read_bytes() == before
    assert run("init", "-q", "sqlite:other.db").stderr == ""
    with sqlite3.connect(tmp_path / "shop.db") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_init_leaves_the_journal_mode_if_told(run, tmp_path):
    run("init", "--no-wal", "sqlite:shop.db")
    with sqlite3.connect(tmp_path / "shop.db") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_init_prints_sql_that_does_the_same(run, tmp_path):
    sql = run("init", "--print", "sqlite:shop.db").stdout
    assert os.listdir(tmp_path) == []
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.executescript(sql)
    assert run("init", "sqlite:shop.db").stderr == "shop.db: nothing to do, schema version 1\n"


def test_init_makes_a_journal(run, tmp_path):
    assert run("init", "journal:bus.db").stderr == "bus.db: created the journal (schema version 1)\n"
    assert run("init", "journal:bus.db").stderr == "bus.db: nothing to do, schema version 1\n"


# --- publish ---------------------------------------------------------------------------------------------


def test_publish_into_an_outbox(run, tmp_path):
    run("init", "sqlite:shop.db")
    made = run("publish", "sqlite:shop.db", *OUTBOX, "--payload", '{"total": 3}', "-H", "trace=a=b", "-H", "empty=").stdout.strip()
    given = run("publish", "sqlite:shop.db", *OUTBOX, "--id", "mine", "--tombstone").stdout.strip()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made)
    with sqlite3.connect(tmp_path / "shop.db") as db:
        rows = db.execute("SELECT id, aggregatetype, aggregateid, type, payload, headers FROM onewrite_outbox").fetchall()
    assert rows[0] == (made, "order", "1", "Placed", '{"total": 3}', '{"trace":"a=b","empty":""}')
    assert rows[1] == ("mine", "order", "1", "Placed", None, None)
    assert given == "mine"


def test_publish_to_a_journal_and_back(run, tmp_path):
    (tmp_path / "blob").write_bytes(b"\xff\x00\xfe")
    first = run("publish", "journal:bus.db", "-t", "orders", "-k", "42", "-p", "hello", "--type", "T").stdout.strip()
    second = run("publish", "journal:bus.db", "-t", "orders", "-k", "42", "-f", "blob", "-H", "a=b").stdout.strip()
    tail = ("--topic", "orders", "--from", "beginning", "--until-end", "-o", "jsonl")
    lines = run("tail", "journal:bus.db", *tail).stdout
    records = [json.loads(line) for line in lines.splitlines()]
    assert [r["id"] for r in records] == [first, second]
    assert records[0]["value"] == "hello" and records[0]["headers"] == {"type": "T"} and records[0]["key"] == "42"
    assert records[1]["value"] == {"base64": "/wD+"} and records[1]["headers"] == {"a": "b"}
    assert run("publish", "journal:copy.db", "--jsonl", input=lines).stdout.split() == [first, second]
    assert run("tail", "journal:copy.db", *tail).stdout == lines


def lines_of(count, **more):
    return "".join(json.dumps({"topic": "outbox.event.order", "key": str(i % 7), "id": f"id-{i}", "value": str(i),
                               "headers": {"type": "Placed"}, **more}) + "\n" for i in range(count))


def test_publish_many_into_an_outbox(run, tmp_path):
    run("init", "sqlite:shop.db")
    done = run("publish", "sqlite:shop.db", "--jsonl", input="\n" + lines_of(2500).rstrip("\n"))
    assert done.stdout.split() == [f"id-{i}" for i in range(2500)]
    with sqlite3.connect(tmp_path / "shop.db") as db:
        rows = db.execute("SELECT id, aggregatetype, aggregateid, type, payload FROM onewrite_outbox ORDER BY seq").fetchall()
    assert rows == [(f"id-{i}", "order", str(i % 7), "Placed", str(i)) for i in range(2500)]


def test_publish_many_goes_on_when_nobody_reads_the_ids(onewrite, run, tmp_path):
    run("init", "sqlite:shop.db")
    reader, writer = os.pipe()
    os.close(reader)
    subprocess.run([onewrite, "publish", "sqlite:shop.db", "--jsonl"], input=lines_of(2500), text=True, cwd=tmp_path,
                   stdout=writer, check=True)
    os.close(writer)
    with sqlite3.connect(tmp_path / "shop.db") as db:
        assert db.execute("SELECT count(*) FROM onewrite_outbox").fetchone() == (2500,)


@pytest.mark.parametrize(
    "bad, message",
    [
        ("nonsense", "not JSON"),
        ('{"value": "x"}', "topic"),
        ('{"topic": "t", "key": "k", "value": "x", "headers": {"type": "T", "a": "b\\nc"}}', 'header "a" has a line break'),
        ('{"topic": "t", "key": null, "value": "x", "headers": {"type": "T"}}', "key is null"),
        ('{"topic": "t", "key": "k", "value": "x"}', 'there is no header "type"'),
        ('{"topic": "t", "key": "k\\u0000", "value": "x", "headers": {"type": "T"}}', "control character"),
    ],
)
def test_a_bad_line_ends_the_reading_and_is_named(run, bad, message, tmp_path):
    run("init", "sqlite:shop.db")
    done = run("publish", "sqlite:shop.db", "--jsonl", input=lines_of(2) + bad + "\n" + lines_of(1), status=3)
    assert done.stdout.split() == ["id-0", "id-1"]
    assert done.stderr.startswith("onewrite: standard input, line 3: ")
    assert message in done.stderr
    assert done.stderr.endswith("; 2 messages before it were published\n")
    first = run("publish", "sqlite:shop.db", "--jsonl", input=bad, status=1)
    assert message in one_line(first)


def test_a_payload_over_the_limit(run, tmp_path):
    (tmp_path / "large").write_bytes(bytes((1 << 20) + 1))
    (tmp_path / "fits").write_bytes(bytes(1 << 20))
    done = run("publish", "journal:bus.db", "-t", "a", "-f", "large", status=1)
    assert one_line(done) == "onewrite: large: payload has more than 1048576 bytes, which is the limit"
    run("publish", "journal:bus.db", "-t", "a", "-f", "fits")
    done = run("publish", "journal:bus.db", "--jsonl", status=1, input=json.dumps({"topic": "a", "value": "x" * ((1 << 20) + 1)}))
    assert "payload has 1048577 bytes, the limit is 1048576" in one_line(done)


# --- what is wrong with a file ---------------------------------------------------------------------------


def newer(path, component):
    with sqlite3.connect(path) as db:
        db.execute("UPDATE onewrite_meta SET value = '99' WHERE name = ?", (f"schema.{component}",))


@pytest.mark.parametrize("command", ["status", "publish"])
def test_a_store_that_is_no_good(run, command, tmp_path):
    words = (*OUTBOX, "x") if command == "publish" else ()
    assert one_line(run(command, "sqlite:none.db", *words, status=4)) == "onewrite: none.db: no such file"
    write(tmp_path / "text", "this is no database, but long enough to have a header of a hundred bytes " * 3)
    assert one_line(run(command, "sqlite:text", *words, status=1)) == "onewrite: text: not an SQLite database"
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE t (a)").connection.commit()
    assert "onewrite init sqlite:" in one_line(run(command, "sqlite:empty.db", *words, status=4))
    run("init", "-q", "sqlite:shop.db")
    newer(tmp_path / "shop.db", "outbox")
    assert one_line(run(command, "sqlite:shop.db", *words, status=1)) == (
        "onewrite: shop.db: its outbox schema has version 99, this onewrite knows versions up to 1; use a newer onewrite")


def test_init_refuses_what_it_cannot_do(run, tmp_path):
    write(tmp_path / "text", "this is no database, but long enough to have a header of a hundred bytes " * 3)
    assert one_line(run("init", "sqlite:text", status=1)) == "onewrite: text: not an SQLite database"
    assert "no/such/folder.db: cannot be created" in one_line(run("init", "sqlite:no/such/folder.db", status=4))
    run("init", "-q", "sqlite:shop.db")
    newer(tmp_path / "shop.db", "outbox")
    assert "shop.db: its outbox schema has version 99" in one_line(run("init", "sqlite:shop.db", status=1))
    run("init", "-q", "journal:bus.db")
    newer(tmp_path / "bus.db", "journal")
    assert "bus.db: its journal schema has version 99" in one_line(run("init", "journal:bus.db", status=1))


def wrapped(tmp_path, onewrite, command):
    """The program behind a shell command such as a limit."""
    script = tmp_path / "wrapped"
    script.write_text(f'#!/bin/sh\n{command} "{onewrite}" "$@"\n')
    script.chmod(0o755)
    return script


def test_a_read_only_file(run, onewrite, tmp_path):
    program = onewrite
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may write to what is read-only, and there is no setpriv")
        program = wrapped(tmp_path, onewrite, "exec setpriv --inh-caps=-all --bounding-set=-all")
    config = write(tmp_path / "onewrite.yaml", GOOD)
    run("init", "-q", "sqlite:shop.db")
    (tmp_path / "shop.db").chmod(0o444)
    message = "shop.db: the file is read-only for this user"
    assert one_line(run("publish", "sqlite:shop.db", *OUTBOX, "x", status=77, program=program)) == f"onewrite: {message}"
    assert one_line(run("init", "sqlite:shop.db", status=77, program=program)) == f"onewrite: {message}"
    assert run("check", config, status=77, program=program).stderr == f"onewrite: store shop: {message}\n"
    run("status", "sqlite:shop.db", program=program)
    (tmp_path / "shop.db").chmod(0o000)
    assert "shop.db" in one_line(run("status", "sqlite:shop.db", status=77, program=program))


def test_a_full_store_loses_nothing(run, onewrite, tmp_path):
    """A limit of the size of files stands for the disk: the transaction fails as one, and says why."""
    run("init", "-q", "sqlite:shop.db")
    run("publish", "sqlite:shop.db", *OUTBOX, "--id", "first", "x")
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    program = wrapped(tmp_path, onewrite, "ulimit -f 512; exec")
    done = run("publish", "sqlite:shop.db", *OUTBOX, "-f", "large", status=1, program=program)
    assert one_line(done).startswith("onewrite: shop.db: ")
    with sqlite3.connect(tmp_path / "shop.db") as db:
        assert db.execute("SELECT id FROM onewrite_outbox").fetchall() == [("first",)]


# --- status, validate, check -----------------------------------------------------------------------------


def test_status_of_an_outbox(run, start, tmp_path):
    run("init", "-q", "sqlite:shop.db")
    (empty,) = json.loads(run("status", "sqlite:shop.db", "-o", "json").stdout)
    assert empty == {"kind": "outbox", "store": "sqlite:shop.db", "waiting": 0, "oldest_ms": None, "bytes": 0,
                     "dead_letters": 0, "relay_at_work": False, "schema_version": 1}
    run("publish", "sqlite:shop.db", "--jsonl", input=lines_of(12, time="2020-01-01T00:00:00.000Z"))
    status = json.loads(run("status", "sqlite:shop.db", "-o", "jsonl").stdout)
    assert (status["waiting"], status["bytes"]) == (12, 14)
    assert status["oldest_ms"] > 5 * 365 * 86400 * 1000
    table = run("status", "sqlite:shop.db").stdout.splitlines()
    assert table[0].split() == "STORE WAITING OLDEST BYTES DEAD LETTERS RELAY AT WORK SCHEMA VERSION".split()
    assert table[1].split()[:2] == ["sqlite:shop.db", "12"]


def test_status_sees_the_relay_at_work(run, start):
    from conftest import wait_for

    def is_at_work():
        return json.loads(run("status", "sqlite:shop.db", "-o", "jsonl").stdout)["relay_at_work"]

    run("init", "-q", "sqlite:shop.db")
    relay = start("relay", "sqlite:shop.db", "file:out.jsonl")
    wait_for(is_at_work, "a relay at work")
    relay.kill()
    relay.wait()
    assert not is_at_work()


def test_status_of_a_journal_and_a_file(run):
    for i in range(5):
        run("publish", "journal:bus.db?partitions=2", "-t", "orders", "-k", str(i), "-p", "x")
    rows = [json.loads(line) for line in run("status", "journal:bus.db", "-o", "jsonl").stdout.splitlines()]
    assert [row["kind"] for row in rows] == ["journal", "partition", "partition"]
    assert (rows[0]["topics"], rows[0]["records"]) == (1, 5)
    assert sum(row["next_offset"] - row["first_offset"] for row in rows[1:]) == 5
    assert one_line(run("status", "journal:none.db", status=4)) == "onewrite: none.db: no such file"
    run("publish", "file:out.jsonl", "-t", "orders", "-p", "x")
    assert json.loads(run("status", "file:out.jsonl", "-o", "jsonl").stdout)["bytes"] > 20
    assert one_line(run("status", "file:none.jsonl", status=4)) == "onewrite: none.jsonl: no such file"


def test_status_of_a_configuration(run, tmp_path):
    config = write(tmp_path / "onewrite.yaml", GOOD)
    run("init", "-q", "sqlite:shop.db")
    done = run("status", config, "-o", "jsonl", status=4)
    assert done.stderr == "onewrite: bus: bus.db: no such file\n"
    assert [json.loads(line)["store"] for line in done.stdout.splitlines()] == ["shop"]
    run("init", "-q", "journal:bus.db")
    kinds = [json.loads(line)["kind"] for line in run("status", config, "-o", "jsonl").stdout.splitlines()]
    assert kinds == ["outbox", "journal"]


def test_validate(run, tmp_path):
    config = write(tmp_path / "onewrite.yaml", GOOD)
    assert run("validate", config).stderr == "onewrite.yaml: good: 1 store, 1 broker, 1 relay\n"
    assert os.listdir(tmp_path) == ["onewrite.yaml"]
    broken = write(tmp_path / "broken.yaml", "relays: [")
    assert one_line(run("validate", broken, status=78)).startswith("broken.yaml:")
    unknown = write(tmp_path / "unknown.yaml", GOOD.replace("from:", "form:"))
    assert 'unknown.yaml:8:5: relays[0].form: unknown key; did you mean "from"?' in run("validate", unknown, status=78).stderr
    unset = write(tmp_path / "unset.yaml", GOOD.replace("sqlite:shop.db", '"${SHOP_URL:?set SHOP_URL}"'))
    line = one_line(run("validate", unset, status=78))
    assert line.startswith("unset.yaml:3:") and "set SHOP_URL" in line
    run("validate", unset, env={"SHOP_URL": "sqlite:shop.db"})
    assert "none.yaml" in one_line(run("validate", "none.yaml", status=4))


def test_check(run, tmp_path):
    config = write(tmp_path / "onewrite.yaml", GOOD)
    done = run("check", config, "-o", "jsonl", status=69)
    assert done.stderr == "onewrite: store shop: shop.db: no such file\n"
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["kind"], row["name"], row["ok"]) for row in rows] == [("store", "shop", False), ("broker", "bus", True)]
    assert os.listdir(tmp_path) == ["onewrite.yaml"], "a check makes nothing"
    run("init", "-q", "sqlite:shop.db")
    assert run("check", config).stderr == ""
    unreachable = write(tmp_path / "unreachable.yaml", GOOD.replace("journal:bus.db", "file:no/such/folder.jsonl"))
    assert "there is no folder no/such; make it" in run("check", unreachable, status=69).stderr
    run("check", write(tmp_path / "unknown.yaml", GOOD.replace("from:", "form:")), status=78)


def test_crash_points_are_listed(run):
    labels = run("crash-points").stdout.split()
    assert "relay.after-send" in labels and len(labels) == len(set(labels))


def test_config_reference_is_a_good_configuration(run, tmp_path):
    reference = write(tmp_path / "reference.yaml", run("config-reference").stdout)
    run("validate", reference)
