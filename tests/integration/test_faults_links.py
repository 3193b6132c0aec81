# SPDX-License-Identifier: Apache-2.0
"""From PostgreSQL to Kafka over links that cut, half-close, delay, crawl and stall: nothing lost, nothing set aside.

`./dev test --long` cuts more often, and stalls until both sides have noticed: the replication connection after
OW_PG_SILENT_MS (60 s), other connections to PostgreSQL after the time of a statement and 5 s (35 s), Kafka after 60 s
(socket.timeout.ms).
"""

import random
import time
import urllib.parse

import pytest
from conftest import wait_for
from faults import IS_LONG, own_server, own_ways, sleep_while, tell  # noqa: F401 (fixtures)
from kafka import *  # noqa: F403 (fixtures)
from proxy import Proxy


@pytest.fixture
def links(own_ways, own_server, kafka):
    """(ways through both proxies, the proxy of PostgreSQL, that of Kafka)"""
    kafka_proxy, address = kafka.proxied()
    with Proxy(own_server.port) as pg_proxy, kafka_proxy:
        for way in own_ways:
            parts = urllib.parse.urlsplit(way.pg_url)
            way.pg_url = parts._replace(netloc=f"postgres@127.0.0.1:{pg_proxy.port}").geturl()
            way.kafka_url = f"kafka://{address}"
        yield own_ways, pg_proxy, kafka_proxy


def begin(ways):
    relays, writers = [way.relay() for way in ways], [way.writer(pause_s=0.05) for way in ways]
    for way in ways:
        way.works_on()
    return relays, writers


def end(ways, relays, writers, faults, **more):
    for writer in writers:
        writer.stop()
    for way, relay in zip(ways, relays):
        way.works_on(more=0)
        verdict = way.finish(relay, duplicates=faults * way.window)
        tell(way=way.name, committed=len(way.shop.truth()), duplicates=verdict.duplicates, **more)


@pytest.mark.parametrize("which", ["postgres", "kafka", "both"] if IS_LONG else ["both"])
def test_cuts_half_closes_and_delays(links, is_long, which):
    ways, *proxies = links
    proxies = {"postgres": proxies[:1], "kafka": proxies[1:], "both": proxies}[which]
    relays, writers = begin(ways)
    dice, cut, halves = random.Random(which), 0, 0
    for n in range(60 if is_long else 6):
        sleep_while(relays[0], 0.2 + dice.random() * 0.6)
        proxy = dice.choice(proxies)
        proxy.delay = dice.choice((0, 0, 0.01, 0.05))
        if n % 3 == 2:
            proxy.half_close()
            halves += 1
        else:
            cut += proxy.cut()
    for proxy in proxies:
        proxy.delay = 0
    for way in ways:
        way.works_on()
    assert cut > 5, "connections were really cut"
    end(ways, relays, writers, cut + halves, cut=cut, half_closed=halves)


def test_slow_links(links, is_long):
    """A server whose reader is slow, and a broker that takes little at a time: what is read ahead has its bound."""
    ways, pg_proxy, kafka_proxy = links
    relays, writers = begin(ways)
    for writer in writers:
        writer.stop()
    for proxy in (pg_proxy, kafka_proxy):
        proxy.slow = 200000
        wanted = [way.count() + 100 for way in ways]
        for way in ways:
            way.place_bulk(messages=100, size=2000, customer=f"bulk{'-pg' if proxy is pg_proxy else '-kafka'}")
        for way, count in zip(ways, wanted):
            wait_for(lambda way=way, count=count: way.count() >= count, f"the messages of {way.name}; it said: {way.said()[-1500:]}", 60)
        proxy.slow = None
    end(ways, relays, writers, 1)


def test_stalled_links(links, is_long):
    """Nothing passes, and nobody is told: what is sent again is bounded, and the stream goes on afterwards."""
    ways, pg_proxy, kafka_proxy = links
    relays, writers = begin(ways)
    for proxy, seconds in ((pg_proxy, 100 if is_long else 2), (kafka_proxy, 100 if is_long else 2)):
        before = proxy.accepted
        proxy.is_stalled = True
        sleep_while(relays[0], seconds)
        if is_long:
            assert proxy.accepted > before + 5, "they have not noticed"
        proxy.is_stalled = False
        for way in ways:
            way.works_on(seconds=90)
    end(ways, relays, writers, 6)


def test_a_stalled_stream_is_given_up(links, is_long):
    """While nothing is written: the server is asked after 30 s, and taken for gone after 60 s."""
    if not is_long:
        pytest.skip("with --long")
    ways, pg_proxy, _ = links
    relays, writers = begin(ways)
    for writer in writers:
        writer.stop()
    for way in ways:
        way.shop.db.close()
    time.sleep(2)
    started, pg_proxy.is_stalled = time.monotonic(), True
    streams = [(way, relay) for way, relay in zip(ways, relays) if way.by != "polling"]
    for way, _ in streams:
        wait_for(lambda way=way: "has not said anything" in way.said(), "it to be noticed", 75)
    took = time.monotonic() - started
    pg_proxy.cut()
    pg_proxy.is_stalled = False
    for way in ways:
        way.shop.reconnect()
        way.shop.place(orders=5)
        way.works_on(more=1, seconds=60)
    tell(noticed_after_s=round(took))
    end(ways, relays, writers, 1)
