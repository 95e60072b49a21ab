"""The ingest listener: paho, aiomqtt and mosquitto's clients in both versions, and devices that behave badly."""

import asyncio
import subprocess

import aiomqtt
import paho.mqtt.client as paho
import pytest

from gateway.mqtt.packet import (
    V5,
    V311,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from tests.gateway.mqtt.device_side import Device
from tests.gateway.mqtt.listening import Anyone, serving
from tests.peers.mosquitto import program


def paho_publish(port, version, count, *, reasons=None):
    """Publish `count` messages with paho, in its own thread; returns when it has every PUBACK."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "paho", protocol=version)
    if reasons is not None:
        client.on_publish = lambda _client, _data, _id, reason, _properties: reasons.append(reason.value)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish("up/d/senml", b"%d" % number, qos=1) for number in range(count)]
    for one in sent:
        one.wait_for_publish(10)
    is_done = all(one.is_published() for one in sent)
    client.disconnect()
    client.loop_stop()
    return is_done


@pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])
async def test_paho_publishes_and_is_acknowledged(stored, version):
    async with serving(stored) as listener:
        assert await asyncio.to_thread(paho_publish, listener.port, version, 200)
    assert stored.payloads == [b"%d" % number for number in range(200)]


@pytest.mark.parametrize("code", [0x87, 0x99])
async def test_paho_sees_the_reason_of_a_refusal_in_mqtt_5(stored, code):
    stored.code = code
    reasons = []
    async with serving(stored) as listener:
        await asyncio.to_thread(paho_publish, listener.port, paho.MQTTv5, 3, reasons=reasons)
    assert reasons == [code] * 3


async def test_refused_payload_is_acknowledged_plainly_in_3_1_1(stored):
    """Silence would block such a device for ever."""
    stored.code = 0x99
    async with serving(stored) as listener:
        assert await asyncio.to_thread(paho_publish, listener.port, paho.MQTTv311, 3)


@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
async def test_aiomqtt_publishes_and_hears_its_downlink(stored, version):
    async with serving(stored) as listener:
        async with aiomqtt.Client("127.0.0.1", listener.port, identifier="dev", protocol=version) as client:
            await client.subscribe("dev/down")
            await client.publish("up/d/senml", b"x", qos=1)
            assert listener.publish("dev/down", b"answer") == 1
            message = await anext(client.messages)
            assert (str(message.topic), message.payload, message.qos) == ("dev/down", b"answer", 0)
    assert stored.payloads == [b"x"]


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
@pytest.mark.parametrize("qos", ["0", "1"])
async def test_mosquitto_pub_publishes_and_leaves(stored, version, qos):
    """Also with QoS 0, where the client is gone before its message is stored."""
    command = [program("mosquitto_pub", "mosquitto-clients"), "-V", version, "-q", qos, "-i", "m"]
    async with serving(stored) as listener:
        command += ["-p", str(listener.port), "-t", "up/d/senml", "-m", "hello"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=10)
        assert (done.returncode, done.stderr) == (0, b"")
        await stored.wait_for(1)
    assert stored.payloads == [b"hello"]


async def test_mosquitto_sub_hears_its_downlink(stored):
    command = [program("mosquitto_sub", "mosquitto-clients"), "-V", "mqttv5", "-i", "m", "-C", "1"]
    policy = Anyone()
    async with serving(stored, policy=policy) as listener:
        command += ["-p", str(listener.port), "-t", "m/down"]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(10):
            await policy.was_asked.wait()
            assert listener.publish("m/down", b"answer") == 1
            assert await process.stdout.read() == b"answer\n"
            await process.wait()


@pytest.mark.parametrize("version", [V311, V5])
async def test_puback_follows_the_handler_and_keeps_the_order(stored, version):
    gates = [asyncio.Event() for _ in range(3)]

    async def handle(packet, peer):
        await gates[int(packet.payload)].wait()
        return 0

    async with serving(stored, on_publish=handle) as listener, Device(listener.port, version=version) as device:
        await device.connect()
        device.send(*(Publish("a", b"%d" % n, 1, packet_id=20 + n) for n in range(3)))
        gates[2].set()
        gates[1].set()
        device.send(Pingreq())
        assert await device.receive() == Pingresp()  # behind the messages, and still before any PUBACK
        gates[0].set()
        assert [(await device.receive()).packet_id for _ in range(3)] == [20, 21, 22]


async def test_acknowledgements_of_one_commit_are_one_write(stored):
    async with serving(stored) as listener, Device(listener.port) as device:
        await device.connect()
        stored.gate.clear()
        device.send(*(Publish("a", b"x", 1, packet_id=n) for n in range(1, 101)))
        await stored.wait_for(100)
        stored.gate.set()
        data = await device.reader.read(65_536)
        assert len(data) == 100 * 4


async def test_message_that_could_not_be_stored_is_not_acknowledged(stored):
    stored.code = None
    async with serving(stored) as listener, Device(listener.port) as device:
        await device.connect()
        device.send(Publish("a", b"x", 1, packet_id=1), Publish("a", b"y", 1, packet_id=2))
        assert await device.receive() == Disconnect(0x97)
        assert await device.receive() is None
    assert stored.counters["mqtt_unstored"] == 1


async def test_connections_whose_messages_were_not_kept_take_no_room_for_ever(stored):
    """Several messages of one commit fail at one time, as on a full disk; the device comes back again and again."""
    stored.code = None
    async with serving(stored, max_connections=3, max_total_bytes=3_000) as listener:
        for attempt in range(1, 10):
            stored.gate.clear()
            async with asyncio.timeout(10):
                while True:  # the last connection is let go of within a second
                    async with Device(listener.port) as device:
                        device.send(Connect(client_id="device"))
                        if await device.receive() is None:
                            await asyncio.sleep(0.05)
                            continue
                        device.send(*(Publish("a", b"x" * 100, 1, packet_id=n) for n in range(1, 6)))
                        await stored.wait_for(5 * attempt)
                        stored.gate.set()
                        assert await device.receive() == Disconnect(0x97)
                        break
        assert listener.budget.used == 0
    assert stored.counters["mqtt_unstored"] == 9


async def test_packets_behind_connect_wait_for_admission(stored):
    """MQTT 5 lets a client send before it has the CONNACK."""
    async with serving(stored) as listener, Device(listener.port) as device:
        device.send(Connect(client_id="eager"), Publish("a", b"x", 1, packet_id=1), Pingreq())
        kinds = [type(await device.receive()).__name__ for _ in range(3)]
    assert kinds[0] == "Connack"
    assert sorted(kinds[1:]) == ["Pingresp", "Puback"]


async def test_capabilities_are_announced(stored):
    async with serving(stored, max_waiting=7, max_keep_alive_s=100) as listener:
        async with Device(listener.port) as device:
            answer = await device.connect("", keep_alive_s=0, properties={"session_expiry_s": 60})
    assert answer.properties == {
        "receive_maximum": 7,
        "maximum_qos": 1,
        "retain_available": 0,
        "maximum_packet_size": 262_144,
        "wildcards_available": 0,
        "subscription_ids_available": 0,
        "shared_available": 0,
        "server_keep_alive_s": 100,
        "assigned_client_id": "nameless",
        "session_expiry_s": 0,
    }


@pytest.mark.parametrize(
    "version, fields, code",
    [
        (V5, {"username": "mallory"}, 0x86),
        (V311, {"username": "mallory"}, 4),
        (V311, {"client_id": "", "clean_start": False}, 2),
        (V5, {"properties": {"authentication_method": "SCRAM-SHA-1"}}, 0x8C),
        (V5, {"will": Will(topic="w", payload=b"", qos=2)}, 0x9B),
        (V5, {"will": Will(topic="w", payload=b"", retain=True)}, 0x9A),
    ],
)
async def test_refused_connect_is_answered_with_its_code(stored, version, fields, code):
    async with serving(stored) as listener, Device(listener.port, version=version) as device:
        answer = await device.connect(**{"client_id": "c", **fields})
        assert (answer.reason_code, answer.session_present) == (code, False)
        assert await device.receive() is None
        assert listener.clients == 0
    assert stored.counters["mqtt_connects_refused"] == 1


@pytest.mark.parametrize(
    "version, topic, code",
    [
        (V5, "c/down", 0),
        (V5, "c/#", 0xA2),
        (V5, "other/down", 0x87),
        (V5, "$share/g/c/down", 0x9E),
        (V311, "+/x", 0x80),
    ],
)
async def test_client_may_subscribe_to_its_own_downlink_only(stored, version, topic, code):
    async with serving(stored) as listener, Device(listener.port, version=version) as device:
        await device.connect("c")
        device.send(Subscribe(5, [Subscription(topic, 1)]))
        assert await device.receive() == Suback(5, [code])
        assert listener.publish(topic, b"") == (code == 0)


async def test_subscriptions_are_bounded_and_can_be_given_back(stored):
    async with serving(stored, max_subscriptions=2) as listener, Device(listener.port) as device:
        await device.connect("c")
        device.send(Subscribe(5, [Subscription(f"c/{n}") for n in range(3)]))
        assert (await device.receive()).reason_codes == [0, 0, 0x97]
        device.send(Unsubscribe(6, ["c/0", "never"]))
        assert await device.receive() == Unsuback(6, [0, 0])
        assert listener.publish("c/0", b"") == 0
        assert listener.publish("c/1", b"") == 1


async def test_nothing_is_routed_between_clients(stored):
    async with serving(stored) as listener, Device(listener.port) as one, Device(listener.port) as other:
        await one.connect("one")
        await other.connect("other")
        one.send(Subscribe(5, [Subscription("one/down")]))
        await one.receive()
        other.send(Publish("one/down", b"spoofed", 1, packet_id=1))
        assert await other.receive() == Puback(1)
        one.send(Pingreq())
        assert await one.receive() == Pingresp()


PROTOCOL_BREACHES = [
    ("qos_2", 0x9B, Publish("a", b"", 2, packet_id=1)),
    ("topic_alias", 0x94, Publish("a", b"", properties={"topic_alias": 1})),
    ("wildcard_in_topic", 0x90, b"\x30\x06\x00\x03a/#\x00"),
    ("bad_utf8", 0x81, b"\x30\x05\x00\x02\xc3\x28\x00"),
    ("nul_in_text", 0x81, b"\x30\x06\x00\x03a\x00b\x00"),
    ("packet_id_zero", 0x82, b"\x32\x06\x00\x01a\x00\x00\x00"),
    ("packet_too_large", 0x95, b"\x30\xff\xff\x7f"),
    ("unexpected_packet", 0x82, Connect(client_id="again")),
    ("unexpected_packet", 0x82, Puback(1)),
    ("bad_type", 0x81, b"\x00\x00"),
    ("misplaced_property", 0x82, b"\x30\x07\x00\x01a\x03\x21\x00\x01"),
]


@pytest.mark.parametrize("counter, code, breach", PROTOCOL_BREACHES)
async def test_breach_of_protocol_is_counted_and_ends_that_connection_alone(stored, counter, code, breach):
    async with serving(stored) as listener, Device(listener.port) as bad, Device(listener.port) as good:
        await bad.connect("bad")
        await good.connect("good")
        bad.send(breach)
        assert await bad.receive() == Disconnect(code)
        assert await bad.receive() is None
        good.send(Publish("a", b"x", 1, packet_id=1))
        assert await good.receive() == Puback(1)
    assert stored.counters[f"mqtt_{counter}"] == 1


async def test_qos_2_in_3_1_1_ends_the_connection(stored):
    async with serving(stored) as listener, Device(listener.port, version=V311) as device:
        await device.connect()
        device.send(Publish("a", b"", 2, packet_id=1))
        assert await device.receive() is None
    assert stored.messages == []


@pytest.mark.parametrize(
    "counter, data",
    [
        ("connect_expected", b"GET / HTTP/1.1\r\n\r\n"),
        ("connect_expected", b"\xc0\x00"),
        ("unsupported_version", bytes.fromhex("100e00064d514973647003020000") + b"\0\0"),
        ("bad_varint", b"\x10\xff\xff\xff\xff\xff"),
    ],
)
async def test_stranger_who_speaks_no_mqtt_is_counted(stored, counter, data):
    async with serving(stored) as listener, Device(listener.port) as device:
        device.send(data)
        answer = await device.reader.read()
        assert answer == (b"\x20\x02\x00\x01" if counter == "unsupported_version" else b"")
    assert stored.counters[f"mqtt_{counter}"] == 1
