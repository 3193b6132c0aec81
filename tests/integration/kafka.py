# SPDX-License-Identifier: Apache-2.0
"""A real Apache Kafka for the tests: one node (KRaft) from its published jars, on free ports of the loopback.

The jars come by Maven, once, into build/kafka-VERSION. Listeners:

`bootstrap`   plain
`secure`      TLS (authority in `ca`) and SASL: PLAIN and SCRAM with user `ow` and password `ow-secret` (PLAIN also with
              `guest` and `poor`), OAUTHBEARER with unsigned tokens, see `token`
`mutual`      TLS with a certificate of the client: client.crt and client.key, or expired.crt, in `folder`
`expired`     TLS with a certificate that was good until yesterday
`proxied()`   plain, behind a proxy

Who comes by a plain listener may do everything; of others `deny` takes a right away.
"""

import base64
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest
from maven import fetching, maven
from ports import free_ports
from proxy import Proxy

VERSION = "4.1.0"
BUILD = pathlib.Path(__file__).resolve().parents[2] / "build"
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
listeners=PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},MUTUAL://127.0.0.1:{mutual},EXPIRED://127.0.0.1:{expired},PROXIED://127.0.0.1:{proxied},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},MUTUAL://127.0.0.1:{mutual},EXPIRED://127.0.0.1:{expired},PROXIED://127.0.0.1:{proxy}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,SECURE:SASL_SSL,MUTUAL:SSL,EXPIRED:SSL
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
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.mutual.ssl.client.auth=required
listener.name.expired.ssl.keystore.type=PEM
listener.name.expired.ssl.keystore.location={folder}/expired-server.pem
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_ow="ow-secret" user_guest="ow-secret" user_poor="ow-secret";
"""


def jars(version):
    """The folder with them; skips where they cannot be had."""
    folder = BUILD / f"kafka-{version}"
    with fetching(folder) as is_missing:
        if is_missing:
            (folder / "pom.xml").write_text(POM.format(version))
            maven(f"Apache Kafka {version}", "copy-dependencies", "-f", folder / "pom.xml", "-DincludeScope=runtime",
                  f"-DoutputDirectory={folder}/jars")
    return folder / "jars"


def make_certificates(folder):
    """An authority; keys with certificates for 127.0.0.1 and for a client, good and expired; *.pem: as Kafka reads them."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def certify(name, key, days):
        openssl("x509", "-req", "-in", f"{key}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-extfile", "names",
                "-out", f"{name}.crt")
        (folder / f"{name}.pem").write_text((folder / f"{key}.key").read_text() + (folder / f"{name}.crt").read_text())

    for authority in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-days", "2",
                "-subj", f"/CN={authority}")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for key, subject in (("server", "/CN=127.0.0.1"), ("client", "/CN=onewrite")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{key}.key", "-out", f"{key}.csr", "-subj", subject)
        certify(key, key, "2")
        certify(f"expired-{key}", key, "-1")


# Of the protocol of Kafka.
TOPIC, CLUSTER = 2, 4
OPERATIONS = {"All": 2, "Read": 3, "Write": 4, "Create": 5, "Describe": 8, "IdempotentWrite": 12}

SMALL = ["-Xms64m", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


class Kafka:
    def __init__(self, folder, java=SMALL, version=VERSION):
        self.folder, self.process, self.java_options = folder, None, java
        self.plain, secure, mutual, expired, self.proxied_port, self.controller, self.proxy_port = free_ports(7)
        self.bootstrap, self.secure, self.mutual, self.expired = (f"127.0.0.1:{port}" for port in (self.plain, secure, mutual, expired))
        self.ca, self.other_ca = folder / "ca.pem", folder / "other.pem"
        make_certificates(folder)
        (folder / "server.properties").write_text(PROPERTIES.format(
            plain=self.plain, secure=secure, mutual=mutual, expired=expired, proxied=self.proxied_port, controller=self.controller,
            proxy=self.proxy_port, folder=folder))
        self.environment = {**os.environ, "CLASSPATH": f"{jars(version)}/*"}
        self.java("-Xmx256m", "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", "server.properties",
                  *(word for sha in (256, 512) for word in ("--add-scram", f"SCRAM-SHA-{sha}=[name=ow,password=ow-secret]")))
        self.start()

    def java(self, *arguments, input=None):
        subprocess.run(["java", "-XX:TieredStopAtLevel=1", *arguments], cwd=self.folder, env=self.environment, check=True,
                       capture_output=True, timeout=60, input=input)

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

    def permit(self, *rules):
        """ACLs, each ("User:ow", operation, "allow" or "deny", topic or None for the cluster), as one request of the protocol: no
        client that Debian has can ask for them."""
        def short(text):
            return struct.pack(">h", len(text)) + text.encode()

        body = struct.pack(">i", len(rules))
        for principal, operation, verdict, topic in rules:
            kind, name = (TOPIC, topic) if topic else (CLUSTER, "kafka-cluster")
            body += struct.pack(">b", kind) + short(name) + b"\3" + short(principal) + short("*")
            body += struct.pack(">bb", OPERATIONS[operation], {"deny": 2, "allow": 3}[verdict])
        request = struct.pack(">hhi", 30, 1, 7) + short("tests") + body  # CreateAcls, version 1
        with socket.create_connection(("127.0.0.1", self.plain), 20) as connection, connection.makefile("rb") as answer:
            connection.sendall(struct.pack(">i", len(request)) + request)
            size, = struct.unpack(">i", answer.read(4))
            data = answer.read(size)[12:]
        for _ in rules:
            code, length = struct.unpack(">hh", data[:4])
            assert code == 0, data
            data = data[4 + max(length, 0):]

    def deny(self, user, *rights):
        """Takes rights away from a user of `secure`, each (operation, topic or None). With the first rule all that is not said is
        forbidden, so all others are allowed everything."""
        everybody = ("User:*", "All", "allow")
        self.permit((*everybody, "*"), (*everybody, None), *((f"User:{user}", operation, "deny", topic) for operation, topic in rights))

    def token(self, subject="ow", seconds=3600):
        """What `secure` takes for OAUTHBEARER: a token that nobody has signed."""
        now = int(time.time())
        parts = ({"alg": "none"}, {"sub": subject, "iat": now - 10, "exp": now + seconds})
        return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."

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


@pytest.fixture
def topic(request):
    """A name of its own for each test."""
    return request.node.name.replace("[", ".").replace("]", "")
