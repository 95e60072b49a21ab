"""MQTT in from an external broker: heard, answered, and what happens when it refuses."""

import asyncio
import json
from contextlib import asynccontextmanager

import aiomqtt

from gateway.endpoint import Endpoint
from gateway.mqtt.client import ClientOptions
from gateway.mqtt.packet import Suback, Subscribe
from gateway.southbound.mqtt import BrokerSubscription
from tests.gateway.cores import reading_values, stored_reports
from tests.gateway.link_node import LinkNode
from tests.gateway.southbound.listening import TEMPERATURE
from tests.peers.scripted_broker import ScriptedBroker, accept_all


@asynccontextmanager
async def subscribed(core, port, **options):
    """A subscription at an external broker, running; waits until it hears."""
    client = ClientOptions(
        endpoint=Endpoint(host="127.0.0.1", port=port, is_tls=False),
        client_id="lamppost-gw-1-southbound",
        clean_start=False,
        session_expiry_s=7 * 86_400,
        connect_timeout_s=3,
    )
    broker = BrokerSubscription(core.intake, client, count=core.counters.add, **options)
    running = asyncio.create_task(broker.run())
    try:
        async with asyncio.timeout(5):
            await broker.hears.wait()
        yield broker
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_broker_is_heard_and_answered(core, tmp_path, mosquitto):
    node = LinkNode(3)
    node.enrol(tmp_path / ".")
    core.reload_nodes()
    async with subscribed(core, mosquitto.port) as broker:
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as device:
            await device.subscribe("n/1003/down")
            await device.publish("n/1003/up", node.frame(0), qos=0)
            answer = await anext(device.messages)
            assert answer.payload[0] & 0x0F == 3
            await device.publish("up/sensor-7/senml", TEMPERATURE, qos=1)
        async with asyncio.timeout(5):
            while len(await stored_reports(core)) < 2:
                await asyncio.sleep(0.01)
        assert broker.status()["state"] == "connected"
        assert "kept by the broker" in broker.status()["note"]


async def test_what_came_while_we_were_away_is_delivered_by_the_broker(core, mosquitto):
    async with subscribed(core, mosquitto.port):
        pass
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as device:
        for number in range(20):
            pack = json.dumps([{"n": "count", "u": "/", "v": number, "t": 1_800_000_000 + number}])
            await device.publish("up/sensor-7/senml", pack, qos=1)
    async with subscribed(core, mosquitto.port):
        async with asyncio.timeout(5):
            while len(await stored_reports(core)) < 20:
                await asyncio.sleep(0.01)
    assert [reading_values(report)["count"] for report in await stored_reports(core)] == list(range(20))


async def test_retained_message_of_a_broker_is_ignored(core, mosquitto):
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as device:
        await device.publish("up/sensor-7/senml", TEMPERATURE, qos=1, retain=True)
    async with subscribed(core, mosquitto.port):
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as device:
            await device.publish("up/sensor-8/senml", TEMPERATURE.replace(b"sensor-7", b"sensor-8"), qos=1)
        async with asyncio.timeout(5):
            while not await stored_reports(core):
                await asyncio.sleep(0.01)
    assert [report.node for report in await stored_reports(core)] == ["sensor-8"]
    assert core.counters.snapshot()["refused_senml_retained"] == 1


async def test_broker_that_refuses_the_subscription_is_a_named_state(core):
    def answer(packet):
        return [Suback(packet.packet_id, [1, 0x87])] if isinstance(packet, Subscribe) else accept_all(packet)

    async with ScriptedBroker(answer) as broker:
        options = ClientOptions(endpoint=Endpoint(host="127.0.0.1", port=broker.port, is_tls=False), client_id="gw")
        subscription = BrokerSubscription(core.intake, options, count=core.counters.add)
        running = asyncio.create_task(subscription.run())
        async with asyncio.timeout(5):
            while subscription.status()["state"] != "not_authorised":
                await asyncio.sleep(0.01)
        assert "up/+/senml" in subscription.status()["detail"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
