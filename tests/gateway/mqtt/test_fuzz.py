"""Bytes that nobody meant, at the listener and from a broker: others go on, and nothing but a name comes out."""

import asyncio
import random
from contextlib import suppress

import pytest

from gateway.mqtt.client import open_session
from gateway.mqtt.encode import encode
from gateway.mqtt.errors import SessionError
from gateway.mqtt.packet import (
    V5,
    V311,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsubscribe,
)
from tests.gateway.mqtt.device_side import Device
from tests.gateway.mqtt.test_client import options
from tests.gateway.mqtt.test_listener import Stored, serving
from tests.peers.scripted_broker import ScriptedBroker, accept_all

FROM_A_DEVICE = [
    Publish("up/d/senml", b"[]", 1, packet_id=7, properties={"user_properties": [("record-id", "a/1/2")]}),
    Publish("up/d/senml", bytes(300)),
    Subscribe(3, [Subscription("d/down", 1)]),
    Unsubscribe(4, ["d/down"]),
    Pingreq(),
    Disconnect(),
    Puback(7),
]
FROM_A_BROKER = [
    Puback(1),
    Puback(2, 0x97, {"reason_string": "later"}),
    Suback(3, [1]),
    Pingresp(),
    Publish("a/b", b"x", 1, packet_id=9),
    Disconnect(0x8B, {"reason_string": "update"}),
    Connack(False, 0, {"receive_maximum": 2}),
]


def broken(chance, packets, version):
    """A few packets, damaged: bits flipped, bytes cut out or put in, ends torn off, or noise alone."""
    data = bytearray(b"".join(encode(chance.choice(packets), version) for _ in range(chance.randint(1, 5))))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randint(1, 8)]
            case 2:
                data[at:at] = chance.randbytes(chance.randint(1, 8))
            case 3:
                del data[at:]
            case 4:
                data[at:] = chance.randbytes(chance.randint(1, 40))
        data = data or bytearray(b"\0")
    return bytes(data)


def in_pieces(chance, data):
    while data:
        size = chance.randint(1, len(data))
        yield data[:size]
        data = data[size:]


COUNTS = [150, pytest.param(5_000, marks=pytest.mark.soak)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", COUNTS)
async def test_listener_survives_broken_devices_and_serves_the_others(count):
    chance = random.Random(count)
    stored = Stored()
    async with serving(stored, connect_s=30.0) as listener, Device(listener.port) as good:
        await good.connect("good")
        for number in range(count):
            version = chance.choice([V311, V5])
            async with Device(listener.port, version=version) as bad:
                if chance.random() < 0.3:
                    data = broken(chance, [Connect(client_id="bad", version=version)], version)
                else:
                    await bad.connect(f"bad{number % 7}")
                    data = broken(chance, FROM_A_DEVICE, version)
                for piece in in_pieces(chance, data):
                    bad.send(piece)
                    if chance.random() < 0.2:
                        await asyncio.sleep(0)
                async with asyncio.timeout(20):
                    with suppress(OSError):  # the listener may have closed already
                        bad.writer.write_eof()
                        while await bad.reader.read(65_536):
                            pass
            good.send(Publish("a", b"x", 1, packet_id=1))
            assert await good.receive(deadline_s=20) == Puback(1)
        assert listener.clients <= 1 + 7
    assert listener.budget.used == 0


async def publish_once(port):
    async with open_session(options(port, keep_alive_s=30, ack_timeout_s=30)) as session:
        await session.publish("a", b"x")
        await session.wait_closed()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", COUNTS)
async def test_session_with_a_broken_broker_ends_by_name_or_goes_on(count):
    chance = random.Random(count + 1)

    def answer(packet):
        if isinstance(packet, Publish):
            return [*in_pieces(chance, broken(chance, FROM_A_BROKER, V5)), None]
        return accept_all(packet)

    def script(packet):
        told = answer(packet)
        if told and told[-1] is None:
            broker.send(*told[:-1])
            return None  # and closes
        return told

    async with ScriptedBroker(script) as broker:
        for _ in range(count):
            with pytest.raises(SessionError) as caught:
                await publish_once(broker.port)
            assert caught.value.state in ("protocol_error", "closed", "busy")
