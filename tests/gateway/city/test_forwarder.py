"""From the real outbox to a city: real brokers, refusals by code, and links that break in every way we know."""

import asyncio
import json
from collections import Counter

import aiomqtt
import pytest

from gateway.city.compress import Compressor
from gateway.city.mqtt import encoded
from gateway.intake import Burst, Message
from gateway.mqtt.packet import Connack, Connect, Puback, Publish
from lamppost.demo.arrivals import Arrivals
from lamppost.watch import describe
from tests.gateway.city.street import audited, deadline_s, drained, forwarding, ids, store
from tests.gateway.cores import NOW_S, running_core
from tests.peers.scripted_broker import CLOSE, ScriptedBroker, accept_all

V5 = aiomqtt.ProtocolVersion.V5


@pytest.fixture
async def core(tmp_path):
    async with running_core(tmp_path) as core:
        yield core


@pytest.mark.parametrize("broker", ["mosquitto", "iotcore_broker"])
async def test_records_arrive_as_senml_of_one_node_with_their_ids(core, request, broker):
    port = request.getfixturevalue(broker).port
    async with aiomqtt.Client("127.0.0.1", port, protocol=V5) as city:
        await city.subscribe("city/test/#", qos=1)
        await store(core, "sensor-7", 1, 2, 3)
        async with forwarding(core, port):
            message = await anext(city.messages)
            await drained(core)
    assert str(message.topic) == "city/test/sensor-7/senml"
    assert message.properties.ContentType == "application/senml+json"
    assert [(name, value) for name, value in message.properties.UserProperty if name.startswith("record")] == [
        (name, value) for n in "123" for name, value in (("record-id", f"sensor-7/c/{n}"), ("record-n", "1"))
    ]
    assert ("lane", "backlog") in message.properties.UserProperty  # stored before there was a connection
    assert ("assurance", "none") in message.properties.UserProperty
    assert [record["v"] for record in json.loads(message.payload)] == [1, 2, 3]
    assert (await audited(core)).delivered == 3


async def test_order_of_each_node_is_kept_with_many_in_flight(core):
    async with ScriptedBroker() as broker:
        for device in ("a", "b", "c"):
            await store(core, device, *range(40))
        async with forwarding(core, broker.port, pack_records=4):
            await drained(core)
        seen = ids(broker.published)
    assert len(seen) == 120
    for device in ("a", "b", "c"):
        own = [one for one in seen if one.startswith(f"{device}/")]
        assert own == [f"{device}/c/{n}" for n in range(40)]


async def test_receive_maximum_of_the_city_is_kept_and_used(core):
    """Five nodes, two packs on their way at one time; answers come when the second has arrived."""
    held = []
    most = 0

    def answer(packet):
        nonlocal most
        if isinstance(packet, Connect):
            return [Connack(False, 0, {"receive_maximum": 2})]
        if not isinstance(packet, Publish):
            return accept_all(packet)
        held.append(packet.packet_id)
        most = max(most, len(held))
        if len(held) < 2 and len(broker.published) < 5:
            return []
        acks = [Puback(packet_id) for packet_id in held]
        held.clear()
        return acks

    for device in "abcde":
        await store(core, device, 1)
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port):
        await drained(core)
    assert most == 2


async def test_0x10_is_delivered_and_unheard(core, mosquitto):
    await store(core, "a", 1, 2)
    async with forwarding(core, mosquitto.port):
        await drained(core)
    row = await audited(core)
    assert (row.delivered, row.unheard, row.stored) == (2, 2, 0)


async def test_0x10_keeps_the_record_if_a_subscriber_is_required(core, mosquitto):
    await store(core, "a", 1)
    async with forwarding(core, mosquitto.port, require_subscriber=True) as (_, forwarder):
        async with asyncio.timeout(deadline_s):
            while "0x10" not in str(forwarder.status()["last_refusal"]):
                await asyncio.sleep(0.01)
        assert (await audited(core)).stored == 1
        async with aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=V5) as city:
            await city.subscribe("city/#", qos=1)
            await anext(city.messages)
            await drained(core)
    row = await audited(core)
    assert (row.delivered, row.unheard) == (1, 0)


@pytest.mark.parametrize("code", [0x90, 0x99])
async def test_refused_payload_goes_into_quarantine_after_three_tries_and_takes_no_other_with_it(core, code):
    tries = Counter()

    def answer(packet):
        if isinstance(packet, Publish):
            told = ids([packet])
            tries.update(told)
            return [Puback(packet.packet_id, code if "a/c/2" in told else 0)]
        return accept_all(packet)

    await store(core, "a", 1, 2, 3)
    await store(core, "b", 1)
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port) as (_, forwarder):
        await drained(core)
        assert f"0x{code:02x}" in str(forwarder.status()["last_refusal"])
        delivered = [one for one in ids(broker.published) if one.startswith("a/")]
    row = await audited(core)
    assert (row.delivered, row.refused, row.stored) == (3, 1, 0)
    assert tries["a/c/2"] == 3
    assert delivered[-1] == "a/c/3"


async def test_of_live_records_in_a_row_one_that_is_refused_is_set_aside_alone(core):
    tries = Counter()

    def answer(packet):
        if isinstance(packet, Publish):
            values = [record["v"] for record in json.loads(packet.payload)]
            tries.update(values)
            return [Puback(packet.packet_id, 0x99 if 13 in values else 0)]
        return accept_all(packet)

    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port) as (platform, _):
        await platform.ready()
        async with asyncio.timeout(deadline_s):
            while not core.outbox._lanes_of("city").is_connected:
                await asyncio.sleep(0.01)
        payloads = [json.dumps([{"n": "t", "v": at, "t": NOW_S + at}]).encode() for at in range(40)]
        await core.intake.submit_bursts([Burst(devices=["a"] * 40, payloads=payloads, received_at_s=NOW_S)])
        await drained(core)
        delivered = [one for packet in broker.published for one in json.loads(packet.payload)]
    row = await audited(core)
    assert (row.delivered, row.refused, row.stored) == (39, 1, 0)
    assert tries[13] == 3
    accepted = list(dict.fromkeys(one["v"] for one in reversed(delivered)))[::-1]
    assert accepted == sorted(accepted)


@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x97])
async def test_any_other_refusal_leaves_the_record_and_tries_again(core, code):
    answers = iter([code] * 2)

    def answer(packet):
        return [Puback(packet.packet_id, next(answers, 0))] if isinstance(packet, Publish) else accept_all(packet)

    await store(core, "a", 1)
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port):
        await drained(core)
        assert ids(broker.published) == ["a/c/1"] * 3
    row = await audited(core)
    assert (row.delivered, row.refused) == (1, 0)
    assert core.counters.snapshot()[f"city_answered_{code:02x}"] == 2


async def test_refused_node_does_not_hold_up_others(core):
    def answer(packet):
        if isinstance(packet, Publish):
            return [Puback(packet.packet_id, 0x87 if "/a/" in packet.topic else 0)]
        return accept_all(packet)

    await store(core, "a", 1)
    await store(core, "b", 1, 2)
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port):
        await drained(core, left=1)
        await store(core, "b", 3)
        await drained(core, left=1)
    assert (await audited(core)).delivered == 3


async def test_pack_that_is_too_large_for_the_city_is_split_and_then_refused(core):
    def answer(packet):
        return [Connack(False, 0, {"maximum_packet_size": 300})] if isinstance(packet, Connect) else accept_all(packet)

    await store(core, "a", *range(8))
    big = json.dumps([{"n": "name", "vs": "x" * 500, "t": NOW_S}]).encode()
    message = Message(device="b", payload=big, content_type=None, record_id="big", received_at_s=NOW_S)
    assert (await core.intake.submit_senml(message)).accepted
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port):
        await drained(core)
    row = await audited(core)
    assert (row.delivered, row.refused) == (8, 1)


OUTAGES = ["hold", "hold_and_drop", "close_all", "reset_all", "refuse"]


@pytest.mark.parametrize("outage", OUTAGES)
async def test_nothing_is_lost_when_the_link_breaks(core, mosquitto, relay_to, outage):
    relay = await relay_to(mosquitto.port)
    seen = Counter()
    async with aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=V5) as city:
        await city.subscribe("city/#", qos=1)

        async def watch():
            async for message in city.messages:
                seen.update(value for name, value in message.properties.UserProperty if name == "record-id")

        watching = asyncio.create_task(watch())
        async with forwarding(core, relay.port) as (platform, _):
            await store(core, "a", *range(10))
            await drained(core)
            if outage.startswith("hold"):
                relay.hold()
            elif outage == "refuse":
                relay.refuse()
                relay.reset_all()
            else:
                getattr(relay, outage)()
            await store(core, "a", *range(10, 40))
            if outage in ("hold", "hold_and_drop", "refuse"):
                async with asyncio.timeout(deadline_s):
                    while platform.status()["state"] == "connected":
                        await asyncio.sleep(0.01)
                assert platform.status()["state"] in ("silent", "closed", "unreachable", "unacknowledged")
                assert (await audited(core)).stored == 30
            if outage == "refuse":
                await relay.listen()
            relay.release(drop_held=outage == "hold_and_drop")
            await drained(core)
        async with asyncio.timeout(deadline_s):
            while len(seen) < 40:
                await asyncio.sleep(0.01)
        watching.cancel()
    assert set(seen) == {f"a/c/{n}" for n in range(40)}
    assert (await audited(core)).delivered == 40


@pytest.mark.parametrize(
    "answer, state",
    [
        (lambda packet: [Connack(False, 0x86)], "refused_credentials"),
        (lambda packet: [b"\x20\x02\x00\x01"], "downgraded"),
        (lambda packet: [Connack(False, 0x89)], "busy"),
        (lambda packet: [], "silent"),
        (lambda packet: None, "closed"),
        (lambda packet: [] if isinstance(packet, Publish) else accept_all(packet), "unacknowledged"),
        (lambda packet: [Connack(False, 0), b"\x00\x00"] if isinstance(packet, Connect) else [], "protocol_error"),
    ],
)
async def test_broken_city_is_a_named_state_and_never_a_hang(core, answer, state):
    await store(core, "a", 1)
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port) as (platform, _):
        async with asyncio.timeout(deadline_s):
            while platform.status()["state"] != state:
                await asyncio.sleep(0.01)
        assert platform.status()["detail"]
    assert (await audited(core)).stored == 1


async def test_city_that_closes_in_mid_packet_gets_the_record_again(core):
    def answer(packet):
        if isinstance(packet, Publish) and len(broker.published) == 1:
            return [b"\x40\x02\x00", CLOSE]
        return accept_all(packet)

    await store(core, "a", 1)
    async with ScriptedBroker(answer) as broker, forwarding(core, broker.port):
        await drained(core)
        assert ids(broker.published) == ["a/c/1", "a/c/1"]


@pytest.mark.parametrize(
    "name, level",
    [
        ("urn:dev:os:32473-q7c2f0zk", "urn:dev:os:32473-q7c2f0zk"),
        ("a/b+c#d\0", "a%2Fb%2Bc%23d%00"),
        ("Straße 7", "Stra%C3%9Fe%207"),
        ("100%", "100%25"),
    ],
)
def test_name_is_one_topic_level(name, level):
    assert encoded(name) == level


@pytest.mark.parametrize("content", ["json", "cbor"])
async def test_long_messages_are_compressed_if_asked_for_and_short_ones_are_not(core, mosquitto, content):
    """What arrives is what the demo's own subscriber makes of it, which shares no code with the gateway."""
    arrivals = Arrivals(gateway_id="gw-1")
    told = Counter()
    async with aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=V5) as city:
        await city.subscribe("city/#", qos=1)
        await store(core, "long", *range(100))
        async with forwarding(core, mosquitto.port, compressor=Compressor(), content=content):
            await drained(core)
            await store(core, "short", 1)
            await drained(core)
        while len(arrivals.records) < 101:
            message = await anext(city.messages)
            properties = dict(message.properties.UserProperty)
            told[properties.get("content-encoding"), str(message.topic).split("/")[2]] += 1
            assert getattr(message.properties, "PayloadFormatIndicator", 0) == (
                content == "json" and "content-encoding" not in properties
            )
            assert message.properties.ContentType == f"application/senml+{content}"
            arrivals.add(
                *(as_json(message) if content == "cbor" else (message.payload, message.properties.UserProperty))
            )
            assert not arrivals.errors
    assert told == {("zstd", "long"): 1, (None, "short"): 1}
    assert {record_id for record_id in arrivals.records if record_id.startswith("long")} == {
        f"long/c/{n}" for n in range(100)
    }


def as_json(message):
    """Payload and properties of a CBOR pack as the same pack in JSON, which is what the demo's subscriber reads."""
    pairs = message.properties.UserProperty
    seen = describe(message)
    return json.dumps(seen["records"]).encode(), [pair for pair in pairs if pair[0] != "content-encoding"]
