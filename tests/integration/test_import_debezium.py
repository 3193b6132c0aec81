# SPDX-License-Identifier: Apache-2.0
"""onewrite import-debezium, from outside: what it prints where, with which status, and that validate takes it."""

GOOD = """\
debezium.source.connector.class=io.debezium.connector.postgresql.PostgresConnector
debezium.source.plugin.name=pgoutput
debezium.source.database.hostname=localhost
debezium.source.database.user=app
debezium.source.database.password=${ORDERS_PASSWORD}
debezium.source.database.dbname=orders
debezium.source.table.include.list=public.outbox
debezium.source.topic.prefix=orders
debezium.sink.type=kafka
debezium.sink.kafka.producer.bootstrap.servers=localhost:9092
debezium.transforms=outbox
debezium.transforms.outbox.type=io.debezium.transforms.outbox.EventRouter
debezium.transforms.outbox.route.topic.replacement=events.${routedByValue}
debezium.format.key=simplestring
"""


def write(path, text):
    path.write_text(text)
    return path


def test_what_it_prints_is_a_good_configuration(run, tmp_path):
    done = run("import-debezium", write(tmp_path / "application.properties", GOOD))
    assert done.stderr == ""
    assert "postgres://app:${ORDERS_PASSWORD}@localhost:5432/orders" in done.stdout
    assert 'route.topic.replacement: "events.$${routedByValue}"' in done.stdout
    config = write(tmp_path / "onewrite.yaml", done.stdout)
    assert "good: 1 store, 1 broker, 1 relay" in run("validate", config, env={"ORDERS_PASSWORD": "secret"}).stderr


def test_what_is_lost_is_told(run, tmp_path):
    file = write(tmp_path / "application.properties", GOOD + "debezium.format.value=avro\n")
    done = run("import-debezium", file, status=3)
    assert done.stderr == ("onewrite: debezium.format.value: this format is not carried over "
                           "(text, JSON and bytes are)\n")
    assert done.stdout.startswith("version: 1\n")


def test_what_stops_debezium_is_an_error(run, tmp_path):
    wrong = GOOD + "debezium.transforms.outbox.table.fields.additional.placement=type\n"
    done = run("import-debezium", write(tmp_path / "application.properties", wrong), status=78)
    assert done.stdout == ""
    assert "table.fields.additional.placement" in done.stderr


def test_other_files(run, tmp_path):
    run("import-debezium", tmp_path / "nosuch", status=4)
    assert "no event router" in run("import-debezium", write(tmp_path / "a.json", "{}"), status=1).stderr
    assert "not JSON" in run("import-debezium", write(tmp_path / "b.json", "{"), status=1).stderr
