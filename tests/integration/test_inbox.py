# SPDX-License-Identifier: Apache-2.0
"""What every inbox promises, over PostgreSQL; over SQLite the program runs with the tests in C."""

import subprocess

from postgres import pg_database, pg_server  # noqa: F401 (fixtures)


def test_contract(onewrite, pg_database):
    program = onewrite.parent / "tests" / "contract_inbox"
    assert program.is_file(), f"{program} is missing; run ./dev test"
    done = subprocess.run([program, pg_database.url], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": kept") == 7


def test_late_transactions(onewrite, pg_database):
    """BEGIN and COMMIT that go along with other statements, which fail, or on connections that break."""
    program = onewrite.parent / "tests" / "contract_pipeline"
    assert program.is_file(), f"{program} is missing; run ./dev test"
    done = subprocess.run([program, pg_database.url], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": kept") == 7
