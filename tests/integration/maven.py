# SPDX-License-Identifier: Apache-2.0
"""What other projects publish and only the tests need: real servers, fetched by Maven, once, into build/."""

import contextlib
import fcntl
import re
import shutil
import subprocess

import pytest


# By its full name: a short one is looked up by Maven first, and what it says of a network that is not there is no help.
DEPENDENCY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
PATIENCE_S = 300
unreachable = []  # once it has not come through, no other test waits for it again


def reason_of(output):
    """What Maven says when it fails, in one line."""
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", output).split("\n") if "[ERROR]" in line]
    causes = re.split(r": (?=Could not transfer|Failed to|Could not find)", lines[0]) if lines else ["no reason given"]
    return causes[-1].replace("[ERROR]", "").split(" -> [Help")[0].strip()[:300]


def maven(what, goal, *arguments):
    """A goal of the plugin. Skips the test where Maven is missing or reaches nothing."""
    if not shutil.which("mvn"):
        pytest.skip(f"no Maven to fetch {what} with")
    if not unreachable:
        try:
            done = subprocess.run(["mvn", "-q", "-B", f"{DEPENDENCY}:{goal}", *map(str, arguments)], capture_output=True, text=True,
                                  timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            unreachable.append(f"it had not come after {PATIENCE_S} s")
        else:
            if done.returncode == 0:
                return
            reason = reason_of(done.stdout + done.stderr)
            if "Could not find artifact" in reason:  # the others may be there
                pytest.skip(f"Maven could not fetch {what}: {reason}")
            unreachable.append(reason)
    pytest.skip(f"Maven could not fetch {what}: {unreachable[0]}")


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
