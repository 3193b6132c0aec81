# SPDX-License-Identifier: Apache-2.0
"""The rules of the house, checked on this tree, and each check shown to fail on a bad sample."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import check_includes

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECK = pathlib.Path(__file__).with_name("check_includes.py")

LINES_OF_A_FILE_MAX = 700
LINES_OF_THE_README_MAX = 150
SPDX = "SPDX-License-Identifier: Apache-2.0"
NO_SPDX = {"LICENSE", ".gitignore", ".clang-format"}
SKIPPED_FOLDERS = {".git", "build", "__pycache__", ".pytest_cache", "corpus"}


def files(root):
    """Every file of the tree that a person wrote: what git would know, without asking git."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS)
        for name in sorted(names):
            yield pathlib.Path(folder, name)


def without_spdx(root):
    """Sources whose first two lines (a #! line may come first) lack the licence."""
    for path in files(root):
        is_source = path.suffix in (".c", ".h", ".py", ".sh", ".sql", ".build", ".yml", ".yaml", ".in")
        is_script = path.suffix == "" and path.open("rb").read(2) == b"#!"
        if path.name in NO_SPDX or not (is_source or is_script) or "fixtures" in path.parts:
            continue
        head = path.read_text(encoding="utf-8", errors="replace").split("\n", 3)[:2]
        if not any(SPDX in line for line in head):
            yield f"{path.relative_to(root)}:1: no {SPDX}"


def not_ascii(root):
    """SQL of ours that a database cannot take which is not in UTF-8."""
    for path in files(root / "sql"):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n") if path.suffix == ".sql" else [], 1):
            if not line.isascii():
                yield f"{path.relative_to(root)}:{number}: not ASCII"


def too_long(root):
    for path in files(root / "src"):
        if path.suffix in (".c", ".h"):
            count = path.read_text(encoding="utf-8").count("\n")
            if count > LINES_OF_A_FILE_MAX:
                yield f"{path.relative_to(root)}:{count}: more than {LINES_OF_A_FILE_MAX} lines"


def crash_points_unused(root):
    """Crash points of the table in base/crash.h that no code passes."""
    table = (root / "src/base/crash.h").read_text(encoding="utf-8")
    names = re.findall(r"^\s*X\((\w+), \"", table, re.MULTILINE)
    used = set()
    for path in files(root / "src"):
        if path.suffix == ".c":
            text = path.read_text(encoding="utf-8")
            used.update(re.findall(r"OW_CRASH_POINT\((\w+)\)|\bOW_CRASH_(\w+)", text))
    used = {name for pair in used for name in pair}
    assert names, "no crash point was found in base/crash.h: has the table another form now?"
    return [f"src/base/crash.h: crash point {name} is passed nowhere in src/" for name in names if name not in used]


def run_check(root):
    done = subprocess.run([sys.executable, CHECK, root], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


def sample(root, **contents):
    """A tree with these files; `__` in a name is a slash, the last `_` a dot."""
    for name, text in contents.items():
        folder, _, suffix = name.replace("__", "/").rpartition("_")
        path = root / f"{folder}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_includes_of_this_tree():
    status, out = run_check(ROOT)
    assert status == 0, f"forbidden includes:\n{out}"


@pytest.mark.parametrize(
    "where, line, expected",
    [
        ("src/core/bad.c", '#include "store/store.h"', "core may not include"),
        ("src/core/bad.c", '#include "base/log.h"', "core is pure"),
        ("src/core/bad.c", "#include <time.h>", "core is pure"),
        ("src/base/bad.h", '#include "core/message.h"', "base may not include"),
        ("src/source/bad.c", '#include "broker/broker.h"', "source may not include"),
        ("src/broker/bad.c", '  #  include "source/source.h"', "broker may not include"),
        ("src/broker/journal/bad.c", '#include "store/sqlite.h"', "broker may not include"),
        ("src/broker/bad.c", "#include <sqlite3.h>", "may not include <sqlite3.h>"),
        ("src/client/bad.c", '#include "store/store.h"', "client may not include"),
        ("src/pattern/bad.c", '#include "cmd/command.h"', "pattern may not include"),
        ("src/store/bad.c", '#include "store.h"', "is not written from src/"),
        ("src/store/bad.c", '#include "store/none.h"', "is no header under src/"),
        ("src/store/bad.c", "#include <zstd.h>", "is in no list"),
        ("src/store/bad.c", "#include OTHER", "cannot be checked"),
        ("src/config/bad.c", "#include <onewrite/onewrite.h>", "is for applications"),
        ("src/bad.c", "#include <stdio.h>", "stands in no layer"),
        ("src/odd/bad.c", "#include <stdio.h>", "stands in no layer"),
        ("include/onewrite/bad.h", "#include <unistd.h>", "an installed header may not include"),
        ("include/onewrite/bad.h", '#include "base/bytes.h"', "with quotes"),
    ],
)
def test_a_bad_include_is_named(tmp_path, where, line, expected):
    for name in ("base/log.h", "base/bytes.h", "core/message.h", "store/store.h", "store/sqlite.h", "broker/broker.h",
                 "source/source.h", "cmd/command.h"):
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("/* empty */\n")
    (tmp_path / "include/onewrite").mkdir(parents=True)
    (tmp_path / "include/onewrite/onewrite.h").write_text("/* empty */\n")
    bad = tmp_path / where
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_text(f"/* a sample */\n\n{line}\n")
    status, out = run_check(tmp_path)
    number = 1 if "no layer" in expected else 3
    assert status == 1
    assert out.startswith(f"{where}:{number}: ") and expected in out and out.count("\n") == 1, out


def test_an_empty_tree_does_not_pass(tmp_path):
    status, out = run_check(tmp_path)
    assert status == 1 and "no C file" in out


def test_every_layer_is_in_the_rules():
    on_disk = {p.name for p in (ROOT / "src").iterdir() if p.is_dir()}
    assert on_disk <= set(check_includes.LAYERS)


def test_every_source_has_its_licence():
    assert list(without_spdx(ROOT)) == []


def test_a_missing_licence_is_named(tmp_path):
    sample(tmp_path, src__a_c="int a;\n", src__b_c=f"/* {SPDX} */\n", c_py=f"#!/usr/bin/env python3\n# {SPDX}\n")
    assert [line.split(":")[0] for line in without_spdx(tmp_path)] == ["src/a.c"]


def test_sql_is_ascii():
    assert list(not_ascii(ROOT)) == []


def test_sql_that_is_not_ascii_is_named(tmp_path):
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql/a.sql").write_text("-- a\n-- \u2026\n", encoding="utf-8")
    assert list(not_ascii(tmp_path)) == ["sql/a.sql:2: not ASCII"]


def test_no_source_is_too_long():
    assert list(too_long(ROOT)) == []


def test_a_source_that_is_too_long_is_named(tmp_path):
    sample(tmp_path, src__a_c="\n" * (LINES_OF_A_FILE_MAX + 1), src__b_c="\n" * LINES_OF_A_FILE_MAX)
    assert [line.split(":")[0] for line in too_long(tmp_path)] == ["src/a.c"]


def test_every_crash_point_is_passed():
    assert crash_points_unused(ROOT) == []


def test_an_unused_crash_point_is_named(tmp_path):
    table = '#define OW_CRASH_POINTS(X) \\\n    X(ONE, "a.one", "") \\\n    X(TWO, "a.two", "")\n'
    sample(tmp_path, src__base__crash_h=table, src__core__a_c="OW_CRASH_POINT(ONE);\n")
    assert [line.split()[3] for line in crash_points_unused(tmp_path)] == ["TWO"]


def test_the_readme_is_short():
    count = (ROOT / "README.md").read_text(encoding="utf-8").count("\n")
    assert count <= LINES_OF_THE_README_MAX


def test_links_between_documents_lead_somewhere():
    broken = []
    for path in files(ROOT):
        if path.suffix != ".md":
            continue
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def test_every_c_source_is_built():
    """A source that stands in no meson.build is compiled by nobody and rots."""
    lists = "\n".join(p.read_text(encoding="utf-8") for p in files(ROOT) if p.name == "meson.build")
    for path in files(ROOT / "src"):
        if path.suffix == ".c":
            assert path.relative_to(ROOT / "src").as_posix() in lists, f"{path.relative_to(ROOT)} is in no meson.build"


def test_every_test_in_c_is_run():
    lists = (ROOT / "tests/meson.build").read_text(encoding="utf-8")
    for pattern in ("unit/test_*.c", "fuzz/fuzz_*.c"):
        for path in (ROOT / "tests").glob(pattern):
            name = path.stem.split("_", 1)[1]
            assert f"'{name}'" in lists, f"{path.relative_to(ROOT)} is not in tests/meson.build"


@pytest.mark.parametrize(
    "arguments, status, expected",
    [
        (["help"], 0, "./dev test"),
        (["--help"], 0, "./dev test"),
        ([], 2, "no command was given"),
        (["nonsense"], 2, 'no command "nonsense"'),
        (["build", "nonsense"], 2, "build takes no arguments"),
        (["fuzz", "soon"], 2, "seconds"),
        (["bench", "nonsense"], 4, 'no benchmark "nonsense"'),
        (["setup", "nonsense"], 2, 'setup knows no "nonsense"'),
    ],
)
def test_dev_says_what_is_wrong(arguments, status, expected, tmp_path):
    done = subprocess.run([ROOT / "dev", *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert expected in (done.stdout if status == 0 else done.stderr)


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="no dpkg here")
def test_dev_prints_the_command_where_it_may_not_install(tmp_path):
    """With a package missing, no root and no sudo: the exact command and 77, and nothing is installed."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in {
        "dpkg-query": "exit 1",
        "id": "echo 1000",
        "sudo": "exit 1",
        "apt-get": "touch \"$0.was-called\"",
        "apt-cache": "echo '  Depends: clang-99'",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    done = subprocess.run([ROOT / "dev", "setup", "build"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}, stdin=subprocess.DEVNULL)
    assert done.returncode == 77, done.stderr
    assert "apt-get install" in done.stderr and "libyaml-dev" in done.stderr
    assert not (tools / "apt-get.was-called").exists()


def test_a_suite_that_counts_nothing_is_a_failure(tmp_path):
    """tests/summary.py: no report, an empty one, or a bad status without a failure: failed, each."""
    junit = tmp_path / "good.xml"
    junit.write_text('<testsuites><testsuite><testcase name="a"/><testcase name="b"><skipped/></testcase>'
                     "</testsuite></testsuites>")
    empty = tmp_path / "empty.xml"
    empty.write_text("<testsuites><testsuite/></testsuites>")
    broken = tmp_path / "broken.xml"
    broken.write_text("<testsuites><tests")

    def last_line(*suites):
        done = subprocess.run([sys.executable, ROOT / "tests/summary.py", *suites], capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines()[-1]

    assert last_line(f"a:0:{junit}") == (0, "1 passed, 0 failed, 1 skipped")
    assert last_line(f"a:1:{junit}") == (1, "1 passed, 1 failed, 1 skipped")
    assert last_line(f"a:0:{empty}") == (1, "0 passed, 1 failed")
    assert last_line(f"a:0:{broken}") == (1, "0 passed, 1 failed")
    assert last_line(f"a:0:{tmp_path}/none.xml") == (1, "0 passed, 1 failed")
    assert last_line(f"a:0:{junit}", f"b:0:{junit}") == (0, "2 passed, 0 failed, 2 skipped")
