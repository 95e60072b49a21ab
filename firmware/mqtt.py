"""A small MQTT 3.1.1 client: connect, subscribe to one topic, publish at QoS 0, ping. Every wait has a limit.

No QoS 1: the acknowledgement that counts is the sealed one inside. A packet longer than `max_packet`, or one that this
client cannot have asked for, ends the connection. Source: MQTT 3.1.1 (OASIS), section numbers below.
"""

import asyncio
import struct

from drivers.constant import const

_CONNACK = const(2)
_PUBLISH = const(3)
_SUBACK = const(9)
_PINGRESP = const(13)


class MqttError(Exception):
    """The connection is of no use any more: close it, and open another later."""


class MqttClient:
    """One connection. Make a new one for the next."""

    def __init__(self, *, max_packet=512, timeout_s=10):
        """timeout_s: for connecting, and for each packet that was begun or asked for."""
        self._max_packet = max_packet
        self._timeout_s = timeout_s
        self._reader = self._writer = None

    async def connect(self, host, port, client_id, *, keepalive_s, user="", password=""):
        """Open the connection with a clean session (3.1). Raises MqttError."""
        self._reader, self._writer = await self._within(asyncio.open_connection(host, port))
        body = _text("MQTT") + bytes([4, 0xC2 if user else 2]) + struct.pack(">H", keepalive_s) + _text(client_id)
        if user:
            body += _text(user) + _text(password)
        await self._send(0x10, body)
        answer = await self._expect(_CONNACK)
        if answer[1:] != b"\x00":
            raise MqttError("the server refuses us with code %d" % answer[-1])  # 4 and 5: user or password (3.2.2.3)

    async def subscribe(self, topic):
        """Subscribe at QoS 0 (3.8). Raises MqttError, also if the server refuses."""
        await self._send(0x82, b"\x00\x01" + _text(topic) + b"\x00")
        if await self._expect(_SUBACK) != b"\x00\x01\x00":
            raise MqttError("the subscription to %s was refused" % topic)

    async def publish(self, topic, payload):
        """Send one message at QoS 0 (3.3). Raises MqttError."""
        await self._send(0x30, _text(topic) + payload)

    async def ping(self):
        """Ask for a sign of life and wait for it (3.12). Raises MqttError."""
        await self._send(0xC0, b"")
        await self._expect(_PINGRESP)

    async def next_message(self, timeout_ms):
        """The payload of the next message, None if none begins within `timeout_ms`. Raises MqttError."""
        try:
            first = await asyncio.wait_for_ms(self._reader.read(1), timeout_ms)
        except asyncio.TimeoutError:
            return None
        except OSError as error:
            raise MqttError("connection lost: %s" % error)
        kind, packet = await self._rest_of(first)
        return _payload(packet) if kind == _PUBLISH else b""

    async def close(self):
        """Say good-bye if possible (3.14), and close. Never raises."""
        if self._writer is None:
            return
        try:
            await self._send(0xE0, b"")
        except MqttError:
            pass  # it is gone already
        self._writer.close()
        self._writer = None

    async def _expect(self, wanted):
        """The body of the next packet of kind `wanted`; messages before it are dropped."""
        for _ in range(8):
            kind, packet = await self._rest_of(await self._within(self._reader.readexactly(1)))
            if kind == wanted and (packet or wanted == _PINGRESP):
                return packet
            if kind != _PUBLISH:
                break
        raise MqttError("the server sent packet type %d, not %d" % (kind, wanted))

    async def _rest_of(self, first):
        """(kind, body) of the packet that begins with `first`."""
        if not first:
            raise MqttError("the server closed the connection")
        length, shift = 0, 0
        while True:
            digit = (await self._within(self._reader.readexactly(1)))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                break
            if shift > 21:
                raise MqttError("malformed packet length")
        if length > self._max_packet:
            raise MqttError("a packet of %d bytes; %d are the limit" % (length, self._max_packet))
        return first[0] >> 4, await self._within(self._reader.readexactly(length))

    async def _send(self, first, body):
        length = len(body)
        header = bytes([first])
        while True:
            header += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
            length >>= 7
            if not length:
                break
        await self._within(self._flush(header + body))

    async def _flush(self, data):
        self._writer.write(data)
        await self._writer.drain()

    async def _within(self, doing):
        """Its result, or MqttError if it fails or takes too long."""
        try:
            return await asyncio.wait_for(doing, self._timeout_s)
        except asyncio.TimeoutError:
            raise MqttError("no answer within %d s" % self._timeout_s)
        except (OSError, EOFError) as error:
            raise MqttError("connection lost: %s" % error)


def _text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def _payload(packet):
    """What follows the topic of a QoS 0 PUBLISH."""
    start = 2 + struct.unpack(">H", packet[:2])[0] if len(packet) >= 2 else 0
    if not 2 <= start <= len(packet):
        raise MqttError("malformed message")
    return packet[start:]
