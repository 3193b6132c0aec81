# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL -> Kafka: onewrite beside bare programs on the same libraries, and beside Debezium Server.

One PostgreSQL and one Kafka, started here in temporary directories; in every round all contenders in random order. Those
that read the log read the same log, each through a copy of one slot; those that poll get the same rows.
"""
import contextlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "integration")]

import contenders as who  # noqa: E402
from measure import Process, cpu_seconds, middle, percentile, resident_mib, spread, table  # noqa: E402

PARTITIONS = 3
RATE = 1000  # transactions a second, for the latency
PAYLOAD = """'{"order":' || i || ',"customer":' || i % 10000 || ',"cents":' || i * 7 % 100000 || ',"currency":"EUR","items":[' ||
    '{"sku":"A-' || i % 997 || '","quantity":' || 1 + i % 5 || ',"cents":' || i * 7 % 5000 || '},{"sku":"B-' || i % 89 ||
    '","quantity":2,"cents":1999}],"note":"please leave the parcel at the back door, thank you","channel":"web",' ||
    '"address":{"street":"Long Street ' || i % 300 || '","city":"Old Town"}}'"""
TABLE = f"""INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload)
    SELECT lpad(to_hex(i), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(i), 12, '0'), 'order', 'customer-' || i % 10000,
           'OrderPlaced', {PAYLOAD} FROM generate_series(%s, %s) AS i"""
MESSAGE = f"""PERFORM onewrite.publish('order', 'customer-' || i % 10000, 'OrderPlaced', {PAYLOAD},
    id => lpad(to_hex(i), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(i), 12, '0')) FROM generate_series(%s, %s) AS i"""
# The time of the statement travels in the payload; id is made by the database.
PACED = {
    "table": "INSERT INTO onewrite.outbox (aggregatetype, aggregateid, type, payload) VALUES ('order', 'customer-' || {n}, "
             "'OrderPlaced', extract(epoch from clock_timestamp())::numeric(20,6) || ' ' || repeat('x', 280));\n",
    "message": "SELECT onewrite.publish('order', 'customer-' || {n}, 'OrderPlaced', "
               "extract(epoch from clock_timestamp())::numeric(20,6) || ' ' || repeat('x', 280));\n",
}


class Bench:
    def __init__(self, options, world, admin):
        self.options, self.world, self.admin = options, world, admin
        self.numbers = iter(range(1, 1 << 30))
        self.watcher = self.new_consumer()
        self.results = {}

    def new_consumer(self, **more):
        from confluent_kafka import Consumer
        return Consumer({"bootstrap.servers": self.world.kafka.bootstrap, "group.id": "bench", "log_level": 0,
                         "enable.auto.commit": False, **more})

    # --- data ---------------------------------------------------------------------------------------------

    def sql(self, database, text, *values):
        from postgres import query
        connection = self.world.server.connect(database)
        with contextlib.closing(connection):
            return query(connection, text, *values)

    def make_database(self, name, outbox):
        self.sql("postgres", f"CREATE DATABASE {name}")
        subprocess.run([self.world.onewrite, "-q", "init", "--outbox", outbox, self.world.server.url(name)], check=True,
                       stdout=subprocess.DEVNULL)
        for slot, in self.sql(name, "SELECT slot_name FROM pg_replication_slots WHERE database = %s", name):
            self.drop_slot(name, slot)
        self.sql(name, "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", f"{name}_made")

    def fill(self, database, outbox, rows, per_transaction):
        """Durable only as a whole: it is the reading that is measured."""
        body = TABLE if outbox == "table" else MESSAGE
        body = body.replace("%s", "at", 1).replace("%s", "least(at + %d, %d)" % (per_transaction - 1, rows), 1)
        from postgres import query
        connection = self.world.server.connect(database)
        with contextlib.closing(connection):
            query(connection, "SET synchronous_commit = off")
            query(connection, f"DO $fill$ BEGIN FOR at IN 1 .. {rows} BY {per_transaction} LOOP {body}; COMMIT; END LOOP; END $fill$")
        self.sql(database, "CHECKPOINT")
        if outbox == "table":
            self.sql(database, "VACUUM ANALYZE onewrite.outbox")

    def fresh_slot(self, database):
        """Stands where the data begins. A relay finds no position that was recorded for it."""
        name = f"bench_{next(self.numbers)}"
        self.sql(database, "SELECT pg_copy_logical_replication_slot(%s, %s)", f"{database}_made", name)
        return name

    def drop_slot(self, database, slot):
        deadline = time.monotonic() + 30
        while slot:
            try:
                self.sql(database, "SELECT pg_drop_replication_slot(%s)", slot)
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def fresh_topic(self):
        prefix = f"bench{next(self.numbers)}."
        self.world.kafka.create(prefix + "order", PARTITIONS)
        deadline = time.monotonic() + 60
        while not self.has_leaders(prefix + "order"):
            if time.monotonic() > deadline:
                raise SystemExit(f"Kafka has no leaders for topic {prefix}order")
            time.sleep(0.02)
        return prefix

    def has_leaders(self, topic):
        """A client that has heard that there is no such topic believes it until it is told otherwise: it asks anew."""
        from confluent_kafka import KafkaException
        try:
            found = self.watcher.list_topics(topic, timeout=10).topics[topic]
            return found.error is None and len(found.partitions) == PARTITIONS and self.count(self.watcher, topic) == 0
        except KafkaException:
            return False

    def drop_topic(self, prefix):
        for future in self.admin.delete_topics([prefix + "order"]).values():
            future.result(20)

    def warm_up(self):
        """A new cluster makes what it keeps groups in at the first question."""
        from confluent_kafka import KafkaException, TopicPartition
        self.drop_topic(self.fresh_topic())
        deadline = time.monotonic() + 60
        while True:
            try:
                self.watcher.committed([TopicPartition("bench", 0)], timeout=10)
                return
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    # --- one run ------------------------------------------------------------------------------------------

    def count(self, consumer, topic):
        from confluent_kafka import TopicPartition
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1] for partition in range(PARTITIONS))

    def backend_pids(self, database):
        return [pid for pid, in self.sql("postgres", "SELECT pid FROM pg_stat_activity WHERE datname = %s", database)]

    def run(self, contender, database, rows, slot=None):
        """From its first record in Kafka to its last."""
        prefix = self.fresh_topic()
        command, more = contender(self.world, database, slot, prefix)
        process = Process(command, more.pop("cwd", self.world.folder), **more)
        began, at, marks = None, 0, []
        deadline = process.started + 120 + rows / 1000
        while at < rows:
            process.check()
            if time.monotonic() > deadline:
                process.end()
                raise SystemExit(f"{process.name} has published {at} of {rows} messages, and no more")
            time.sleep(0.02 if at else 0.005)
            at = self.count(self.watcher, prefix + "order")
            now = time.monotonic()
            if at > 0 and began is None:
                began = (now, at, cpu_seconds(process.pid), {pid: cpu_seconds(pid) for pid in self.backend_pids(database)})
                now = time.monotonic()
                at = self.count(self.watcher, prefix + "order")
            if at > 0:
                marks.append((now, at))
        cpu, memory = cpu_seconds(process.pid) - began[2], resident_mib(process.pid)
        server = sum(cpu_seconds(pid) - before for pid, before in began[3].items())
        process.end()
        self.drop_topic(prefix)
        counted = rows - began[1]
        tenth = rows // 10
        first = self.rate_between(marks, began[1], began[1] + tenth)
        last = self.rate_between(marks, rows - tenth, rows)
        return {"rate": counted / (marks[-1][0] - began[0]), "cpu": cpu / counted * 1e6, "server_cpu": server / counted * 1e6,
                "memory": memory, "first": began[0] - process.started, "last_to_first": last / first}

    @staticmethod
    def rate_between(marks, low, high):
        """By straight lines between what was seen."""
        def when(count):
            for (t0, n0), (t1, n1) in zip(marks, marks[1:]):
                if n0 <= count <= n1:
                    return t0 + (t1 - t0) * (count - n0) / max(1, n1 - n0)
            return marks[0][0] if count <= marks[0][1] else marks[-1][0]
        return (high - low) / max(1e-6, when(high) - when(low))

    def sink(self, database, slot, rows):
        done = subprocess.run([self.world.programs / "limit_walsink", self.world.libpq(database), slot, "onewrite_outbox"], check=True,
                              capture_output=True, text=True)
        count, seconds, cpu = done.stdout.split()
        if int(count) < rows:
            raise SystemExit(f"limit_walsink has read {count} of {rows} rows")
        return {"rate": rows / float(seconds), "cpu": float(cpu) / rows * 1e6}

    def note(self, section, name, result):
        self.results.setdefault(section, {}).setdefault(name, []).append(result)
        what = ", ".join(f"{key} {value:,.3g}" if value < 100 else f"{key} {value:,.0f}" for key, value in result.items())
        print(f"{section}: {name}: {what}", file=sys.stderr, flush=True)

    # --- the sections --------------------------------------------------------------------------------------

    def logs(self, per_transaction):
        section, rows = f"log_{per_transaction}", self.options.rows
        databases = {"table": f"log{per_transaction}", "message": f"message{per_transaction}"}
        for outbox, database in databases.items():
            self.make_database(database, outbox)
            self.fill(database, outbox, rows, per_transaction)
        runs = {"limit: reader": None, "limit: reader + librdkafka": who.walkafka, "onewrite by log, rows kept": who.BY_LOG_KEPT,
                "onewrite by log": who.BY_LOG, "onewrite by message": who.BY_MESSAGE}
        if self.world.debezium:
            runs["Debezium Server"] = who.debezium
        for number in range(self.options.rounds + 1):
            for name in random.sample(list(runs), len(runs)):
                if not self.wants(name) or (number == 0 and name == "Debezium Server"):
                    continue
                database = databases["message" if name == "onewrite by message" else "table"]
                slot = self.fresh_slot(database)
                if runs[name] is None:
                    result = self.sink(database, slot, rows)
                else:
                    result = self.run(runs[name], database, rows, slot)
                self.drop_slot(database, slot)
                if name == "onewrite by log":
                    self.put_back(database, rows, per_transaction)
                if number > 0:  # the first warms the servers up
                    self.note(section, name, result)
        for database in databases.values():
            self.drop_slot(database, f"{database}_made")
            self.sql("postgres", f"DROP DATABASE {database} WITH (FORCE)")

    def put_back(self, database, rows, per_transaction):
        """The rows that were deleted, and a log that ends with them: all others read it anew."""
        self.drop_slot(database, f"{database}_made")
        self.sql(database, "TRUNCATE onewrite.outbox RESTART IDENTITY")
        self.sql(database, "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", f"{database}_made")
        self.fill(database, "table", rows, per_transaction)

    def polling(self):
        rows, database = self.options.polling_rows, "polled"
        self.make_database(database, "table")
        self.drop_slot(database, f"{database}_made")
        runs = {"limit: polling, 1,000 a batch": who.polling_limit(1000), "limit: polling, 5,000 a batch": who.polling_limit(5000),
                "onewrite by polling": who.BY_POLLING}
        for number in range(self.options.rounds + 1):
            for name in random.sample(list(runs), len(runs)):
                if not self.wants(name):
                    continue
                self.sql(database, "TRUNCATE onewrite.outbox")
                self.fill(database, "table", rows, 10000)
                result = self.run(runs[name], database, rows)
                if number > 0:
                    self.note("polling", name, result)
        self.sql("postgres", f"DROP DATABASE {database} WITH (FORCE)")

    def consumed(self, topic, payloads, stop, ready):
        """Notes when each record came, and what it says of when it was written."""
        from confluent_kafka import TopicPartition
        consumer = self.new_consumer(**{"fetch.wait.max.ms": 100})
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        consumer.poll(0.5)
        ready.set()
        while not stop.is_set():
            message = consumer.poll(0.05)
            if message is not None and not message.error():
                payloads.append((time.time(), message.value()))
        consumer.close()

    @contextlib.contextmanager
    def consumer(self, topic):
        payloads, stop, ready = [], threading.Event(), threading.Event()
        thread = threading.Thread(target=self.consumed, args=(topic, payloads, stop, ready))
        thread.start()
        try:
            ready.wait(30)
            yield payloads
        finally:
            stop.set()
            thread.join()

    def wait_for(self, condition, process, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            process.check()
            if time.monotonic() > deadline:
                process.end()
                raise SystemExit(f"{process.name}: waited in vain for {what}")
            time.sleep(0.001)

    def latency(self):
        """Open loop: what comes late does not slow down what comes after it."""
        from postgres import programs
        databases = {"table": "paced", "message": "paced_message"}
        for outbox, database in databases.items():
            self.make_database(database, outbox)
        runs = {"limit: reader + librdkafka": who.walkafka, "onewrite by log": who.BY_LOG, "onewrite by message": who.BY_MESSAGE,
                "limit: polling, 1,000 a batch": who.polling_limit(1000), "onewrite by polling": who.BY_POLLING}
        if self.world.debezium:
            runs["Debezium Server"] = who.debezium
        for number in range(self.options.rounds + 1):
            for name in random.sample(list(runs), len(runs)):
                if not self.wants(name) or (number == 0 and name == "Debezium Server"):
                    continue
                outbox = "message" if name == "onewrite by message" else "table"
                database, is_polled = databases[outbox], "polling" in name
                self.sql(database, "TRUNCATE onewrite.outbox")
                self.drop_slot(database, f"{database}_made")
                self.sql(database, "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", f"{database}_made")
                slot, prefix = None if is_polled else self.fresh_slot(database), self.fresh_topic()
                script = self.world.folder / "paced.sql"
                script.write_text("\\set n random(1, 10000)\n" + PACED[outbox].replace("{n}", ":n"))
                one = PACED[outbox].replace("{n}", "1")
                with self.consumer(prefix + "order") as payloads:
                    self.sql(database, one)
                    command, more = runs[name](self.world, database, slot, prefix, latency=True)
                    wall = time.time()
                    process = Process(command, more.pop("cwd", self.world.folder), **more)
                    self.wait_for(lambda: payloads, process, "the first message")
                    first = payloads[0][0] - wall
                    for _ in range(3):  # whatever is done once for each partition is done
                        count = len(payloads)
                        for n in range(20):
                            self.sql(database, PACED[outbox].replace("{n}", str(n)))
                        self.wait_for(lambda: len(payloads) >= count + 20, process, "messages")
                    payloads.clear()
                    cpu = cpu_seconds(process.pid)
                    load = subprocess.run([programs() / "pgbench", "-n", "-h", "127.0.0.1", "-p", str(self.world.server.port), "-U",
                                           "postgres", "-f", script, "-c", "4", "-R", str(RATE), "-T", str(self.options.seconds),
                                           database], capture_output=True, text=True)
                    sent = next((int(line.split(":")[1].split("/")[0]) for line in load.stdout.splitlines()
                                 if "actually processed" in line), 0)
                    self.wait_for(lambda: len(payloads) >= sent, process, f"{sent} messages")
                    cpu = cpu_seconds(process.pid) - cpu
                    process.end()
                times = [1000 * (came - float(payload.split(b" ")[0])) for came, payload in payloads]
                if number > 0:  # the first warms the servers up
                    self.note("latency", name, {"p50": percentile(times, 0.5), "p95": percentile(times, 0.95),
                                                "p99": percentile(times, 0.99), "sent": sent, "cpu": cpu / sent * 1e6,
                                                "start": 1000 * first})
                self.drop_slot(database, slot)
                self.drop_topic(prefix)
        for database in databases.values():
            self.drop_slot(database, f"{database}_made")
            self.sql("postgres", f"DROP DATABASE {database} WITH (FORCE)")

    def start(self):
        """Slot, schema and topic are there, a position is on record, and one message waits: until a waiting consumer has it."""
        database = "started"
        self.make_database(database, "table")
        slots, prefixes = {}, {}
        runs = {"limit: reader + librdkafka": who.walkafka, "onewrite by log": who.BY_LOG, "onewrite by polling": who.BY_POLLING}
        for number in range(2 * self.options.rounds + 1):
            for name in random.sample(list(runs), len(runs)):
                if not self.wants(name):
                    continue
                if name not in prefixes:
                    prefixes[name] = self.fresh_topic()
                    slots[name] = None if "polling" in name else self.fresh_slot(database)
                self.sql(database, "TRUNCATE onewrite.outbox")
                with self.consumer(prefixes[name] + "order") as payloads:
                    before = None
                    while before != len(payloads):  # of earlier rounds
                        before = len(payloads)
                        time.sleep(0.3)
                    stamp = f"{time.time():.6f}"
                    self.sql(database, "INSERT INTO onewrite.outbox (aggregatetype, aggregateid, type, payload) "
                                       "VALUES ('order', 'customer-1', 'OrderPlaced', %s)", stamp + " start")
                    command, more = runs[name](self.world, database, slots[name], prefixes[name], latency=True)
                    wall = time.time()
                    process = Process(command, more.pop("cwd", self.world.folder), **more)
                    found = lambda: [at for at, payload in payloads[before:] if payload.startswith(stamp.encode())]  # noqa: E731
                    self.wait_for(found, process, "the first message")
                    milliseconds = 1000 * (found()[0] - wall)
                    process.end()
                if number > 0:
                    self.note("start", name, {"ms": milliseconds})
        for slot in slots.values():
            self.drop_slot(database, slot)
        self.drop_slot(database, f"{database}_made")
        self.sql("postgres", f"DROP DATABASE {database} WITH (FORCE)")

    def wants(self, name):
        return not self.options.contender or any(text in name for text in self.options.contender)

    # --- what came out -------------------------------------------------------------------------------------

    def median(self, section, name, key):
        return middle([result[key] for result in self.results.get(section, {}).get(name, []) if key in result])

    def tables(self):
        titles = {"log_1": "By log, 1 row a transaction", "log_100": "By log, 100 rows a transaction", "polling": "By polling"}
        for section, title in titles.items():
            if section not in self.results:
                continue
            rows = [[name] + [spread([r[key] for r in results if key in r], digits) for key, digits in
                              (("rate", 0), ("cpu", 2), ("server_cpu", 2), ("memory", 1), ("last_to_first", 2))]
                    for name, results in self.results[section].items()]
            yield table(title, ["", "messages/s", "CPU s per million", "of the server", "MiB", "last tenth / first"], sorted(rows))
        if "latency" in self.results:
            rows = [[name] + [spread([r[key] for r in results], digits) for key, digits in
                              (("p50", 2), ("p95", 2), ("p99", 2), ("cpu", 1))]
                    for name, results in self.results["latency"].items()]
            yield table(f"From the statement to the consumer at {RATE} transactions a second, ms",
                        ["", "p50", "p95", "p99", "CPU s per million"], sorted(rows))
        starts = {name: [r["ms"] for r in results] for name, results in self.results.get("start", {}).items()}
        for name, results in self.results.get("latency", {}).items():
            if name == "Debezium Server":
                starts[name] = [r["start"] for r in results]
        if starts:
            yield table("From the start to the first message at the consumer, ms", ["", "ms"],
                        sorted([name, spread(values)] for name, values in starts.items()))

    def ratio(self, section, ours, theirs, key):
        """Of medians, and that of the rounds, where there are as many of both."""
        mine, other = self.median(section, ours, key), self.median(section, theirs, key)
        return mine / other if mine is not None and other else None

    def bounds(self):
        """What is promised, what came out, whether it holds."""
        limit, ours = "limit: reader + librdkafka", "onewrite by log"
        for section in ("log_1", "log_100"):
            yield f"{section}: rate of {ours} / limit", self.ratio(section, ours, limit, "rate"), ">=", 0.9
            yield f"{section}: rate of {ours}, rows kept / limit", self.ratio(section, ours + ", rows kept", limit, "rate"), ">=", 0.9
            yield f"{section}: CPU of {ours} / limit", self.ratio(section, ours, limit, "cpu"), "<=", 1.35
            yield f"{section}: MiB of {ours}", self.median(section, ours, "memory"), "<=", 32
            yield (f"{section}: CPU of Debezium Server / {ours}", self.ratio(section, "Debezium Server", ours, "cpu"), ">=",
                   5 if section == "log_1" else 8)
        for batch in ("1,000", "5,000"):
            yield (f"polling: rate of onewrite / limit, {batch} a batch",
                   self.ratio("polling", "onewrite by polling", f"limit: polling, {batch} a batch", "rate"), ">=", 0.8)
        yield "polling: last tenth / first", self.median("polling", "onewrite by polling", "last_to_first"), ">=", 0.9
        yield "polling: MiB", self.median("polling", "onewrite by polling", "memory"), "<=", 32
        mine, theirs = self.median("latency", ours, "p50"), self.median("latency", limit, "p50")
        yield "latency: p50 above the limit's, ms", mine - theirs if mine and theirs else None, "<=", 1
        yield f"start: {ours}, ms", self.median("start", ours, "ms"), "<=", 100


def run(options):
    """The results by section, the tables, and the bounds."""
    import confluent_kafka.admin  # noqa: F401
    import kafka as kafka_module
    from postgres import new_server
    programs = pathlib.Path(os.environ["BUILD"]) / "bench"
    onewrite = pathlib.Path(os.environ["ONEWRITE_RELEASE"])
    with tempfile.TemporaryDirectory(prefix="onewrite-bench-") as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        server = new_server(max_wal_size="4GB", checkpoint_timeout="30min", shared_buffers="256MB", autovacuum="off")
        stack.callback(server.remove)
        (folder / "kafka").mkdir()
        broker = kafka_module.Kafka(folder / "kafka", java=["-Xms512m", "-Xmx512m"])
        stack.callback(broker.stop)
        world = who.World(server, broker, programs, onewrite, folder)
        if not options.no_debezium:
            world.debezium, why = who.fetch_debezium(ROOT / "build")
            if why:
                print(f"Debezium Server is left out: {why}", file=sys.stderr)
        bench = Bench(options, world, broker.admin())
        bench.warm_up()
        sections = {"log_1": lambda: bench.logs(1), "log_100": lambda: bench.logs(100), "polling": bench.polling,
                    "latency": bench.latency, "start": bench.start}
        for name, section in sections.items():
            if not options.only or name in options.only:
                section()
        versions = {"postgres": server.connect().info.parameter_status("server_version"), "kafka": kafka_module.VERSION,
                    "librdkafka": confluent_kafka.libversion()[0], "debezium": who.DEBEZIUM if world.debezium else None}
        return bench.results, list(bench.tables()), list(bench.bounds()), versions


def judge(value, sign, bound):
    return value >= bound if sign == ">=" else value <= bound


