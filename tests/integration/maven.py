# SPDX-License-Identifier: Apache-2.0
"""What other projects publish and only the tests need: real servers, fetched by Maven, once, into build/."""

import contextlib
import fcntl
import re
import shutil
import subprocess

import pytest


def maven(what, *arguments):
    """Skips the test where Maven is missing or reaches nothing."""
    if not shutil.which("mvn"):
        pytest.skip(f"no Maven to fetch {what} with")
    done = subprocess.run(["mvn", "-q", "-B", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).split("\n")
        pytest.skip(f"Maven could not fetch {what}: " + next((line for line in lines if "[ERROR]" in line), "no reason given")[:300])


@contextlib.contextmanager
def fetching(folder):
    """Yields whether its content is still to be fetched. Several programs that test at the same time fetch it once."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        is_missing = not (folder / "complete").exists()
        yield is_missing
        if is_missing:
            (folder / "complete").touch()
