"""The independent subscriber: aiomqtt (paho underneath), at the city's broker itself, past the failing link."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import aiomqtt
from aiomqtt import ProtocolVersion

from gateway.endpoint import Endpoint
from gateway.errors import CityError

Take = Callable[[bytes, list[tuple[str, str]]], None]


@contextlib.asynccontextmanager
async def subscribe(broker: Endpoint, topic: str, take: Take) -> AsyncIterator[None]:
    """Give every message under `topic` to take(payload, user properties) while the block runs."""
    try:
        async with aiomqtt.Client(broker.host, broker.port, protocol=ProtocolVersion.V5) as client:
            await client.subscribe(topic, qos=1)
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(_listen(client, take), name="demo.subscriber")
                try:
                    yield
                finally:
                    listening.cancel()
    except aiomqtt.MqttError as error:
        raise CityError(
            f"cannot listen at the city broker {broker}: {error}; is it up, does it speak MQTT 5?"
        ) from None


async def _listen(client: aiomqtt.Client, take: Take) -> None:
    async for message in client.messages:
        properties = getattr(message.properties, "UserProperty", [])
        if isinstance(message.payload, bytes):
            take(message.payload, list(properties))
