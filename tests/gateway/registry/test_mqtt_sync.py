"""Registries that meet at a real broker become equal, whoever knows what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.endpoint import parse_endpoint
from gateway.mqtt.client import ClientOptions, open_session
from gateway.mqtt.codes import SUCCESS
from gateway.mqtt.packet import Publish
from gateway.registry import statement as st
from gateway.registry.bundle import Taken, encode_piece
from gateway.registry.mqtt_sync import MqttSync
from gateway.registry.registry import Registry
from tests.gateway.registry.sites import Person, about, carry, forged, town
from tests.peers.mosquitto import Mosquitto

TOPIC = "lamppost/oslo/registry"


def options(broker: Mosquitto, name: str) -> ClientOptions:
    return ClientOptions(endpoint=parse_endpoint("url", f"mqtt://127.0.0.1:{broker.port}"), client_id=name)


@asynccontextmanager
async def linked(broker: Mosquitto, registries: Sequence[Registry]) -> AsyncIterator[list[Taken]]:
    """All of them at the broker; yields what came of every piece."""
    told: list[Taken] = []
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(MqttSync(one, options(broker, f"gw{at}"), topic=TOPIC, told=told.append).run())
            for at, one in enumerate(registries)
        ]
        yield told
        for task in running:
            task.cancel()


async def until_equal(registries: Sequence[Registry]) -> None:
    async with asyncio.timeout(60):
        while any(one.heads() != registries[0].heads() for one in registries):
            await asyncio.sleep(0.05)


async def test_what_each_knows_comes_to_all(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with town(tmp_path) as oslo:
        gateways = [oslo.add_gateway(name) for name in ("gw-1", "gw-2", "gw-3")]
        nodes = [Person() for _ in range(600)]  # more than one piece
        oslo.say(*(one.enrol() for one in nodes))
        carry(oslo.authority, gateways[0])
        for gateway in gateways[1:]:
            gateway.append([about(st.SUSPEND, nodes[0].id)], gateway.holder)
        async with linked(mosquitto, gateways):
            await until_equal(gateways)
            assert [one.state_digest() for one in gateways] == [gateways[0].state_digest()] * 3
            oslo.say(about(st.REVOKE, nodes[1].id))
            carry(oslo.authority, gateways[2])  # and while they are linked
            await until_equal(gateways)
        assert [one.identity(nodes[1].id).status for one in gateways] == ["revoked"] * 3  # type: ignore[union-attr]


@pytest.mark.parametrize("turns", range(8))
async def test_ends_when_told_to_in_the_turn_that_brings_news(tmp_path: Path, mosquitto: Mosquitto, turns: int) -> None:
    heard = asyncio.Event()

    async def hear(_: Publish) -> int:
        heard.set()
        return SUCCESS

    with town(tmp_path) as oslo:
        gateway = oslo.add_gateway("gw-1")
        async with open_session(options(mosquitto, "ear"), on_message=hear) as ear, asyncio.timeout(30):
            await ear.subscribe([f"{TOPIC}/have/gw-1"])
            running = asyncio.create_task(
                MqttSync(gateway, options(mosquitto, "gw-1"), topic=TOPIC, told=lambda _: None).run()
            )
            await heard.wait()
            oslo.say(Person().enrol())
            carry(oslo.authority, gateway)
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait({running})
        assert running.cancelled()


async def test_false_piece_from_the_broker_is_refused_by_name(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with town(tmp_path) as oslo:
        gateway = oslo.add_gateway("gw-1")
        node = Person()
        false = forged(gateway.writer("oslo/authority"), gateway.holder, [node.enrol()])  # type: ignore[arg-type]
        async with linked(mosquitto, [gateway]) as told, open_session(options(mosquitto, "stranger")) as stranger:
            async with asyncio.timeout(30):
                while not told:  # until it has subscribed
                    await stranger.publish(f"{TOPIC}/have/x", b"nonsense")
                    await stranger.publish(f"{TOPIC}/to/gw-1", b"nonsense")
                    await stranger.publish(f"{TOPIC}/to/gw-1", encode_piece(false))
                    await asyncio.sleep(0.05)
        assert told[0].problems[0].problem == "unknown_key"
        assert gateway.identity(node.id) is None


@pytest.mark.parametrize(
    "payload", [b"", b"\x80", b"\x82\x01\xa0", b"\x82\x61x\xa1\x01\x01", b"\x82\x61x\xa1\x61a\xf5"]
)
def test_have_that_is_none_is_refused(payload: bytes) -> None:
    from gateway.registry.bundle import BundleError
    from gateway.registry.mqtt_sync import _read_have

    with pytest.raises(BundleError):
        _read_have(payload)
