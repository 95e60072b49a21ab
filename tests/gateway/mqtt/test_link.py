"""When a link tries again: soon, not in step with others, and more patiently where broker or person must act."""

import asyncio
import random
from contextlib import suppress

import pytest

from gateway.mqtt.link import Link
from gateway.mqtt.packet import Connack
from tests.gateway.mqtt.test_client import options
from tests.peers.scripted_broker import ScriptedBroker


class NoWait(random.Random):
    """Notes between which bounds each wait was drawn, and draws none; after `most` draws, for ever."""

    def __init__(self, most):
        super().__init__()
        self.bounds = []
        self.is_done = asyncio.Event()
        self._most = most

    def uniform(self, a, b):
        self.bounds.append((a, b))
        if len(self.bounds) < self._most:
            return 0.0
        self.is_done.set()
        return 1e6


async def waits(port, most):
    """The bounds of the first waits of a link whose broker does not let it in."""
    rng = NoWait(most)
    link = Link(options(port), name="test", rng=rng)
    running = asyncio.create_task(link.run(lambda session: asyncio.Event().wait()))
    async with asyncio.timeout(20):
        await rng.is_done.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return rng.bounds


async def test_city_that_is_away_is_tried_with_full_jitter_that_stays_short(unused_tcp_port):
    assert await waits(unused_tcp_port, 8) == [(0, 1), (0, 2), (0, 4), (0, 5), (0, 5), (0, 5), (0, 5), (0, 5)]


async def test_broker_that_says_it_is_busy_is_given_time():
    async with ScriptedBroker(lambda packet: [Connack(False, 0x89)]) as broker:
        assert await waits(broker.port, 7) == [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (0, 30), (0, 30)]


@pytest.mark.parametrize("code", [0x86, 0x87, 0x84])
async def test_broker_that_refuses_us_is_not_hammered_while_a_person_has_to_act(code):
    async with ScriptedBroker(lambda packet: [Connack(False, code)]) as broker:
        assert await waits(broker.port, 3) == [(0.5, 1.0)] * 3


async def test_a_thousand_gateways_that_lost_the_same_city_come_back_over_the_whole_wait():
    links = [Link(options(1), name="test", rng=random.Random(seed)) for seed in range(1_000)]
    for link in links:
        link.state = "unreachable"
    for bound_s in (1, 2, 4, 5):
        drawn = sorted(link._next_wait_s() for link in links)
        for tenth in range(10):
            share = sum(bound_s * tenth / 10 <= wait_s < bound_s * (tenth + 1) / 10 for wait_s in drawn)
            assert 50 < share < 150
