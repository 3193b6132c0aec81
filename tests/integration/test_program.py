# SPDX-License-Identifier: Apache-2.0
"""What people install: the hardened program, its manual, the library with its pkg-config file."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def output(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_release_is_hardened(onewrite_release):
    header = output("readelf", "-hW", onewrite_release)
    dynamic = output("readelf", "-dW", onewrite_release)
    segments = output("readelf", "-lW", onewrite_release)
    symbols = output("nm", "-D", onewrite_release)
    assert "DYN" in header and "PIE" in dynamic, "not position independent"
    assert "GNU_RELRO" in segments and ("BIND_NOW" in dynamic or "NOW" in dynamic), "not full RELRO"
    assert "__stack_chk_fail" in symbols, "no stack protector"
    assert "_chk@" in symbols.replace("__stack_chk_fail", ""), "no _FORTIFY_SOURCE"
    stack = next(line for line in segments.splitlines() if "GNU_STACK" in line)
    assert "RWE" not in stack, "executable stack"


def test_the_release_has_no_crash_points(onewrite_release, tmp_path):
    """The variable does nothing there, and the code is not in it."""
    symbols = subprocess.run(["nm", "-C", onewrite_release], capture_output=True, text=True).stdout
    assert "ow_crash_pass" not in symbols
    output(onewrite_release, "init", "sqlite:shop.db", cwd=tmp_path)
    output(onewrite_release, "publish", "journal:bus.db", "--topic", "t", "--key", "k", "--payload", "v", cwd=tmp_path,
           env={**os.environ, "ONEWRITE_CRASH": "journal.before-commit:1"}, stdin=subprocess.DEVNULL)


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
def test_the_manual_page_is_well_formed(onewrite_release, tmp_path):
    page = tmp_path / "onewrite.1"
    page.write_text(output(onewrite_release, "man"))
    done = subprocess.run(["man", "--warnings=w", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page], capture_output=True, text=True,
                          env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_the_manual_page_lies_beside_the_program(onewrite_release):
    assert pathlib.Path(onewrite_release).with_name("onewrite.1").read_text() == output(onewrite_release, "man")


@pytest.fixture(scope="module")
def installed(onewrite_release, tmp_path_factory):
    to = tmp_path_factory.mktemp("installed")
    output("meson", "install", "-C", pathlib.Path(onewrite_release).parent, "--no-rebuild", "--quiet",
           env={**os.environ, "DESTDIR": str(to)})
    return to


def installed_file(installed, name):
    found = list(installed.rglob(name))
    assert found, f"{name} was not installed"
    return found[0]


def test_program_and_manual_are_installed(installed):
    assert "onewrite" in output(installed_file(installed, "onewrite"), "version")
    installed_file(installed, "onewrite.1")


def test_an_application_builds_against_the_library(installed, onewrite_release, tmp_path):
    """pkg-config says enough to compile, link and run the example, and what it said comes out of the relay."""
    config = installed_file(installed, "onewrite.pc")
    prefix = installed / "usr/local"
    flags = output("pkg-config", f"--define-variable=prefix={prefix}", "--cflags", "--libs", "onewrite", "sqlite3",
                   env={**os.environ, "PKG_CONFIG_PATH": str(config.parent)}).split()
    program = tmp_path / "place_order"
    output("gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", ROOT / "examples/c/place_order.c", "-o", program, *flags)
    libraries = ":".join({str(path.parent) for path in installed.rglob("libonewrite.so*")})
    output(onewrite_release, "init", "sqlite:shop.db", cwd=tmp_path)
    output(program, "shop.db", "42", "990", cwd=tmp_path, env={**os.environ, "LD_LIBRARY_PATH": libraries})
    line = output(onewrite_release, "relay", "--until-end", "sqlite:shop.db", "stdout:", cwd=tmp_path)
    record = json.loads(line)
    assert record["topic"] == "outbox.event.order" and record["key"] == "42"
    assert json.loads(record["value"]) == {"total": 990} and record["headers"]["trace"] == "a1b2"


@pytest.mark.parametrize("language", [["gcc", "-std=c17", "-xc"], ["g++", "-std=c++17", "-xc++"]])
def test_each_header_stands_alone(installed, language, tmp_path):
    if not shutil.which(language[0]):
        pytest.skip(f"{language[0]} is not installed")
    headers = sorted(path.name for path in installed_file(installed, "consumer.h").parent.glob("*.h"))
    assert set(headers) == {path.name for path in (ROOT / "include/onewrite").glob("*.h")}
    for name in headers:
        (tmp_path / "alone").write_text(f"#include <onewrite/{name}>\n#include <onewrite/{name}>\nint main(void) {{ return 0; }}\n")
        output(*language, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
               "-I", installed_file(installed, "consumer.h").parents[1], tmp_path / "alone")


def test_a_consumer_builds_against_its_library(installed, onewrite_release, tmp_path):
    """pkg-config says enough; the program finds all that it calls in the one library, which shows the public functions alone."""
    config = installed_file(installed, "onewrite-consumer.pc")
    flags = output("pkg-config", f"--define-variable=prefix={installed / 'usr/local'}", "--cflags", "--libs", "onewrite-consumer",
                   env={**os.environ, "PKG_CONFIG_PATH": str(config.parent)}).split()
    flags += output("pkg-config", "--cflags", "--libs", "libpq").split()
    program = tmp_path / "consumer"
    output("gcc", "-std=c17", "-Wall", "-Wextra", "-Werror", ROOT / "examples/c/consumer.c", "-o", program, *flags)
    library = installed_file(installed, "libonewrite-consumer.so")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
    (tmp_path / "c.yaml").write_text("version: 1\nconsumers: []\n")
    done = subprocess.run([program, "c.yaml"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and done.stderr.startswith("consumer: c.yaml:"), done.stderr
    shown = {line.split()[-1].split("@")[0] for line in output("nm", "-D", "--defined-only", library).splitlines()} - {"ONEWRITE_0"}
    said = set()
    for header in (ROOT / "include/onewrite").glob("*.h"):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(encoding="utf-8"), flags=re.DOTALL)
        said |= set(re.findall(r"^(?!typedef)[a-z][\w *]*?\b(ow_\w+)\(", text, re.MULTILINE))
    assert shown == said, shown ^ said
    needed = output("readelf", "-dW", installed_file(installed, "libonewrite.so"))
    assert "sqlite3" in needed and not re.search("yaml|rdkafka|curl|libpq|onewrite-consumer", needed.split("SONAME")[0])


def test_sql_of_the_documents_works(run, tmp_path):
    """The statements that README.md and docs/outbox-sqlite.md show, run as they stand."""
    run("init", "sqlite:shop.db")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = re.search(r'^sqlite3 shop\.db ".*?"$', readme, re.DOTALL | re.MULTILINE).group(0)
    output("bash", "-euc", command, cwd=tmp_path)
    page = (ROOT / "docs/outbox-sqlite.md").read_text(encoding="utf-8")
    statements = re.search(r"```sql\n(BEGIN IMMEDIATE.*?)```", page, re.DOTALL).group(1)
    output("sqlite3", "-bail", "shop.db", "ALTER TABLE orders ADD COLUMN customer TEXT; DELETE FROM orders; " + statements,
           cwd=tmp_path)
    lines = run("relay", "--until-end", "sqlite:shop.db", "stdout:").stdout.splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["42", "42"]


def test_the_reference_is_what_the_program_says(tmp_path):
    """docs/reference is written by ./dev docs; whoever changes a table runs it."""
    output(ROOT / "dev", "docs", tmp_path)
    for name in ("commands.md", "onewrite.yaml"):
        assert (tmp_path / name).read_text() == (ROOT / "docs/reference" / name).read_text(), f"{name}: run ./dev docs"
    assert "## onewrite relay" in (tmp_path / "commands.md").read_text()
