#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Consumers: ours beside the limit of the machine and a peer, in one run, on the same records, in random order.

in_flight: records of one partition, by number of keys, 100 in flight, 0 to 5 ms of work for each: `onewrite` with an http
           handler, whose server answers after the work; the limit, an event loop on librdkafka whose work is a timer; and
           Confluent Parallel Consumer, whose work is a thread that sleeps (with a JDK, and Maven to fetch it).
inbox:     transactions of an inbox in PostgreSQL with an sql handler, one message each, and many; and a bare program on
           libpq with the same statements.
poison:    the same in batches, with a dead letter store, where no message fails, and where one in 10,000 always does: it is
           tried three times (50 and 100 ms apart) and set aside, and what is behind it in its key is parked.

Tables go to standard output and everything to a JSON file. Exit status 1 if a bound is missed.
"""
import argparse
import contextlib
import datetime
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "integration")]

from measure import cpu_seconds, machine, middle, resident_mib, spread, table  # noqa: E402

POISON_EVERY, POISON_KEYS = 10000, 9973  # a prime: no two of them have a key in common
KEYS = [1, 2, 5, 10, 20, 50, 100, 10000]
LARGE = [100, 10000]
IN_FLIGHT, WORK_US, BATCH = 100, 5000, 100
LIMIT, OURS, PEER = "limit: event loop", "onewrite, http handler", "Parallel Consumer"
PEER_VERSION = "0.5.3.3"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>onewrite</groupId><artifactId>peer-consumer</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>io.confluent.parallelconsumer</groupId><artifactId>parallel-consumer-core</artifactId><version>{}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>2.0.7</version></dependency>
  </dependencies>
</project>
"""
CONFIG = """version: 1
{stores}
brokers: {{ bus: "kafka://{servers}" }}
consumers:
  - name: {name}
    from: {{ broker: bus, topics: {topic} }}
    {inbox}
    handler: {handler}
    in_flight: {in_flight}
    {more}
"""


def parse():
    parser = argparse.ArgumentParser(prog="./dev bench consumer", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=10000, help="by number of keys, in each round")
    parser.add_argument("--large", type=int, default=100000, help="messages, with %s keys" % " and ".join(map(str, LARGE)))
    parser.add_argument("--inbox-messages", type=int, default=100000, help="in batches; a tenth of it one by one")
    parser.add_argument("--rounds", type=int, default=3, help="that count; one more comes before them")
    parser.add_argument("--keys", type=int, nargs="+", default=KEYS)
    parser.add_argument("--only", nargs="+", choices=["in_flight", "inbox", "poison"])
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few messages, one round: to see that it works; bounds do not count")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="default: build/bench/consumer.json")
    options = parser.parse_args()
    if options.quick:
        options.messages, options.large, options.inbox_messages, options.rounds = 1000, 5000, 10000, 1
        options.keys = [1, 10, 100, 10000] if options.keys == KEYS else options.keys
    return options


def fetch_peer(to):
    """The class path, and None; or None and why there is none."""
    for program in ("java", "javac", "mvn"):
        if not shutil.which(program):
            return None, f"there is no {program}"
    home = to / f"parallel-consumer-{PEER_VERSION}"
    if not (home / "complete").exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "pom.xml").write_text(POM.format(PEER_VERSION))
        done = subprocess.run(["mvn", "-q", "-B", "-f", str(home / "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime",
                               f"-DoutputDirectory={home}/jars"], capture_output=True, text=True)
        if done.returncode != 0:
            return None, "Maven could not fetch it"
        (home / "complete").touch()
    done = subprocess.run(["javac", "-cp", f"{home}/jars/*", "-d", str(home), str(ROOT / "bench" / "PeerConsumer.java")],
                          capture_output=True, text=True)
    return (f"{home}:{home}/jars/*", None) if done.returncode == 0 else (None, f"javac: {done.stderr[:300]}")


class Bench:
    def __init__(self, options, broker, server, folder, peer):
        self.options, self.broker, self.server, self.folder, self.peer = options, broker, server, folder, peer
        self.programs, self.onewrite = pathlib.Path(os.environ["BUILD"]) / "bench", os.environ["ONEWRITE_RELEASE"]
        self.topics, self.runs = {}, 0
        self.results = {"in_flight": {}, "inbox": {}, "poison": {}}
        self.database = None

    def topic(self, keys, messages):
        """One partition with so many records, whose keys take turns."""
        from confluent_kafka import Producer
        name = f"keys-{keys}-{messages}"
        if name in self.topics:
            return name
        self.broker.create(name, 1)
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "queue.buffering.max.messages": 1000000, "linger.ms": 20})
        for i in range(messages):
            producer.produce(name, key=str(i % keys), value=json.dumps({"order": i, "cents": i * 7 % 100000, "note": "x" * 100}),
                             headers=[("id", f"message-{i}".encode())])
        producer.flush()
        self.topics[name] = messages
        return name

    # --- contenders: each gives seconds, seconds of CPU, seconds of work, MiB --------------------------------------

    def bare(self, command):
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        memory = 0
        while process.poll() is None:
            memory = max(memory, resident_mib(process.pid))
            time.sleep(0.02)
        out = process.stdout.read().split()
        if process.returncode != 0 or not out:
            sys.exit(f"{command[0]} failed with status {process.returncode}")
        return [*map(float, out), memory]

    def limit(self, topic, messages):
        return self.bare([self.programs / "limit_consumer", self.broker.bootstrap, topic, messages, IN_FLIGHT, WORK_US])

    def parallel_consumer(self, topic, messages):
        return self.bare(["java", "-Xmx1g", "-cp", self.peer, "PeerConsumer", self.broker.bootstrap, topic, messages, IN_FLIGHT, WORK_US])

    @contextlib.contextmanager
    def running(self, more="", **parts):
        """onewrite with a consumer of a new name."""
        self.runs += 1
        path = self.folder / f"consumer-{self.runs}.yaml"
        path.write_text(CONFIG.format(servers=self.broker.bootstrap, name=f"bench-{self.runs}", more=more, **parts))
        with open(self.folder / "onewrite.log", "w+") as log:
            process = subprocess.Popen([self.onewrite, "run", str(path)], stderr=log, stdout=log)
            try:
                yield process, f"bench-{self.runs}"
            finally:
                process.terminate()
                if process.wait(60) != 0:
                    log.seek(0)
                    sys.exit(f"onewrite ended with status {process.returncode}:\n{log.read()[-3000:]}")

    def ours(self, topic, messages):
        server = subprocess.Popen([self.programs / "slow_server", str(WORK_US), str(random.randrange(1 << 30))], stdout=subprocess.PIPE, text=True)
        try:
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}/"
            with self.running(stores="", topic=topic, inbox="", handler=f'{{ http: {{ url: "{url}" }} }}', in_flight=IN_FLIGHT) as (process, _):
                answers = 0
                while answers < messages:
                    time.sleep(0.05)
                    if process.poll() is not None:
                        break
                    work, elapsed, answers = map(int, urllib.request.urlopen(url + "sum").read().split())
                return [elapsed / 1e6, cpu_seconds(process.pid), work / 1e6, resident_mib(process.pid)]
        finally:
            server.kill()
            server.wait()

    # --- sections -----------------------------------------------------------------------------------------------------

    def in_flight(self):
        contenders = {LIMIT: self.limit, OURS: self.ours, **({PEER: self.parallel_consumer} if self.peer else {})}
        cases = [(keys, self.options.messages) for keys in self.options.keys] + [(keys, self.options.large) for keys in LARGE]
        for keys, messages in cases:
            topic, found = self.topic(keys, messages), {name: [] for name in contenders}
            for number in range(self.options.rounds + 1):
                for name in random.sample(list(contenders), len(contenders)):
                    seconds, cpu, work, memory = contenders[name](topic, messages)
                    print(f"{keys} keys, {messages} messages, round {number}, {name}: {seconds:.3f} s", file=sys.stderr)
                    if number > 0:
                        found[name].append({"seconds": seconds, "cpu_us": cpu / messages * 1e6, "memory": memory,
                                            "of_work": seconds / (work / min(keys, IN_FLIGHT)), "work": work})
            self.results["in_flight"][f"{keys} keys, {messages}"] = {"keys": keys, "messages": messages, "found": found}

    def store(self):
        """A connection to a database with an inbox, and its URL."""
        from postgres import query
        url = self.server.url("inbox")
        if not self.database:
            query(self.server.connect(), "CREATE DATABASE inbox")
            subprocess.run([self.onewrite, "-q", "init", url], check=True)
            self.database = self.server.connect("inbox")
            query(self.database, "CREATE TABLE paid (order_id text, cents text)")
        return self.database, url

    def inbox(self):
        from postgres import query
        database, url = self.store()

        def limit(batch, messages):
            name = f"limit-{random.randrange(1 << 40)}"
            return self.bare([self.programs / "limit_inbox", url, name, messages, batch])[:2], name

        def ours(batch, messages):
            handler = '{ sql: "INSERT INTO paid (order_id, cents) VALUES (${!payload.order}, ${!payload.cents})" }'
            with self.running(stores=f'stores: {{ pay: "{url}" }}', topic=self.topic(10000, messages), inbox="inbox: { store: pay }",
                              handler=handler, in_flight=batch) as (process, name):
                asked = "SELECT count(*), count(*) = %s FROM onewrite.inbox WHERE consumer = %s"
                while not query(database, asked, messages, name)[0][1] and process.poll() is None:
                    time.sleep(0.2)
                seconds, = query(database, "SELECT extract(epoch FROM max(handled_at) - min(handled_at))::float FROM onewrite.inbox "
                                           "WHERE consumer = %s", name)[0]
                return [seconds, cpu_seconds(process.pid)], name

        for mode, batch, messages in (("single", 1, self.options.inbox_messages // 10), ("batched", BATCH, self.options.inbox_messages)):
            found = {"limit: libpq": [], "onewrite, sql handler": []}
            for number in range(self.options.rounds + 1):
                for name, contender in random.sample([("limit: libpq", limit), ("onewrite, sql handler", ours)], 2):
                    query(database, "TRUNCATE onewrite.inbox, paid")
                    (seconds, cpu), who = contender(batch, messages)
                    transactions = query(database, "SELECT count(DISTINCT handled_at) FROM onewrite.inbox WHERE consumer = %s", who)[0][0]
                    print(f"inbox {mode}, round {number}, {name}: {messages / seconds:,.0f}/s", file=sys.stderr)
                    if number > 0:
                        found[name].append({"rate": messages / seconds, "cpu_us": cpu / messages * 1e6, "filled": messages / transactions})
            self.results["inbox"][mode] = {"batch": batch, "messages": messages, "found": found}

    def poison(self):
        from postgres import query
        database, url = self.store()
        messages, more = self.options.large, "retry: { initial: 50ms, max_attempts: 3 }\n    dead_letter: { store: pay }"

        def ours(table):
            handler = f'{{ sql: "INSERT INTO {table} (order_id, cents) VALUES (${{!payload.order}}, ${{!payload.cents}})" }}'
            with self.running(stores=f'stores: {{ pay: "{url}" }}', topic=self.topic(POISON_KEYS, messages), inbox="inbox: { store: pay }",
                              handler=handler, in_flight=BATCH, more=more) as (process, name):
                done = "SELECT count(*) >= %s FROM onewrite.inbox WHERE consumer = %s"
                while not query(database, done, messages, name)[0][0] and process.poll() is None:
                    time.sleep(0.2)
                handled, aside, seconds = query(database, "SELECT count(*) FILTER (WHERE state = 'handled'), "
                    "count(*) FILTER (WHERE state <> 'handled'), (extract(epoch FROM max(handled_at) FILTER (WHERE state = 'handled') "
                    "- min(handled_at)))::float FROM onewrite.inbox WHERE consumer = %s", name)[0]
                return {"rate": handled / seconds, "cpu_us": cpu_seconds(process.pid) / messages * 1e6, "aside": aside}

        every = min(POISON_EVERY, messages // 2)
        for table, remainder in (("paid_all", -1), ("paid_some", every // 2)):
            query(database, f"CREATE TABLE {table} (order_id text CHECK (order_id::int % {every} <> {remainder}), cents text)")
        found = {"no message fails": [], f"one in {every:,} fails": []}
        for number in range(self.options.rounds + 1):
            for name, table in random.sample(list(zip(found, ("paid_all", "paid_some"))), 2):
                query(database, "TRUNCATE onewrite.inbox, onewrite.dead_letter, paid, paid_all, paid_some")
                run = ours(table)
                print(f"poison, round {number}, {name}: {run['rate']:,.0f}/s, {run['aside']} set aside or parked", file=sys.stderr)
                if number > 0:
                    found[name].append(run)
        self.results["poison"] = {"messages": messages, "found": found}

    # --- what came of it ------------------------------------------------------------------------------------------------

    def tables(self):
        rows = []
        for case in self.results["in_flight"].values():
            for name, runs in case["found"].items():
                rows.append([f"{case['keys']:,}", f"{case['messages']:,}", name, spread([run["seconds"] for run in runs], 2),
                             f"{middle([run['of_work'] for run in runs]):.2f}", spread([run["cpu_us"] for run in runs], 1),
                             f"{middle([run['memory'] for run in runs]):.0f}"])
        if rows:
            yield table(f"{IN_FLIGHT} in flight, by key, 0 to {WORK_US / 1000:g} ms of work", ["keys", "messages", "contender", "seconds",
                        "times the work", "CPU µs/message", "MiB"], rows)
        rows = [[mode, f"{middle([run['filled'] for run in runs]):.1f}", name, spread([run["rate"] for run in runs]), spread([run["cpu_us"] for run in runs], 1)]
                for mode, case in self.results["inbox"].items() for name, runs in case["found"].items()]
        if rows:
            yield table("Inbox in PostgreSQL", ["", "messages a transaction", "contender", "messages/s", "CPU µs/message"], rows)
        rows = [[name, spread([run["rate"] for run in runs]), f"{middle([run['aside'] for run in runs]):.0f}", spread([run["cpu_us"] for run in runs], 1)]
                for name, runs in self.results["poison"].get("found", {}).items()]
        if rows:
            yield table("With a poisonous message", ["", "messages/s", "set aside or parked", "CPU µs/message"], rows)

    def bounds(self):
        for title, case in self.results["in_flight"].items():
            found, keys, large = case["found"], case["keys"], case["messages"] == self.options.large
            mine = {what: middle([run[what] for run in found[OURS]]) for what in ("seconds", "of_work", "cpu_us")}
            if keys == 1:
                yield f"{title}: times the work", mine["of_work"], "<=", 1.15
            if keys in LARGE and not large:
                yield f"{title}: seconds", mine["seconds"], "<=", 1.0
            if PEER in found:
                yield f"{title}: seconds of the peer's", mine["seconds"] / middle([run["seconds"] for run in found[PEER]]), "<", 1
                yield f"{title}: CPU of the peer's", mine["cpu_us"] / middle([run["cpu_us"] for run in found[PEER]]), "<", 1
        rates = {(mode, name): middle([run["rate"] for run in runs])
                 for mode, case in self.results["inbox"].items() for name, runs in case["found"].items()}
        for mode in self.results["inbox"]:
            yield f"inbox, {mode}: rate of the limit's", rates[mode, "onewrite, sql handler"] / rates[mode, "limit: libpq"], ">=", 0.9
        if rates:
            yield "inbox: batched over single", rates["batched", "onewrite, sql handler"] / rates["single", "onewrite, sql handler"], ">=", 5
        without, poisoned = ([middle([run["rate"] for run in runs]) for runs in self.results["poison"].get("found", {}).values()] or [None, None])
        if poisoned:
            yield "poison: rate of that without", poisoned / without, ">=", 0.8


def judge(value, sign, bound):
    return value <= bound if sign == "<=" else value < bound if sign == "<" else value >= bound


def main():
    options = parse()
    import kafka as kafka_module
    from postgres import new_server
    wanted = options.only or ["in_flight", "inbox", "poison"]
    report = {"when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "machine": machine(),
              "options": {name: value for name, value in vars(options).items() if name != "json"}}
    peer, why = (None, "not wanted") if options.no_peer or "in_flight" not in wanted else fetch_peer(ROOT / "build")
    if not peer:
        print(f"{PEER} is left out: {why}", file=sys.stderr)
        report["peer"] = f"left out: {why}"
    with tempfile.TemporaryDirectory(prefix="onewrite-bench-") as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        server = None
        if "inbox" in wanted or "poison" in wanted:
            server = new_server(max_wal_size="4GB", checkpoint_timeout="30min", shared_buffers="256MB", autovacuum="off")
            stack.callback(server.remove)
        (folder / "kafka").mkdir()
        broker = kafka_module.Kafka(folder / "kafka", java=["-Xms512m", "-Xmx512m"])
        stack.callback(broker.stop)
        bench = Bench(options, broker, server, folder, peer)
        for section in wanted:
            getattr(bench, section)()
        report["results"] = bench.results
        tables = list(bench.tables())
        report["bounds"] = [{"what": what, "value": round(value, 3), "bound": f"{sign} {bound}", "holds": judge(value, sign, bound)}
                            for what, value, sign, bound in bench.bounds()]
    print("\n".join(tables))
    print(table("What is promised", ["", "measured", "bound", ""],
                [[b["what"], f"{b['value']:.2f}", b["bound"], "holds" if b["holds"] else "MISSED"] for b in report["bounds"]]))
    path = options.json or pathlib.Path(os.environ["BUILD"]).parent / "bench" / "consumer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\n{path}", file=sys.stderr)
    sys.exit(0 if options.quick or all(bound["holds"] for bound in report["bounds"]) else 1)


if __name__ == "__main__":
    main()
