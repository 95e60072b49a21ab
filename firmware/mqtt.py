"""A small MQTT 3.1.1 client: connect, subscribe to one topic, publish at QoS 0, ping. Every wait has a limit.

No QoS 1: the acknowledgement that counts is the sealed one inside. A packet longer than `max_packet`, or one that this
client cannot have asked for, ends the connection. Source: MQTT 3.1.1 (OASIS), section numbers below.
"""

import asyncio
import struct

_CONNACK, _PUBLISH, _SUBACK, _PINGRESP = 2, 3, 9, 13
_REFUSALS = (
    "wrong protocol version",
    "client id refused",
    "server unavailable",
    "bad user name or password",
    "not authorised",
)


class MqttError(Exception):
    """The connection is of no use any more: close it, and open another later."""


class MqttClient:
    """One connection. Make a new one for the next."""

    def __init__(self, *, max_packet=512, timeout_s=10):
        """timeout_s: for connecting, and for each packet that was begun or asked for."""
        self._max_packet = max_packet
        self._timeout_s = timeout_s
        self._reader = self._writer = None
        self._buf = bytearray(max_packet)

    async def connect(self, host, port, client_id, *, keepalive_s, user="", password=""):
        """Open the connection with a clean session (3.1). Raises MqttError."""
        try:
            opening = asyncio.open_connection(host, port)
            self._reader, self._writer = await asyncio.wait_for(opening, self._timeout_s)
        except (OSError, asyncio.TimeoutError) as error:
            raise MqttError("no connection to %s:%d (%s)" % (host, port, str(error) or "time-out"))
        flags = 0x02 | (0xC0 if user else 0)
        body = _text("MQTT") + bytes([4, flags]) + struct.pack(">H", keepalive_s) + _text(client_id)
        if user:
            body += _text(user) + _text(password)
        await self._send(0x10, body)
        _, answer = await self._expect(_CONNACK)
        code = answer[1] if len(answer) == 2 else 1
        if code:
            reason = _REFUSALS[code - 1] if code <= len(_REFUSALS) else "code %d" % code
            raise MqttError("%s:%d refuses us: %s" % (host, port, reason))

    async def subscribe(self, topic):
        """Subscribe at QoS 0 (3.8). Raises MqttError, also if the server refuses."""
        await self._send(0x82, b"\x00\x01" + _text(topic) + b"\x00")
        _, answer = await self._expect(_SUBACK)
        if answer != b"\x00\x01\x00":
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
            raise MqttError("connection lost (%s)" % error)
        kind, packet = await self._rest_of(first)
        return _payload(packet) if kind == _PUBLISH else b""

    async def close(self):
        """Say good-bye if possible (3.14), and close. Never raises."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            writer.write(b"\xe0\x00")
            await asyncio.wait_for(writer.drain(), 1)
        except (OSError, asyncio.TimeoutError):
            pass  # it is gone already
        try:
            writer.close()
            await writer.wait_closed()
        except OSError:
            pass

    async def _expect(self, wanted):
        """Read packets until one of kind `wanted` comes; messages in between are dropped."""
        for _ in range(8):
            kind, packet = await self._rest_of(await self._exactly(1))
            if kind == wanted:
                return kind, packet
            if kind != _PUBLISH:
                break
        raise MqttError("the server sent packet type %d, not %d" % (kind, wanted))

    async def _rest_of(self, first):
        """(kind, body) of the packet that begins with `first`."""
        if not first:
            raise MqttError("the server closed the connection")
        length, shift = 0, 0
        while True:
            digit = (await self._exactly(1))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                break
            if shift > 21:
                raise MqttError("malformed packet length")
        if length > self._max_packet:
            raise MqttError("a packet of %d bytes; %d are the limit" % (length, self._max_packet))
        return first[0] >> 4, await self._exactly(length)

    async def _exactly(self, count):
        try:
            return await asyncio.wait_for(self._reader.readexactly(count), self._timeout_s)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            raise MqttError("connection lost (%s)" % (str(error) or "time-out"))

    async def _send(self, first, body):
        length = len(body)
        header = bytes([first])
        while True:
            header += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
            length >>= 7
            if not length:
                break
        try:
            self._writer.write(header + body)
            await asyncio.wait_for(self._writer.drain(), self._timeout_s)
        except (OSError, asyncio.TimeoutError) as error:
            raise MqttError("connection lost (%s)" % (str(error) or "time-out"))


def _text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def _payload(packet):
    """What follows the topic of a QoS 0 PUBLISH."""
    start = 2 + struct.unpack(">H", packet[:2])[0] if len(packet) >= 2 else 0
    if not 2 <= start <= len(packet):
        raise MqttError("malformed message")
    return packet[start:]
