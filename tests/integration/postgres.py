# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL server for tests: a cluster in a temporary directory, on a free port and a Unix socket.

    from postgres import pg_server, pg_database  # fixtures

pg_server: one for the session, with wal_level = logical. pg_database: an empty database of it, dropped afterwards.

The server is the machine's own. `new_server(version=10)` starts one of another version, whose programs come by Maven, once, into
build/postgres-VERSION.
"""

import contextlib
import io
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import tarfile
import tempfile
import threading
import zipfile

import pytest
from conftest import BUILD, wait_for
from maven import fetching, maven
from ports import free_port

try:
    import psycopg2
except ImportError:
    psycopg2 = None


def programs():
    """The folder of initdb and pg_ctl, of the newest version there is; None: not installed."""
    folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if folders:
        return folders[-1]
    found = shutil.which("initdb")
    return pathlib.Path(found).parent if found else None


# Published as io.zonky.test.postgres:embedded-postgres-binaries-linux-ARCH; with contrib, without psql and pg_dump.
RELEASES = {10: "10.23.0", 11: "11.22.1", 12: "12.22.0", 13: "13.22.0", 14: "14.19.0", 15: "15.14.0", 16: "16.10.0", 17: "17.6.0",
            18: "18.0.0"}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64v8"}


def programs_of(version):
    """The folder of initdb and pg_ctl of this major version; skips the test where it cannot be had."""
    installed = pathlib.Path(f"/usr/lib/postgresql/{version}/bin")
    if installed.is_dir():
        return installed
    folder = BUILD / f"postgres-{RELEASES[version]}"
    with fetching(folder) as is_missing:
        if is_missing:
            machine = ARCHITECTURES.get(os.uname().machine) or pytest.skip(f"no PostgreSQL {version} for {os.uname().machine}")
            artifact = f"embedded-postgres-binaries-linux-{machine}"
            maven(f"PostgreSQL {version}", "copy", f"-Dartifact=io.zonky.test.postgres:{artifact}:{RELEASES[version]}",
                  f"-DoutputDirectory={folder}", "-Dmdep.useBaseVersion=true")
            with zipfile.ZipFile(folder / f"{artifact}-{RELEASES[version]}.jar") as jar:
                packed = next(name for name in jar.namelist() if name.endswith(".txz"))
                with tarfile.open(fileobj=io.BytesIO(jar.read(packed)), mode="r:xz") as archive:
                    archive.extractall(folder)
    return folder / "bin"


class Server:
    """The superuser is called postgres and needs no password on this machine."""

    def __init__(self, bin_folder, **settings):
        self.bin = bin_folder
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="onewrite-pg-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.as_user = []
        if os.getuid() == 0:  # the server refuses to run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder,
                    "wal_level": "logical", "max_wal_senders": 20, "max_replication_slots": 20, "max_connections": 100,
                    "max_prepared_transactions": 10, "shared_buffers": "64MB", **settings}
        self.version = int((self.data / "PG_VERSION").read_text())
        lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(lines)

    def run(self, program, *arguments, check=True):
        done = subprocess.run([*self.as_user, self.bin / program, *map(str, arguments)], cwd="/", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        assert not check or done.returncode == 0, f"{program}: {done.stdout}"
        return done

    def start(self):
        self.run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", "60", "start")
        return self

    def stop(self, mode="immediate"):
        self.run("pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "60", "stop", check=False)

    def restart(self, mode="immediate"):
        """immediate: as a crash, without a checkpoint."""
        self.stop(mode)
        self.start()

    def url(self, database, user="postgres", **parameters):
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgres://{user}@127.0.0.1:{self.port}/{database}{'?' + query if query else ''}"

    def connect(self, database="postgres", user="postgres"):
        """Autocommit: a transaction is what begins with BEGIN."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=user, dbname=database, connect_timeout=10)
        connection.autocommit = True
        return connection

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def new_server(version=None, **settings):
    """Skips the test where PostgreSQL or psycopg2 is not installed. The caller removes it. version: None: the machine's."""
    folder = programs_of(version) if version else programs()
    if not folder:
        pytest.skip("PostgreSQL is not installed (package postgresql)")
    if not psycopg2:
        pytest.skip("psycopg2 is not installed (package python3-psycopg2)")
    server = Server(folder, **settings)
    try:
        return server.start()
    except BaseException:
        server.remove()
        raise


@pytest.fixture(scope="session")
def pg_server():
    server = new_server()
    yield server
    server.remove()


class Database:
    def __init__(self, server, name):
        self.server, self.name = server, name
        self.url = server.url(name)
        self.db = server.connect(name)

    def connect(self, user="postgres"):
        return self.server.connect(self.name, user)

    def query(self, sql, *values):
        """The rows, or None where there are none to have."""
        return query(self.db, sql, *values)

    def one(self, sql, *values):
        return self.query(sql, *values)[0][0]

    def reconnect(self):
        with contextlib.suppress(Exception):
            self.db.close()
        self.db = self.server.connect(self.name)


def query(connection, sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else None


_numbers = iter(range(1, 1 << 30))


def is_dropped(admin, name):
    """A slot that is in use is given up a moment after its reader was ended."""
    try:
        for slot, in query(admin, "SELECT slot_name FROM pg_replication_slots WHERE database = %s", name):
            query(admin, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", slot)
            query(admin, "SELECT pg_drop_replication_slot(%s)", slot)
        query(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
        query(admin, f"DROP DATABASE {name}")
    except psycopg2.Error:
        return False
    return True


@pytest.fixture
def pg_database(pg_server):
    name = f"shop{next(_numbers)}"
    admin = pg_server.connect()
    query(admin, f"CREATE DATABASE {name}")
    database = Database(pg_server, name)
    yield database
    database.db.close()
    admin = pg_server.connect()
    wait_for(lambda: is_dropped(admin, name), f"database {name} to be given up")
    admin.close()


INSERT = ("INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload) "
          "VALUES (%s, 'order', %s, 'OrderPlaced', %s)")
PUBLISH = "SELECT onewrite.publish('order', %s, 'OrderPlaced', %s, id => %s)"


class PgShop:
    """Orders of a few customers, as oracle.Shop: its table is the truth. Writers serialise on the customer's row."""

    def __init__(self, database, customers=5, writer="w", publish=False):
        self.database, self.customers, self.writer, self.publish = database, customers, writer, publish
        self.count = 0
        self.db = database.connect()
        query(self.db, "CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY, customer text, number int)")
        query(self.db, "CREATE TABLE IF NOT EXISTS customers (name text PRIMARY KEY, orders int NOT NULL DEFAULT 0)")
        for i in range(customers):
            query(self.db, "INSERT INTO customers VALUES (%s) ON CONFLICT DO NOTHING", f"customer-{i}")

    def reconnect(self):
        with contextlib.suppress(Exception):
            self.db.close()
        self.db = self.database.connect()

    def place_one(self, connection, customer, ghost=False):
        self.count += 1
        identity = f"{'ghost' if ghost else 'order'}-{self.writer}-{self.count}"
        number = query(connection, "UPDATE customers SET orders = orders + 1 WHERE name = %s RETURNING orders", customer)[0][0]
        query(connection, "INSERT INTO orders VALUES (%s, %s, %s)", identity, customer, number)
        payload = json.dumps({"number": number})
        if self.publish:
            query(connection, PUBLISH, customer, payload, identity)
        else:
            query(connection, INSERT, identity, customer, payload)

    def place(self, orders=1, rolled_back=False):
        query(self.db, "BEGIN")
        # In one order over all writers: no deadlocks.
        for customer in sorted(f"customer-{(self.count + i) % self.customers}" for i in range(orders)):
            self.place_one(self.db, customer, rolled_back)
        query(self.db, "ROLLBACK" if rolled_back else "COMMIT")

    def truth(self):
        rows = query(self.db, "SELECT id, customer, number FROM orders")
        return {identity: (customer, number) for identity, customer, number in rows}

    def waiting(self):
        return query(self.db, "SELECT count(*) FROM onewrite.outbox WHERE accepted_at IS NULL")[0][0]

    def dead_letters(self):
        return query(self.db, "SELECT id, reason FROM onewrite.dead_letter ORDER BY number")


class PgWriter(threading.Thread):
    """Places orders until it is stopped, some of them rolled back; an interrupted connection is made anew, and an order
    whose commit was not answered is in the table or it is not."""

    def __init__(self, database, dice, pause_s=0.002, **options):
        super().__init__(daemon=True)
        self.shop, self.dice, self.pause_s, self.stopped = PgShop(database, **options), dice, pause_s, threading.Event()
        self.start()

    def run(self):
        while not self.stopped.is_set():
            try:
                self.shop.place(orders=self.dice.randint(1, 4), rolled_back=self.dice.random() < 0.1)
            except psycopg2.Error:
                with contextlib.suppress(psycopg2.Error):
                    self.stopped.wait(0.05)
                    self.shop.reconnect()
            self.stopped.wait(self.dice.random() * self.pause_s)

    def stop(self):
        self.stopped.set()
        self.join()
