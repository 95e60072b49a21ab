"""The ingest listener: paho, aiomqtt and mosquitto's clients in both versions, and devices that behave badly."""

import asyncio
import collections
import subprocess
import time
from contextlib import AsyncExitStack, asynccontextmanager

import aiomqtt
import paho.mqtt.client as paho
import pytest

from gateway.endpoint import Endpoint
from gateway.mqtt.access import Peer
from gateway.mqtt.device import ListenerLimits
from gateway.mqtt.listener import Listener, ListenError
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
from tests.peers.mosquitto import program

LOOPBACK = Endpoint(host="127.0.0.1", port=0, is_tls=False)


class Anyone:
    """Admits all but user "mallory"; lets a client subscribe to what begins with its own name."""

    def __init__(self):
        self.was_asked = asyncio.Event()

    async def admit(self, connect, origin):
        return 0x86 if connect.username == "mallory" else Peer(connect.client_id or "nameless", connect.username)

    def may_subscribe(self, peer, topic):
        self.was_asked.set()
        return 0 if topic.startswith(f"{peer.client_id}/") else 0x87


class Stored:
    """Takes every message, answers with `code`; holds the answers back while `gate` is closed."""

    def __init__(self):
        self.messages = []
        self.bursts = []
        self.counters = collections.Counter()
        self.code = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._news = asyncio.Condition()

    def count(self, name):
        self.counters[name] += 1

    async def take(self, packet, peer):
        (code,) = await self._take_all([packet], peer)
        return code

    def take_burst(self, burst, peer):
        self.bursts.append(len(burst.payloads))
        rows = zip(burst.topics, burst.payloads, burst.packet_ids, strict=True)
        packets = [Publish(topic, data, 1, packet_id=int.from_bytes(number, "big")) for topic, data, number in rows]
        return asyncio.ensure_future(self._take_all(packets, peer))

    async def _take_all(self, packets, peer):
        async with self._news:
            self.messages += [(packet, peer) for packet in packets]
            self._news.notify_all()
        await self.gate.wait()
        return [self.code] * len(packets)

    async def wait_for(self, count):
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: len(self.messages) >= count)

    @property
    def payloads(self):
        return [packet.payload for packet, _ in self.messages]


@pytest.fixture
def stored():
    return Stored()


@asynccontextmanager
async def serving(stored, *, policy=None, on_publish=None, **limits):
    listener = Listener(
        LOOPBACK,
        on_publish=on_publish or stored.take,
        on_burst=None if on_publish else stored.take_burst,
        policy=policy or Anyone(),
        count=stored.count,
        limits=ListenerLimits(**limits),
    )
    async with listener:
        running = asyncio.create_task(listener.run())
        try:
            yield listener
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


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


async def test_second_connection_of_a_client_takes_over(stored):
    async with serving(stored) as listener, Device(listener.port) as first, Device(listener.port) as second:
        await first.connect("c")
        first.send(Subscribe(1, [Subscription("c/down")]))
        await first.receive()
        await second.connect("c")
        assert await first.receive() == Disconnect(0x8E)
        assert await first.receive() is None
        assert listener.clients == 1
        assert listener.publish("c/down", b"") == 0
        async with Device(listener.port) as stranger:
            await stranger.connect("c", username="somebody")
            second.send(Pingreq())
            assert await second.receive() == Pingresp()


async def test_connections_are_bounded(stored):
    async with serving(stored, max_connections=2) as listener:
        async with Device(listener.port) as one, Device(listener.port) as two, Device(listener.port) as three:
            await one.connect("1")
            await two.connect("2")
            three.send(Connect(client_id="3"))
            assert await three.receive() is None
    assert stored.counters["mqtt_connections_over_limit"] == 1


async def test_connect_that_does_not_come_is_not_waited_for(stored):
    async with serving(stored, connect_s=0.1) as listener, Device(listener.port) as device:
        assert await device.receive() is None
    assert stored.counters["mqtt_connect_timeout"] == 1


@pytest.mark.parametrize("version", [V311, V5])
async def test_keep_alive_is_enforced(stored, version):
    async with serving(stored) as listener, Device(listener.port, version=version) as device:
        await device.connect(keep_alive_s=1)
        started_s = time.monotonic()
        last = await device.receive()
        assert last == (Disconnect(0x8D) if version == V5 else None)
        assert 1.4 < time.monotonic() - started_s < 2.6
    assert stored.counters["mqtt_keep_alive_timeout"] == 1


@pytest.mark.parametrize("version", [V311, V5])
async def test_messages_that_came_together_are_handled_together(stored, version):
    """But for the first of a topic, which has to be checked, and for what is unusual; and all in order."""
    unusual = {3: {"retain": True}, 7: {"dup": True}, 12: {"qos": 0}}
    async with serving(stored) as listener, Device(listener.port, version=version) as device:
        await device.connect()
        packets = [Publish("a", b"%d" % n, **({"qos": 1} | unusual.get(n, {}))) for n in range(20)]
        for number, packet in enumerate(packets, 1):
            packet.packet_id = number * packet.qos
        device.send(*packets)
        acknowledged = [(await device.receive()).packet_id for _ in range(19)]
    assert acknowledged == [packet.packet_id for packet in packets if packet.qos]
    assert stored.payloads == [packet.payload for packet in packets]
    assert stored.bursts == [2, 3, 4, 7]


async def test_of_messages_that_were_not_kept_none_is_acknowledged(stored):
    stored.code = None
    async with serving(stored) as listener, Device(listener.port) as device:
        await device.connect()
        device.send(*(Publish("a", b"x", 1, packet_id=n) for n in range(1, 21)))
        assert await device.receive() == Disconnect(0x97)
    assert stored.counters["mqtt_unstored"] == 1


async def test_more_than_the_receive_maximum_is_slowed_down_and_counted(stored):
    """paho 2.2 sends all it has after a reconnect; to disconnect it, as MQTT 5 has it, would keep it out for ever."""
    stored.gate.clear()
    async with serving(stored, max_waiting=3) as listener, Device(listener.port) as device:
        await device.connect()
        device.send(*(Publish("a", b"x", 1, packet_id=n) for n in range(1, 21)))
        await stored.wait_for(4)
        stored.gate.set()
        assert [(await device.receive()).packet_id for _ in range(20)] == list(range(1, 21))
    assert stored.counters["mqtt_receive_maximum_exceeded"] > 0


@pytest.mark.parametrize("limits", [{"max_waiting": 5}, {"max_waiting_bytes": 400}])
@pytest.mark.parametrize("version, qos", [(V311, 1), (V311, 0), (V5, 1), (V5, 0)])
async def test_flood_is_slowed_down_and_not_collected(stored, version, qos, limits):
    stored.gate.clear()
    async with serving(stored, **limits) as listener, Device(listener.port, version=version) as device:
        await device.connect()
        device.send(*(Publish("a", b"%03d" % n, qos, packet_id=n * qos) for n in range(1, 301)))
        await stored.wait_for(6)
        async with Device(listener.port) as other:
            await other.connect("other")
            other.send(Pingreq())
            assert await other.receive() == Pingresp()
        assert 6 <= len(stored.messages) <= 8
        stored.gate.set()
        await stored.wait_for(300)
        assert stored.payloads == [b"%03d" % n for n in range(1, 301)]


async def test_memory_of_all_clients_together_is_bounded(stored):
    """Beyond the common budget each client gets one message through at a time, so that none starves."""
    stored.gate.clear()
    async with serving(stored, max_total_bytes=3_000, max_waiting_bytes=100_000) as listener:
        async with Device(listener.port) as greedy, Device(listener.port) as other:
            await greedy.connect("greedy")
            await other.connect("other")
            greedy.send(*(Publish("a", bytes(1_000), 1, packet_id=n) for n in range(1, 51)))
            await stored.wait_for(3)
            other.send(*(Publish("a", b"mine", 1, packet_id=n) for n in range(1, 51)))
            await stored.wait_for(4)
            assert len(stored.messages) == 4
            stored.gate.set()
            assert [(await other.receive()).packet_id for _ in range(50)] == list(range(1, 51))
            assert [(await greedy.receive()).packet_id for _ in range(50)] == list(range(1, 51))


async def test_packets_that_never_end_do_not_fill_the_memory(stored):
    """Each client sends most of a large packet and no more; who holds most of the common bound has to go."""
    async with serving(stored, max_total_bytes=300_000, max_packet_size=100_000) as listener:
        async with AsyncExitStack() as stack:
            devices = [await stack.enter_async_context(Device(listener.port)) for _ in range(6)]
            for number, device in enumerate(devices):
                await device.connect(f"c{number}")
                device.send(b"\x30\xfc\xff\x05" + bytes(80_000 + number))
            assert await devices[-1].receive(deadline_s=20) == Disconnect(0x97)
            devices[0].send(bytes(100_000 - 4 - 80_000))
            async with asyncio.timeout(20):
                while stored.counters["mqtt_memory_over_limit"] < 3:
                    await asyncio.sleep(0.01)
            assert listener.clients <= 3


async def test_stranger_may_not_send_a_large_connect(stored):
    async with serving(stored) as listener, Device(listener.port) as device:
        device.send(b"\x10\x81\x80\x01" + bytes(100))
        assert await device.receive() is None
    assert stored.counters["mqtt_packet_too_large"] == 1


async def test_client_that_stops_reading_is_dropped_and_blocks_nobody(stored):
    async with serving(stored, stalled_s=0.2) as listener:
        async with Device(listener.port) as deaf, Device(listener.port) as good:
            deaf.writer.transport.pause_reading()
            await good.connect("good")
            deaf.send(Connect(client_id="deaf"), Subscribe(1, [Subscription("deaf/down")]))
            async with asyncio.timeout(20):
                while not stored.counters["mqtt_stalled"]:
                    listener.publish("deaf/down", bytes(100_000))
                    good.send(Pingreq())
                    assert await good.receive() == Pingresp()
        assert stored.counters["mqtt_downlinks_dropped"] > 0


async def test_mistake_of_ours_ends_the_listener(stored):
    async def broken(packet, peer):
        raise ZeroDivisionError("a mistake of ours")

    listener = Listener(LOOPBACK, on_publish=broken, policy=Anyone(), count=stored.count)
    async with listener:
        running = asyncio.create_task(listener.run())
        async with Device(listener.port) as device:
            await device.connect()
            device.send(Publish("a", b"x", 1, packet_id=1))
            with pytest.raises(ExceptionGroup) as caught:
                await running
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


async def test_stopping_tells_clients_and_leaves_no_task(stored):
    stored.gate.clear()
    before = asyncio.all_tasks()
    async with serving(stored) as listener:
        device = Device(listener.port)
        await device.__aenter__()
        await device.connect()
        device.send(Publish("a", b"x", 1, packet_id=1))
        await stored.wait_for(1)
    assert await device.receive() == Disconnect(0x8B)
    await device.__aexit__(None, None, None)
    assert asyncio.all_tasks() == before


async def test_address_in_use_is_named(stored, unused_tcp_port):
    def listen():
        endpoint = Endpoint(host="127.0.0.1", port=unused_tcp_port, is_tls=False)
        return Listener(endpoint, on_publish=stored.take, policy=Anyone(), count=stored.count)

    async with listen():
        with pytest.raises(ListenError, match=f"127.0.0.1:{unused_tcp_port}"):
            await listen().__aenter__()
