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
from tests.campaign import MILLION, campaign
from tests.gateway.mqtt.device_side import Device
from tests.gateway.mqtt.listening import Stored, serving
from tests.gateway.mqtt.test_client import options
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
    return damaged(chance, b"".join(encode(chance.choice(packets), version) for _ in range(chance.randint(1, 5))))


def damaged(chance, packets):
    data = bytearray(packets)
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
@pytest.mark.parametrize("count", [450, MILLION])
async def test_listener_survives_broken_devices_and_serves_the_others(count, capsys):
    """count: packets, three in a burst that is damaged and sent by a device of its own."""
    chance, stored = random.Random(count), Stored()

    async def take(packet, peer):
        stored.counters["published"] += 1
        return 0

    async with serving(stored, on_publish=take, connect_s=30.0) as listener, Device(listener.port) as good:
        await good.connect("good")
        with campaign("listener", count, capsys) as outcomes:
            for number in range(count // 3):
                await _be_broken(listener.port, chance, f"bad{number % 7}")
                if number % 10 == 0:
                    good.send(Publish("a", b"x", 1, packet_id=1))
                    assert await good.receive(deadline_s=20) == Puback(1)
            outcomes.update(stored.counters)
        assert listener.clients <= 1 + 7
    assert listener.budget.used == 0


async def _be_broken(port, chance, name):
    version = chance.choice([V311, V5])
    async with Device(port, version=version) as bad:
        if chance.random() < 0.3:
            packets = [Connect(client_id="bad", version=version), *chance.choices(FROM_A_DEVICE, k=2)]
        else:
            await bad.connect(name)
            packets = chance.choices(FROM_A_DEVICE, k=3)
        for piece in in_pieces(chance, damaged(chance, b"".join(encode(one, version) for one in packets))):
            bad.send(piece)
            if chance.random() < 0.2:
                await asyncio.sleep(0)
        async with asyncio.timeout(20):
            with suppress(OSError):  # the listener may have closed already
                bad.writer.write_eof()
                while await bad.reader.read(65_536):
                    pass


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
