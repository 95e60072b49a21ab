"""A broker that says what a test tells it to: refusal codes no real broker gives on request, silence, nonsense.

Stands only for answers that mosquitto and iotcore cannot be made to give; the same client tests run against both.
"""

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType

from gateway.mqtt.encode import encode
from gateway.mqtt.packet import (
    V5,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
)
from gateway.mqtt.stream import PacketReader

CLOSE = Disconnect()  # as the last answer: close the connection, after what was sent before it
Answer = Callable[[Packet], Iterable[Packet | bytes] | None]


def accept_all(packet: Packet) -> Iterable[Packet | bytes]:
    """What a broker that takes everything says."""
    match packet:
        case Connect():
            return [Connack(False, 0)]
        case Publish() if packet.qos:
            return [Puback(packet.packet_id)]
        case Subscribe():
            return [Suback(packet.packet_id, [one.qos for one in packet.subscriptions])]
        case Pingreq():
            return [Pingresp()]
    return []


class ScriptedBroker:
    """An async context manager. `answer` gives the packets (or bytes) to send back; None closes the connection.

    received  every packet that came, in order
    """

    def __init__(self, answer: Answer = accept_all) -> None:
        self.answer = answer
        self.received: list[Packet] = []
        self.port = 0
        self._news = asyncio.Condition()
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "ScriptedBroker":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def published(self) -> list[Publish]:
        return [packet for packet in self.received if isinstance(packet, Publish)]

    async def wait_for(self, is_there: Callable[[], object], *, deadline_s: float = 5) -> None:
        """Return once `is_there()` holds; it is asked again after each packet."""
        async with asyncio.timeout(deadline_s), self._news:
            await self._news.wait_for(is_there)

    def send(self, *packets: Packet | bytes) -> None:
        """Send these to who connected last, unasked."""
        assert self._writer is not None
        for one in packets:
            self._writer.write(one if isinstance(one, bytes) else encode(one, V5))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writer = writer
        packets = PacketReader(version=None, max_packet_size=1_000_000)
        try:
            while data := await reader.read(65_536):
                for packet in packets.feed(data):
                    if not await self._take(packet, writer):
                        return
        except (ConnectionError, asyncio.CancelledError):
            pass  # the other side went away, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _take(self, packet: Packet, writer: asyncio.StreamWriter) -> bool:
        async with self._news:
            self.received.append(packet)
            answers = self.answer(packet)
            self._news.notify_all()
        if answers is None:
            return False
        for one in answers:
            if one is CLOSE:
                return False
            writer.write(one if isinstance(one, bytes) else encode(one, V5))
        await writer.drain()
        return True
