# SPDX-License-Identifier: Apache-2.0
"""From PostgreSQL to Kafka while one of them is away, or the relay itself is stopped: order, bounds, and who is at work.

`./dev test --long` runs the long forms: an outage of 60 s, 20 crashes of the server.
"""

import signal
import threading
import time

import pytest
from conftest import wait_for
from faults import own_server, own_ways, ports_of, resident_kib, sleep_while, tell, way  # noqa: F401
from kafka import *  # noqa: F403 (fixtures)
from postgres import pg_database, pg_server  # noqa: F401 (fixtures)

MIB = 1024  # of KiB


@pytest.mark.server(wal_sender_timeout="8s")
def test_the_broker_is_away(own_ways, kafka, is_long):
    """Everything waits: nothing is lost or set aside, memory has a bound, and the server keeps its connections."""
    for way in own_ways:
        way.window = 1000
    relays, writers = [way.relay() for way in own_ways], [way.writer(pause_s=0.05) for way in own_ways]
    for way in own_ways:
        way.works_on()
    readers = [way.slot() and way.slot()[1] for way in own_ways]
    kafka.stop(signal.SIGKILL)
    started = time.monotonic()
    try:
        for way in own_ways:
            way.place_bulk(messages=10000, size=2000)
        for relay in relays:
            sleep_while(relay, (60 if is_long else 9) - (time.monotonic() - started))
        held = [way.slot() and way.slot()[1] for way in own_ways]
        resident = [resident_kib(relay) for relay in relays]
    finally:
        kafka.start()
    away = time.monotonic() - started
    assert held == readers, f"the server has cut a connection: {[way.said() for way in own_ways]}"
    for writer in writers:
        writer.stop()
    for way, relay in zip(own_ways, relays):
        wait_for(lambda way=way: way.count() >= 10000, f"the relay to go on; it said: {way.said()[-1500:]}", 120)
        verdict = way.finish(relay, duplicates=way.window)  # a broker that was killed has forgotten what it had not told
        tell(way=way.name, away_s=round(away), committed=len(way.shop.truth()), duplicates=verdict.duplicates)
    assert max(resident) < 64 * MIB, f"{resident} KiB"
    tell(resident_kib=resident)


def test_the_relay_is_ended_while_the_broker_is_away(own_ways, kafka):
    """It may be in the middle of a call that waits for an answer."""
    relays, writers = [way.relay() for way in own_ways], [way.writer() for way in own_ways]
    for way in own_ways:
        way.works_on()
    kafka.stop(signal.SIGKILL)
    try:
        for relay in relays:
            sleep_while(relay, 1)
            relay.send_signal(signal.SIGTERM)
        started = time.monotonic()
        for way, relay in zip(own_ways, relays):
            assert relay.wait(60) == 0, way.said()
        took = time.monotonic() - started
    finally:
        kafka.start()
    for way, writer in zip(own_ways, writers):
        writer.stop()
        way.once()
        way.must_hold(duplicates=way.window)
    assert took < 15, f"{took} s"
    tell(ended_within_s=round(took, 1))


@pytest.mark.parametrize("way", ["log"], indirect=True)
def test_a_relay_starts_while_kafka_starts(way, kafka, is_long):
    """It asks for its position a coordinator that is not one yet."""
    way.once()
    for _ in range(10 if is_long else 1):
        way.shop.place(orders=5)
        kafka.stop(signal.SIGKILL)
        starting = threading.Thread(target=kafka.start)
        starting.start()
        while starting.is_alive():
            relay = way.relay("--until-end")
            assert relay.wait(60) in (0, 69), f"{relay.returncode}: {way.said()}"
        starting.join()
    way.once()
    way.must_hold()


@pytest.mark.server(checkpoint_timeout="1h")
def test_the_server_crashes_again_and_again(own_ways, own_server, is_long):
    """Its slots go back to the last checkpoint, that is, to where they were made."""
    restarts = 20 if is_long else 3
    relays, writers = [way.relay() for way in own_ways], [way.writer(pause_s=0.03) for way in own_ways]
    for _ in range(restarts):
        for way in own_ways:
            way.works_on()
        own_server.restart("immediate")
        for way in own_ways:
            way.database.reconnect()
    for way, relay, writer in zip(own_ways, relays, writers):
        way.works_on()
        writer.stop()
        way.shop.reconnect()
        verdict = way.finish(relay, duplicates=restarts * way.window)
        tell(way=way.name, restarts=restarts, committed=len(way.shop.truth()), duplicates=verdict.duplicates)


def at_work(way, relays):
    """The one of them that streams, or, by polling, any."""
    if way.by == "polling":
        return relays[0]
    port = wait_for(lambda: way.database.query("SELECT client_port FROM pg_stat_replication r JOIN pg_replication_slots s "
                                               "ON r.pid = s.active_pid WHERE s.database = %s", way.database.name), "one to stream")[0][0]
    found = [relay for relay in relays if port in ports_of(relay)]
    assert len(found) == 1
    return found[0]


@pytest.mark.server(wal_sender_timeout="2s")
def test_a_relay_that_was_stopped(own_ways, is_long):
    """Another one takes over; the first, resumed, stands by or shares, and spoils nothing."""
    rounds = 10 if is_long else 1
    relays = [(way.relay(), way.relay()) for way in own_ways]
    writers = [way.writer(pause_s=0.03) for way in own_ways]
    for _ in range(rounds):
        for way in own_ways:
            way.works_on()
        stopped = [at_work(way, pair) for way, pair in zip(own_ways, relays)]
        for relay in stopped:
            relay.send_signal(signal.SIGSTOP)
        for way in own_ways:
            way.works_on(more=3 * way.window)  # what was in flight is no more than a window
        for relay in stopped:
            relay.send_signal(signal.SIGCONT)
        for way in own_ways:
            way.works_on()
    for way, pair, writer in zip(own_ways, relays, writers):
        writer.stop()
        pair[1].send_signal(signal.SIGTERM)
        assert pair[1].wait(30) == 0, way.said()[-3000:]
        verdict = way.finish(pair[0], duplicates=2 * rounds * way.window)
        tell(way=way.name, rounds=rounds, committed=len(way.shop.truth()), duplicates=verdict.duplicates)
