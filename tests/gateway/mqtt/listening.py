"""A listener with somebody behind it, as the tests of it have it."""

import asyncio
import collections
from contextlib import asynccontextmanager

from gateway.endpoint import Endpoint
from gateway.mqtt.access import Peer
from gateway.mqtt.device import ListenerLimits
from gateway.mqtt.listener import Listener
from gateway.mqtt.packet import (
    Publish,
)

LOOPBACK = Endpoint(host="127.0.0.1", port=0, is_tls=False)


class Anyone:
    """Admits all but user "mallory"; lets a client subscribe to what begins with its own name."""

    def __init__(self):
        self.was_asked = asyncio.Event()

    async def admit(self, connect, origin):
        return 0x86 if connect.username == "mallory" else Peer(connect.client_id or "nameless", connect.username)

    def may_subscribe(self, peer, topic):
        self.was_asked.set()
        return 0 if topic.startswith(f"{peer.client_id}/") else 0x87


class Stored:
    """Takes every message, answers with `code`; holds the answers back while `gate` is closed."""

    def __init__(self):
        self.messages = []
        self.bursts = []
        self.counters = collections.Counter()
        self.code = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._news = asyncio.Condition()

    def count(self, name):
        self.counters[name] += 1

    async def take(self, packet, peer):
        (code,) = await self._take_all([packet], peer)
        return code

    def take_burst(self, burst, peer):
        self.bursts.append(len(burst.payloads))
        rows = zip(burst.topics, burst.payloads, burst.packet_ids, strict=True)
        packets = [Publish(topic, data, 1, packet_id=int.from_bytes(number, "big")) for topic, data, number in rows]
        return asyncio.ensure_future(self._take_all(packets, peer))

    async def _take_all(self, packets, peer):
        async with self._news:
            self.messages += [(packet, peer) for packet in packets]
            self._news.notify_all()
        await self.gate.wait()
        return [self.code] * len(packets)

    async def wait_for(self, count):
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: len(self.messages) >= count)

    @property
    def payloads(self):
        return [packet.payload for packet, _ in self.messages]


@asynccontextmanager
async def serving(stored, *, policy=None, on_publish=None, **limits):
    listener = Listener(
        LOOPBACK,
        on_publish=on_publish or stored.take,
        on_burst=None if on_publish else stored.take_burst,
        policy=policy or Anyone(),
        count=stored.count,
        limits=ListenerLimits(**limits),
    )
    async with listener:
        running = asyncio.create_task(listener.run())
        try:
            yield listener
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
