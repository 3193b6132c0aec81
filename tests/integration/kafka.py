# SPDX-License-Identifier: Apache-2.0
"""A real Apache Kafka for the tests: one node (KRaft) from its published jars, on free ports of the loopback.

The jars come by Maven, once, into build/kafka-VERSION. Listeners: `bootstrap` (plain), `secure` (TLS and SASL/PLAIN,
user `ow`, password `ow-secret`, authority in `ca`), and one behind a proxy, see `proxied`.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest
from maven import maven
from proxy import Proxy

VERSION = "4.1.0"
JARS = pathlib.Path(__file__).resolve().parents[2] / "build" / f"kafka-{VERSION}"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>onewrite</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{0}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{0}</version></dependency>
  </dependencies>
</project>
"""
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},PROXIED://127.0.0.1:{proxied},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},PROXIED://127.0.0.1:{proxy}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,SECURE:SASL_SSL
log.dirs={folder}/log
num.partitions=3
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_ow="ow-secret";
"""


def jars():
    """The folder with them; skips where they cannot be had."""
    if (JARS / "complete").exists():
        return JARS
    JARS.mkdir(parents=True, exist_ok=True)
    (JARS / "pom.xml").write_text(POM.format(VERSION))
    maven("Apache Kafka", "-f", JARS / "pom.xml", "dependency:copy-dependencies", "-DincludeScope=runtime",
          f"-DoutputDirectory={JARS}/jars")
    (JARS / "complete").touch()
    return JARS


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def make_certificates(folder):
    """An authority, and a key with a certificate for 127.0.0.1; server.pem has both in the form that Kafka reads."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile",
            "names", "-out", "server.crt")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "other.key", "-out", "other.pem", "-days", "2", "-subj", "/CN=other")
    key, certificate = ((folder / name).read_text() for name in ("server.key", "server.crt"))
    (folder / "server.pem").write_text(key + certificate)


SMALL = ["-Xms64m", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


class Kafka:
    def __init__(self, folder, java=SMALL):
        self.folder, self.process, self.java_options = folder, None, java
        self.plain, self.secure_port, self.proxied_port, self.controller, self.proxy_port = free_ports(5)
        self.bootstrap, self.secure = f"127.0.0.1:{self.plain}", f"127.0.0.1:{self.secure_port}"
        self.ca, self.other_ca = folder / "ca.pem", folder / "other.pem"
        make_certificates(folder)
        (folder / "server.properties").write_text(PROPERTIES.format(
            plain=self.plain, secure=self.secure_port, proxied=self.proxied_port, controller=self.controller, proxy=self.proxy_port,
            folder=folder))
        self.environment = {**os.environ, "CLASSPATH": f"{jars()}/jars/*"}
        self.java("-Xmx256m", "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", "server.properties")
        self.start()

    def java(self, *arguments):
        subprocess.run(["java", "-XX:TieredStopAtLevel=1", *arguments], cwd=self.folder, env=self.environment, check=True,
                       capture_output=True, timeout=60)

    def start(self):
        with open(self.folder / "out.log", "a") as log:
            self.process = subprocess.Popen(
                ["java", *self.java_options, "kafka.Kafka", "server.properties"],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while not self.is_ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"Kafka did not start: {(self.folder / 'out.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def is_ready(self):
        try:
            return bool(self.admin().list_topics(timeout=1).brokers)
        except Exception:
            return False

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)

    def admin(self):
        from confluent_kafka.admin import AdminClient
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def create(self, topic, partitions=3, **config):
        from confluent_kafka.admin import NewTopic
        config = {name.replace("_", "."): str(value) for name, value in config.items()}
        admin = self.admin()  # it must outlive its futures
        for future in admin.create_topics([NewTopic(topic, partitions, 1, config=config)]).values():
            future.result(20)

    def topics(self):
        return self.admin().list_topics(timeout=10).topics

    def records(self, topic):
        """All committed records, those of a partition in their order, as the oracle wants them; the value as bytes."""
        from confluent_kafka import Consumer, TopicPartition
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "reader", "enable.auto.commit": False,
                             "isolation.level": "read_committed", "enable.partition.eof": True, "fetch.wait.max.ms": 5})
        partitions = sorted(self.topics()[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        found, ended = [], set()
        while len(ended) < len(partitions):
            message = consumer.poll(20)
            assert message is not None, f"nothing comes from {topic}"
            if message.error():
                ended.add(message.partition())
                continue
            headers = message.headers() or []
            found.append({"id": dict(reversed(headers))["id"].decode(), "key": message.key() and message.key().decode(),
                          "partition": message.partition(), "offset": message.offset(), "value": message.value(),
                          "headers": headers, "time": message.timestamp()[1]})
        consumer.close()
        return found

    def proxied(self):
        """A Proxy, and the address that goes through it. Clients follow it, since Kafka tells them that address too."""
        return Proxy(self.proxied_port, self.proxy_port), f"127.0.0.1:{self.proxy_port}"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory, onewrite):
    if not shutil.which("java"):
        pytest.skip("no Java to run Apache Kafka with")
    pytest.importorskip("confluent_kafka", reason="no python3-confluent-kafka to read back with")
    if '"kafka":true' not in subprocess.run([onewrite, "version", "-o", "json"], capture_output=True, text=True).stdout:
        pytest.skip("this build has no librdkafka")
    server = Kafka(tmp_path_factory.mktemp("kafka"))
    yield server
    server.stop(signal.SIGKILL)
