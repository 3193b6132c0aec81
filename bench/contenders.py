# SPDX-License-Identifier: Apache-2.0
"""Who runs in the benchmark of PostgreSQL -> Kafka, and with which settings."""
import os
import pathlib
import shutil
import subprocess
import tarfile

DEBEZIUM = "3.0.8.Final"
QUEUE = 100000  # messages that a limit program hands to librdkafka before it waits


class World:
    """The servers, the programs, and a folder for what contenders write."""

    def __init__(self, server, kafka, programs, onewrite, folder):
        self.server, self.kafka, self.programs, self.onewrite, self.folder = server, kafka, programs, onewrite, folder
        self.debezium = None

    def libpq(self, database):
        return f"host=127.0.0.1 port={self.server.port} user=postgres dbname={database}"


def walkafka(world, database, slot, prefix, latency=False):
    # A linger is good for the rate and bad for the latency.
    return [world.programs / "limit_walkafka", world.libpq(database), slot, "onewrite_outbox", world.kafka.bootstrap, prefix,
            "0" if latency else "5", QUEUE], {}


def polling_limit(batch):
    def command(world, database, slot, prefix, latency=False):
        return [world.programs / "limit_polling", world.libpq(database), world.kafka.bootstrap, prefix, "0" if latency else "5",
                batch], {}
    return command


def onewrite(*flags):
    def command(world, database, slot, prefix, latency=False):
        named = ["--slot", slot] if slot else []
        return [world.onewrite, "-q", "relay", *flags, *named, "--topic", prefix + "${!aggregatetype}", world.server.url(database),
                f"kafka://{world.kafka.bootstrap}"], {}
    return command


def debezium(world, database, slot, prefix, latency=False):
    folder = world.folder / "debezium"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    settings = {
        "source.connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "source.offset.storage.file.filename": folder / "offsets", "source.offset.flush.interval.ms": 1000,
        "source.database.hostname": "127.0.0.1", "source.database.port": world.server.port, "source.database.user": "postgres",
        "source.database.password": "none", "source.database.dbname": database, "source.database.sslmode": "disable",
        "source.plugin.name": "pgoutput", "source.slot.name": slot, "source.publication.name": "onewrite_outbox",
        "source.publication.autocreate.mode": "disabled", "source.snapshot.mode": "no_data", "source.topic.prefix": "bench",
        "source.table.include.list": "onewrite.outbox", "source.max.batch.size": 8192, "source.max.queue.size": 32768,
        "source.poll.interval.ms": 50, "source.tombstones.on.delete": "false",
        "transforms": "outbox", "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
        "transforms.outbox.route.topic.replacement": prefix + "\\\\${routedByValue}",
        "format.key": "simplestring", "format.value": "simplestring", "sink.type": "kafka",
        "sink.kafka.producer.bootstrap.servers": world.kafka.bootstrap,
        "sink.kafka.producer.key.serializer": "org.apache.kafka.common.serialization.StringSerializer",
        "sink.kafka.producer.value.serializer": "org.apache.kafka.common.serialization.StringSerializer",
        "sink.kafka.producer.enable.idempotence": "true", "sink.kafka.producer.acks": "all",
        "sink.kafka.producer.compression.type": "lz4",
    }
    (folder / "config").mkdir()
    (folder / "config" / "application.properties").write_text(
        "".join(f"debezium.{name}={value}\n" for name, value in settings.items()) + "quarkus.log.level=WARN\nquarkus.http.port=0\n")
    home = world.debezium
    runner = next(home.glob("debezium-server-*runner.jar"))
    return [os.path.join(os.environ["JAVA21"], "bin", "java"), "-Xmx1g", "-cp", f"{runner}:{home}/config/lib:{home}/lib/*",
            "io.debezium.server.Main"], {"cwd": folder}


def fetch_debezium(to):
    """The folder of Debezium Server, and None; or None and why there is none."""
    java = os.environ.get("JAVA21")
    if not java or not os.access(os.path.join(java, "bin", "java"), os.X_OK):
        return None, "JAVA21 does not name a Java 21 or later"
    home = to / f"debezium-server-{DEBEZIUM}"
    if not home.exists():
        if not shutil.which("mvn"):
            return None, "there is no Maven to fetch it with"
        to.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy",
                               f"-Dartifact=io.debezium:debezium-server-dist:{DEBEZIUM}:tar.gz", f"-DoutputDirectory={to}"],
                              capture_output=True, text=True)
        archive = to / f"debezium-server-dist-{DEBEZIUM}.tar.gz"
        if done.returncode != 0 or not archive.exists():
            return None, "Maven could not fetch it"
        with tarfile.open(archive) as packed:
            packed.extractall(to / "unpacked")
        pathlib.Path(to / "unpacked" / "debezium-server").rename(home)
        archive.unlink()
    return home, None


BY_LOG = onewrite("--by", "log")
BY_LOG_KEPT = onewrite("--by", "log", "--prune", "never")
BY_MESSAGE = onewrite("--by", "message")
BY_POLLING = onewrite("--by", "polling")
