# SPDX-License-Identifier: Apache-2.0
"""What people install: the hardened program, its manual, the library with its pkg-config file."""

import os
import pathlib
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
    output(onewrite_release, "publish", "journal:bus.db", "--topic", "t", "--key", "k", "v", cwd=tmp_path,
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


def test_an_application_builds_against_the_library(installed, tmp_path):
    """pkg-config says enough to compile, link and run a program that only includes the installed header."""
    config = installed_file(installed, "onewrite.pc")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(config.parent), "PKG_CONFIG_SYSROOT_DIR": str(installed)}
    source = tmp_path / "application.c"
    source.write_text("#include <onewrite/error.h>\n#include <stdio.h>\n"
                      "int main(void) { return puts(ow_error_name(OW_EFULL)) < 0; }\n")
    flags = output("pkg-config", "--cflags", "--libs", "onewrite", env=environment).split()
    flags = [flag.replace(f"{installed}{installed}", str(installed)) for flag in flags]
    # A sysroot is put before the paths of onewrite.pc, but sqlite3's are those of this machine.
    flags = [flag for flag in flags if not flag.startswith(f"-I{installed}/usr/include") or "onewrite" in flag]
    program = tmp_path / "application"
    output("gcc", "-Wall", "-Werror", source, "-o", program, *flags)
    libraries = ":".join({str(path.parent) for path in installed.rglob("libonewrite.so*")})
    assert output(program, env={**os.environ, "LD_LIBRARY_PATH": libraries}) == "no space left\n"
