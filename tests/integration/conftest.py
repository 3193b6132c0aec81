# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: the programs, and waiting for a condition instead of sleeping.

`./dev test` says by environment where the programs are: ONEWRITE (debug, with crash points and sanitizers),
ONEWRITE_RELEASE (what people run), ONEWRITE_TSAN (empty where the kernel cannot run it). LONG is set by --long.
"""

import os
import pathlib
import subprocess
import time

import pytest
from kafka import kafka, topic  # noqa: F401 (fixtures for whoever wants one)

BUILD = pathlib.Path(__file__).resolve().parents[2] / "build"


def program(variable, folder):
    path = pathlib.Path(os.environ.get(variable, BUILD / folder / "onewrite"))
    assert path.is_file(), f"{path} is missing; run ./dev test, or set {variable}"
    return path


def pytest_configure(config):
    config.addinivalue_line("markers", "server(name=value…): the settings of the PostgreSQL server that is for this test alone")


@pytest.fixture(scope="session")
def onewrite():
    """The debug program: AddressSanitizer, UndefinedBehaviorSanitizer, crash points."""
    return program("ONEWRITE", "debug")


@pytest.fixture(scope="session")
def onewrite_release():
    return program("ONEWRITE_RELEASE", "release")


@pytest.fixture(scope="session")
def onewrite_tsan():
    if os.environ.get("ONEWRITE_TSAN") == "":
        pytest.skip("ThreadSanitizer does not run on this kernel")
    return program("ONEWRITE_TSAN", "tsan")


@pytest.fixture(scope="session")
def is_long():
    """Whether all cycles are to be run, not a selection."""
    return os.environ.get("LONG") == "1"


@pytest.fixture
def run(onewrite, tmp_path):
    """run("init", "sqlite:shop.db", status=0) in a temporary directory; gives the finished process."""

    def call(*arguments, status=0, input=None, env=None, timeout=60, program=onewrite):
        done = subprocess.run([program, *map(str, arguments)], cwd=tmp_path, input=input, capture_output=True, text=True,
                              timeout=timeout, env={**os.environ, **(env or {})})
        assert status is None or done.returncode == status, f"{arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return call


@pytest.fixture
def start(onewrite, tmp_path):
    """start("relay", …): a process in the background, killed at the end of the test if it still lives."""
    running = []

    def call(*arguments, env=None, program=onewrite, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path, **options}
        process = subprocess.Popen([program, *map(str, arguments)], env={**os.environ, **(env or {})}, **options)
        running.append(process)
        return process

    yield call
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition, what, seconds=20.0):
    """Asks until it is true and gives what it said; never waits longer than needed, never less than `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        time.sleep(0.01)
    return answer
