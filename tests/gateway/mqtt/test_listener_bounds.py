"""What the ingest listener allows one client and all together, and how it ends."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from gateway.endpoint import Endpoint
from gateway.mqtt.listener import Listener, ListenError
from gateway.mqtt.packet import (
    V5,
    V311,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Publish,
    Subscribe,
    Subscription,
)
from tests.gateway.mqtt.device_side import Device
from tests.gateway.mqtt.listening import LOOPBACK, Anyone, serving


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


@pytest.mark.parametrize("asked_s", [0, 1_000])
async def test_who_asks_for_a_longer_keep_alive_is_told_and_held_to_ours(stored, asked_s):
    async with serving(stored, max_keep_alive_s=1) as listener, Device(listener.port) as device:
        connack = await device.connect(keep_alive_s=asked_s)
        assert connack.properties["server_keep_alive_s"] == 1
        assert await device.receive() == Disconnect(0x8D)
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
