"""How fast the MQTT side is: codec, listener alone, listener onto the disk, client to a broker. Part of `make bench`.

    python -m tools.bench_mqtt [--seconds S]

The load comes from a process of its own. One machine varies by up to 1.7 between runs: compare runs that follow each
other.
"""

import argparse
import asyncio
import multiprocessing
import resource
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateway.endpoint import Endpoint
from gateway.mqtt.access import Peer
from gateway.mqtt.client import ClientOptions, open_session
from gateway.mqtt.device import Origin
from gateway.mqtt.encode import encode, encode_puback, encode_publish
from gateway.mqtt.listener import Listener
from gateway.mqtt.packet import V5, V311, Connect, Packet, Publish
from gateway.mqtt.properties import Properties
from gateway.mqtt.stream import PacketReader
from gateway.southbound.mqtt import IngestListener
from gateway.start import open_core
from lamppost.broker import Broker

READING = b'[{"bn":"d%03d:","n":"temperature","u":"Cel","v":21.5,"t":%d}]'
CLIENTS = 20
IN_FLIGHT = 100  # per client
LOOPBACK = Endpoint(host="127.0.0.1", port=0, is_tls=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each measurement takes")
    seconds = parser.parse_args().seconds
    for line in codec(seconds / 6):
        print(line)
    for what, measure in (
        ("listener, null handler", listener_alone),
        ("listener onto the disk", listener_onto_disk),
        ("client to iotcore", client_to_broker),
    ):
        count, elapsed_s, cpu_s = asyncio.run(measure(seconds))
        print(f"{what:28} {count / elapsed_s:9,.0f} messages/s   {cpu_s / count * 1e6:6.1f} us CPU per message")


def codec(seconds: float) -> Iterator[str]:
    """Microseconds per packet."""
    told = Properties(content_type="application/senml+json", user_properties=[("record-id", "a/1/2"), ("lane", "live")])
    full = Publish("city/test/a/senml", bytes(60), 1, packet_id=77, properties=told)
    for what, packet, version in (
        ("parse PUBLISH, MQTT 3.1.1", Publish("up/d007/senml", bytes(60), 1, packet_id=77), V311),
        ("parse PUBLISH, MQTT 5", Publish("up/d007/senml", bytes(60), 1, packet_id=77), V5),
        ("parse it with 3 properties", full, V5),
    ):
        burst = encode_publish(packet, version) * 500
        feed = PacketReader(version=version, max_packet_size=100_000).feed
        yield f"{what:28} {per_call_us(partial(_drain, feed, burst), seconds) / 500:9.2f} us"
    yield f"{'write it':28} {per_call_us(partial(encode_publish, full, V5), seconds):9.2f} us"
    yield f"{'write a PUBACK':28} {per_call_us(partial(encode_puback, 77, 0, V5), seconds):9.2f} us"


def _drain(feed: Callable[[bytes], Iterable[Packet]], data: bytes) -> None:
    for _ in feed(data):
        pass


def per_call_us(call: Callable[[], object], seconds: float) -> float:
    calls, started_s = 0, time.perf_counter()
    while time.perf_counter() - started_s < seconds:
        for _ in range(20):
            call()
        calls += 20
    return (time.perf_counter() - started_s) / calls * 1e6


class Anyone:
    async def admit(self, connect: Connect, origin: Origin) -> Peer | int:
        return Peer(connect.client_id)

    def may_subscribe(self, peer: Peer, topic: str) -> int:
        return 0


async def listener_alone(seconds: float) -> tuple[int, float, float]:
    async def take(packet: Publish, peer: Peer) -> int:
        return 0

    async with Listener(LOOPBACK, on_publish=take, policy=Anyone(), count=lambda name: None) as listener:
        return await under_load(listener.run, listener.port, seconds)


async def listener_onto_disk(seconds: float) -> tuple[int, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_core(data_dir=Path(folder), gateway_id="gw", cities=["city"], window_s=0) as core:
            keeping = asyncio.create_task(core.run())
            async with IngestListener(core.intake, LOOPBACK, count=core.counters.add) as listener:
                measured = await under_load(listener.run, listener.port, seconds)
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            return measured


async def under_load(run: Callable[[], Awaitable[None]], port: int, seconds: float) -> tuple[int, float, float]:
    """(messages acknowledged, wall seconds, CPU seconds of this process) while the load runs."""
    serving = asyncio.ensure_future(run())
    acknowledged = multiprocessing.get_context("spawn").Value("L", 0)
    load = multiprocessing.get_context("spawn").Process(target=send_load, args=(port, seconds, acknowledged))
    load.start()
    while acknowledged.value == 0:  # noqa: ASYNC110 - another process counts
        await asyncio.sleep(0.01)
    started_s, cpu_s, before = time.perf_counter(), cpu_time_s(), acknowledged.value
    await asyncio.to_thread(load.join)
    measured = acknowledged.value - before, time.perf_counter() - started_s, cpu_time_s() - cpu_s
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    return measured


def send_load(port: int, seconds: float, acknowledged: "multiprocessing.sharedctypes.Synchronized[int]") -> None:
    """Clients in one thread: each keeps IN_FLIGHT messages on their way, all bytes made by plain formatting."""
    clients = []
    for number in range(CLIENTS):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(encode(Connect(client_id=f"load-{number}", version=V311, keep_alive_s=60), V311))
        assert sock.recv(4) == b"\x20\x02\x00\x00"
        clients.append(sock)
    give_up_s, at = time.monotonic() + seconds, 0
    while time.monotonic() < give_up_s:
        for number, sock in enumerate(clients):
            burst = []
            for packet_id in range(1, IN_FLIGHT + 1):
                at += 1
                payload = READING % (number, 1_700_000_000 + at)
                burst.append(encode_publish(Publish(f"up/d{number:03}/senml", payload, 1, packet_id=packet_id), V311))
            sock.sendall(b"".join(burst))
        for sock in clients:
            owed = IN_FLIGHT * 4
            while owed:
                owed -= len(sock.recv(owed))
            acknowledged.value += IN_FLIGHT


async def client_to_broker(seconds: float) -> tuple[int, float, float]:
    with Broker() as broker:
        where = Endpoint(host="127.0.0.1", port=broker.port, is_tls=False)
        async with open_session(ClientOptions(endpoint=where, client_id="bench")) as session:
            sent, started_s, cpu_s = 0, time.perf_counter(), cpu_time_s()
            while time.perf_counter() - started_s < seconds:
                await asyncio.gather(*(session.publish("bench/x", bytes(60)) for _ in range(500)))
                sent += 500
            return sent, time.perf_counter() - started_s, cpu_time_s() - cpu_s


def cpu_time_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
