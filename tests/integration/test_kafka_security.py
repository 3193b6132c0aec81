# SPDX-License-Identifier: Apache-2.0
"""Who may come in to a real Apache Kafka, and what he may do there: SASL, certificates, rights; and what is said where not."""

import json
import os
import signal

import pytest
from conftest import wait_for
from kafka import Kafka
from oracle import compare
from test_kafka import end, shop  # noqa: F401 (a fixture)

ALL_RIGHT = (0, 0, 0, 0)


@pytest.fixture(autouse=True)
def lenient(monkeypatch):
    """librdkafka copies parts of what a broker has sent by strndup(), which gcc's AddressSanitizer takes for a reading too far."""
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":strict_string_checks=0")


@pytest.fixture
def config(tmp_path, topic):
    """config(address, "broker: options"): the path of a configuration of one relay."""

    def write(address, options, more=""):
        (tmp_path / "onewrite.yaml").write_text(
            f"version: 1\nstores: {{ shop: sqlite:shop.db }}\nbrokers:\n  bus: {{ url: 'kafka://{address}', {options} }}\n"
            f"relays:\n- {{ name: orders, from: {{ store: shop }}, to: {{ broker: bus, topic: {topic} }}{more} }}\n")
        return "onewrite.yaml"

    return write


def sasl(kafka, mechanism, password="ow-secret", user="ow"):
    return f"tls: {{ ca: '{kafka.ca}' }}, sasl: {{ mechanism: {mechanism}, username: {user}, password: '{password}' }}"


def certificate(kafka, name, key="client"):
    return f"tls: {{ ca: '{kafka.ca}', cert: '{kafka.folder}/{name}.crt', key: '{kafka.folder}/{key}.key' }}"


def refused(run, config, status, *words, seconds=20):
    """Each command says it in one line, and soon. status None: it is no matter of the cluster, and check has but one status."""
    for command in ("check", "run"):
        done = run(command, config, status=status, timeout=seconds)
        assert done.returncode != 0
        said = done.stderr
        last = [line for line in said.splitlines() if line.startswith("onewrite: ")]
        assert len(last) == 1, said
        assert all(word in last[0] for word in words), said
    return said


def publishes(run, start, shop, kafka, topic, config):
    shop.place(orders=5)
    run("check", config)
    relay = start("run", config)
    wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
    end(relay)
    assert compare(shop.truth(), kafka.records(topic)) == ALL_RIGHT


# --- SASL -----------------------------------------------------------------------------------------------------


def has_good_scram(run):
    """librdkafka before 2.6.1 sends the client's nonce twice, which Kafka takes no more from 4.0 on."""
    library = json.loads(run("version", "-o", "json").stdout)["libraries"]["librdkafka"]
    return tuple(int(part) for part in library.split("-")[0].split(".")) >= (2, 6, 1)


@pytest.fixture
def kafka_of_scram(run, request, is_long, tmp_path_factory):
    """One that takes the SCRAM of this build's library; it comes by Maven, so where it is an old one only with --long."""
    if has_good_scram(run):
        yield request.getfixturevalue("kafka")
    elif not is_long:
        pytest.skip("an older Kafka for an old librdkafka: with --long")
    else:
        server = Kafka(tmp_path_factory.mktemp("kafka"), version="3.9.1")
        yield server
        server.stop(signal.SIGKILL)


@pytest.mark.parametrize("mechanism", ["scram-sha-256", "scram-sha-512"])
def test_scram(run, start, shop, kafka_of_scram, topic, config, mechanism):
    kafka = kafka_of_scram
    publishes(run, start, shop, kafka, topic, config(kafka.secure, sasl(kafka, mechanism)))
    said = refused(run, config(kafka.secure, sasl(kafka, mechanism, "not-it")), 77, "does not let us in", "uthentication failed")
    assert "not-it" not in said


def test_the_scram_of_an_old_library(run, shop, kafka, config):
    if has_good_scram(run):
        pytest.skip("the library is new enough")
    refused(run, config(kafka.secure, sasl(kafka, "scram-sha-512")), 77, "Kafka 4.0", "librdkafka 2.6.1")


@pytest.mark.parametrize("mechanism", ["plain", "scram-sha-256", "scram-sha-512"])
@pytest.mark.parametrize("user", ["ow", "nobody"])
def test_a_wrong_password_or_user(run, shop, kafka, config, mechanism, user):
    said = refused(run, config(kafka.secure, sasl(kafka, mechanism, "not-it", user)), 77, "does not let us in", "uthentication failed")
    assert "not-it" not in said


def test_without_sasl_or_without_tls(run, shop, kafka, config):
    """It does not stand still until somebody gives up."""
    refused(run, config(kafka.secure, f"tls: {{ ca: '{kafka.ca}' }}"), 69, "cannot reach")
    refused(run, config(kafka.secure, "compression: none"), 69, "cannot reach")
    refused(run, config(kafka.bootstrap, f"tls: {{ ca: '{kafka.ca}' }}"), 69, "cannot reach", "SSL")


def test_token(run, start, shop, kafka, topic, config, tmp_path):
    token = tmp_path / "token"
    token.write_text(kafka.token() + "\n")
    publishes(run, start, shop, kafka, topic, config(kafka.secure, f"tls: {{ ca: '{kafka.ca}' }}, sasl: {{ mechanism: oauthbearer, token_file: token }}"))


def test_a_token_that_is_not_good(run, shop, kafka, config, tmp_path):
    where = config(kafka.secure, f"tls: {{ ca: '{kafka.ca}' }}, sasl: {{ mechanism: oauthbearer, token_file: token }}")
    refused(run, where, 77, "token", "No such file")
    (tmp_path / "token").write_text("")
    refused(run, where, 77, "token", "one line")
    for bad in (kafka.token(seconds=-3600), "no-token", "a.b.c"):
        (tmp_path / "token").write_text(bad)
        said = refused(run, where, 77, "does not let us in")
        assert bad not in said


# --- certificates ---------------------------------------------------------------------------------------------


def test_a_certificate_of_ours(run, start, shop, kafka, topic, config):
    publishes(run, start, shop, kafka, topic, config(kafka.mutual, certificate(kafka, "client")))


def test_no_certificate_of_ours(run, shop, kafka, config):
    refused(run, config(kafka.mutual, f"tls: {{ ca: '{kafka.ca}' }}"), 69, "certificate")


def test_an_expired_certificate_of_ours(run, shop, kafka, config):
    refused(run, config(kafka.mutual, certificate(kafka, "expired-client")), 69, "certificate")


def test_a_certificate_without_its_key(run, shop, kafka, config, tmp_path):
    refused(run, config(kafka.mutual, certificate(kafka, "client", "server")), None, "key")
    refused(run, config(kafka.mutual, certificate(kafka, "missing")), None, "cannot read", "missing.crt")


def test_an_expired_certificate_of_theirs(run, shop, kafka, config):
    refused(run, config(kafka.expired, f"tls: {{ ca: '{kafka.ca}' }}"), 69, "the certificate of the broker has expired")


def test_a_certificate_for_another_name(run, shop, kafka, config):
    refused(run, config(kafka.expired.replace("127.0.0.1", "localhost"), f"tls: {{ ca: '{kafka.ca}' }}"), 69, "the certificate of the broker")
    refused(run, config(kafka.secure.replace("127.0.0.1", "localhost"), sasl(kafka, "plain")), 69, "is for another host name")


def test_an_authority_that_is_not_there(run, shop, kafka, config):
    refused(run, config(kafka.secure, "tls: { ca: nowhere.pem }"), None, "cannot read nowhere.pem")
    refused(run, config(kafka.secure, f"tls: {{ ca: '{kafka.other_ca}' }}"), 69, "is not from an authority that we know")
    refused(run, config(kafka.secure, "tls: true"), 69, "is not from an authority that we know")


# --- rights ---------------------------------------------------------------------------------------------------

RETRY = ", retry: { initial: 10ms, max: 50ms, max_attempts: 3 }"


@pytest.mark.parametrize("operation", ["Write", "Describe"])
def test_a_topic_that_this_user_may_not_write_to(start, shop, kafka, topic, config, operation):
    """Set aside with the reason."""
    kafka.create(topic)
    kafka.deny("guest", (operation, topic))
    shop.place(orders=3)
    relay = start("run", config(kafka.secure, sasl(kafka, "plain", user="guest"), RETRY))
    wait_for(lambda: len(shop.dead_letters()) == 3, "dead letters")
    end(relay)
    assert {reason for _, reason in shop.dead_letters()} == {f"topic {topic}: this user may not write to it"}
    assert kafka.records(topic) == []


def test_others_go_on_meanwhile(start, run, shop, kafka, topic, config, tmp_path):
    """What goes to another topic passes what waits for a right, and comes once, although a refused request ends a producer."""
    kafka.create(f"{topic}-free")
    kafka.create(f"{topic}-locked")
    kafka.deny("guest", ("Write", f"{topic}-locked"))
    shop.place(orders=3)
    insert = "INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload) VALUES (?, ?, ?, 'T', '{}')"
    for n in range(20):
        shop.db.execute(insert, (f"{n}", "free" if n % 2 else "locked", f"k{n}"))
    where = config(kafka.secure, sasl(kafka, "plain", user="guest"))
    path = tmp_path / where
    path.write_text(path.read_text().replace(f"topic: {topic}", f"topic: '{topic}-${{!aggregatetype}}'"))
    relay = start("run", where)
    wait_for(lambda: len({r["id"] for r in kafka.records(f"{topic}-free")}) == 10, "the others")
    assert shop.dead_letters() == []
    end(relay)
    assert sorted(int(r["id"]) for r in kafka.records(f"{topic}-free")) == list(range(1, 20, 2))


def test_a_topic_that_this_user_may_not_make(start, shop, kafka, topic, config):
    kafka.deny("guest", ("Create", topic), ("Create", None))
    shop.place(orders=2)
    relay = start("run", config(kafka.secure, sasl(kafka, "plain", user="guest"), RETRY))
    wait_for(lambda: len(shop.dead_letters()) == 2, "dead letters")
    end(relay)
    (_, reason), _ = shop.dead_letters()
    assert reason.startswith(f"topic {topic} does not exist; it could not be made: ") and "uthoriz" in reason
    assert topic not in kafka.topics()


def test_a_user_who_may_write_nowhere(run, shop, kafka, topic, config):
    """Not the fault of a message: nothing is set aside."""
    kafka.create(topic)
    kafka.deny("poor", ("Write", "*"), ("IdempotentWrite", None))
    shop.place(orders=2)
    said = run("run", config(kafka.secure, sasl(kafka, "plain", user="poor")), status=77).stderr
    assert "uthoriz" in said.splitlines()[-1]
    assert shop.dead_letters() == [] and shop.waiting() == 2


# --- topics that are made -------------------------------------------------------------------------------------


def test_topics_are_made_with_their_options(start, shop, kafka, topic, config):
    from confluent_kafka.admin import ConfigResource
    shop.place(orders=5)
    options = "topics: { partitions: 7, replication: 1, config: { retention.ms: 3600000, cleanup.policy: compact, min.insync.replicas: 1 } }"
    relay = start("run", config(kafka.bootstrap, options))
    wait_for(lambda: shop.waiting() == 0, "the outbox to be empty")
    end(relay)
    made = kafka.topics()[topic]
    assert len(made.partitions) == 7 and {len(partition.replicas) for partition in made.partitions.values()} == {1}
    admin = kafka.admin()
    (future,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    is_set = {name: entry.value for name, entry in future.result(20).items()}
    assert (is_set["retention.ms"], is_set["cleanup.policy"], is_set["min.insync.replicas"]) == ("3600000", "compact", "1")


def test_a_topic_with_an_option_that_is_none(start, shop, kafka, topic, config):
    shop.place(orders=1)
    relay = start("run", config(kafka.bootstrap, "topics: { config: { cleanup.policy: sometimes } }", RETRY))
    wait_for(lambda: len(shop.dead_letters()) == 1, "a dead letter")
    end(relay)
    (_, reason), = shop.dead_letters()
    assert reason.startswith(f"topic {topic} does not exist; it could not be made: ") and "cleanup.policy" in reason
    assert topic not in kafka.topics()
