"""A device's end of a connection to our listener, packet by packet: for what no well-behaved client would send."""

import asyncio
from types import TracebackType

from gateway.mqtt.encode import encode
from gateway.mqtt.packet import V5, Connack, Connect, Packet
from gateway.mqtt.stream import PacketReader


class Device:
    """An async context manager: connected inside the block, with the socket closed after it."""

    def __init__(self, port: int, *, version: int = V5) -> None:
        self._port = port
        self._version = version
        self._packets = PacketReader(version=version, max_packet_size=1_000_000)
        self._arrived: list[Packet] = []

    async def __aenter__(self) -> "Device":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    def send(self, *packets: Packet | bytes) -> None:
        self.writer.write(b"".join(one if isinstance(one, bytes) else encode(one, self._version) for one in packets))

    async def connect(self, client_id: str = "device", **fields: object) -> Connack:
        """Send CONNECT and return the answer."""
        self.send(Connect(client_id=client_id, version=self._version, **fields))
        answer = await self.receive()
        assert isinstance(answer, Connack)
        return answer

    async def receive(self, *, deadline_s: float = 5) -> Packet | None:
        """The next packet; None once the other side has closed."""
        async with asyncio.timeout(deadline_s):
            while not self._arrived:
                try:
                    data = await self.reader.read(65_536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._arrived += self._packets.feed(data)
        return self._arrived.pop(0)
