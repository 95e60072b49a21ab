"""How fast a backlog drains, and what a slow link costs: python -m tools.bench_drain [--records N] [--nodes N]

Stores a backlog, then connects to a city and prints records/s from the first message to the last acknowledgement:
through no delay, through 300 ms of round trip, and through the same with a city that announces Receive Maximum 20, as a
default mosquitto does. Last a profile of the forwarder alone, against a platform that takes everything at once: CPU per
record from take() to settle(). No cap on the backlog. Rows are medians of --runs.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import multiprocessing
import pstats
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.city.compress import Compressor
from gateway.city.forwarder import Forwarder
from gateway.city.mqtt import MqttCity, about_message
from gateway.core import Core
from gateway.endpoint import Endpoint
from gateway.mqtt.client import ClientOptions
from gateway.mqtt.encode import encode, encode_puback, encode_publish
from gateway.mqtt.packet import V5, Connack, Connect, Pingreq, Pingresp, Publish
from gateway.mqtt.properties import Properties, write_rows
from gateway.mqtt.stream import PacketReader
from gateway.outbox import Batch, Lane, Stored, count_of
from gateway.reading import STREAMS, Reading, Report
from gateway.senml import COUNT_PROPERTY, ID_PROPERTY, Content, Pack
from gateway.start import open_core
from lamppost.relay import Relay

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

ROUND_TRIP_S = 0.3
TELEMETRY = STREAMS.index("telemetry")
ROW = "{:<44}{:>12}{:>12}{:>14}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=250_000, help="fewer are gone before the drain is at speed")
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--skip-links", action="store_true", help="only the forwarder alone")
    parser.add_argument("--runs", type=int, default=3, help="of which each row is the median")
    parser.add_argument("--profile", action="store_true", help="print where the forwarder's time goes")
    args = parser.parse_args()
    if not args.skip_links:
        measure_links(args.records, args.nodes, args.runs)
    for name, compressor in (("forwarder alone", None), ("forwarder alone, zstd", Compressor())):
        cpu_s = asyncio.run(alone(as_stored(backlog(args.records, args.nodes)), compressor))
        print(ROW.format(f"{name}, null platform", "", "", f"{cpu_s / args.records * 1e6:.1f}"))
    if args.profile:
        profile = cProfile.Profile()
        profile.runcall(asyncio.run, alone(as_stored(backlog(args.records, args.nodes)), None))
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)


def measure_links(records: int, nodes: int, runs: int) -> None:
    """Print a row per drain, then the medians."""
    print(ROW.format(f"{records:,} records of {nodes} nodes", "records/s", "per message", "CPU us/record"))
    links = {
        "no delay": (0.0, 0),
        f"{ROUND_TRIP_S * 1000:.0f} ms": (ROUND_TRIP_S, 0),
        f"{ROUND_TRIP_S * 1000:.0f} ms, Receive Maximum 20": (ROUND_TRIP_S, 20),
    }
    rates: dict[str, list[float]] = {}
    for _ in range(runs):
        for name, (round_trip_s, receive_maximum) in links.items():
            taken = asyncio.run(drain(records, nodes, round_trip_s, receive_maximum))
            rates.setdefault(name, []).append(taken[0])
            print(ROW.format(name, f"{taken[0]:,.0f}", f"{taken[1]:,.0f}", f"{taken[2]:.1f}"), flush=True)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    plain, slow, narrow = medians.values()
    print(f"medians: {plain:,.0f}, {slow:,.0f}, {narrow:,.0f}/s; Receive Maximum 20 costs")
    print(
        f"{1 - narrow / slow:.0%} of the rate behind the same delay, {1 - narrow / plain:.0%} of the rate without any"
    )


def backlog(records: int, nodes: int) -> list[Report]:
    """Readings of one quantity, a minute apart, the nodes in turn."""
    return [
        Report(
            node=f"urn:dev:os:32473-node{number % nodes:04d}",
            record_id=f"urn:dev:os:32473-node{number % nodes:04d}/1/{number // nodes}",
            measured_at_s=1.8e9 + number // nodes * 60.0,
            readings=(Reading(quantity="temperature", value=20 + number % 100 / 8, unit="Cel"),),
            epoch=1,
            seq=number // nodes,
            assurance="aead",
        )
        for number in range(records)
    ]


async def drain(records: int, nodes: int, round_trip_s: float, receive_maximum: int) -> tuple[float, float, float]:
    """(records per second, records per message, CPU microseconds per record) of one drain."""
    with tempfile.TemporaryDirectory() as folder, city_process(round_trip_s, receive_maximum) as (port, messages):
        async with (
            open_core(data_dir=Path(folder), gateway_id="gw", cities=["city"], window_s=0) as core,
            running(core),
        ):
            await store(core, backlog(records, nodes))
            where = Endpoint(host="127.0.0.1", port=port, is_tls=False)
            city = MqttCity(ClientOptions(endpoint=where, client_id="gw"), site="bench")
            forwarder = Forwarder(core.outbox, city, city_name="city", count=lambda name: None)
            async with asyncio.TaskGroup() as tasks:
                moving = [tasks.create_task(city.run()), tasks.create_task(forwarder.run())]
                await city.ready()
                began, cpu = time.perf_counter(), time.process_time()
                while forwarder.status()["delivered_backlog"] != records:  # noqa: ASYNC110 - counts have no event
                    await asyncio.sleep(0.005)
                took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
                while (await core.outbox.backlog("city")).records:  # noqa: ASYNC110 - nor has the disk
                    await asyncio.sleep(0.02)
                for task in moving:
                    task.cancel()
            (row,) = await core.outbox.audit()
            assert row.holds, row
            assert row.delivered == records, row
        return records / took_s, records / messages.value, cpu_s / records * 1e6


@contextmanager
def city_process(round_trip_s: float, receive_maximum: int) -> Iterator[tuple[int, Synchronized[int]]]:
    """A city behind a slow link, in a process of its own: its port, and how many messages it has taken."""
    context = multiprocessing.get_context("spawn")
    port, messages = context.Value("L", 0), context.Value("L", 0)
    process = context.Process(target=be_city, args=(round_trip_s, receive_maximum, port, messages), daemon=True)
    process.start()
    try:
        while not port.value:
            assert process.is_alive(), "the city's process did not start"
            time.sleep(0.01)
        yield port.value, messages
    finally:
        process.terminate()
        process.join()


def be_city(round_trip_s: float, receive_maximum: int, port: Synchronized[int], messages: Synchronized[int]) -> None:
    async def serve() -> None:
        def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Awaitable[None]:
            return take_all(reader, writer, receive_maximum, messages)

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, Relay(server.sockets[0].getsockname()[1], delay_s=round_trip_s / 2) as relay:
            port.value = relay.port
            await asyncio.Event().wait()

    asyncio.run(serve())


async def take_all(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, receive_maximum: int, messages: Synchronized[int]
) -> None:
    """A broker that acknowledges what it gets and keeps nothing; it fails if Receive Maximum is exceeded."""
    packets = PacketReader(version=None, max_packet_size=1_000_000)
    while data := await reader.read(1_000_000):
        answers = []
        for packet in packets.feed(data):
            if isinstance(packet, Connect):
                told = Properties(receive_maximum=receive_maximum) if receive_maximum else Properties()
                answers.append(encode(Connack(False, 0, told), V5))
            elif isinstance(packet, Publish):
                messages.value += 1
                answers.append(encode_puback(packet.packet_id, 0, V5))
            elif isinstance(packet, Pingreq):
                answers.append(Pingresp.BYTES)
        writer.write(b"".join(answers))
    writer.close()


def as_stored(reports: Sequence[Report]) -> list[Stored]:
    """As if they had been read from the outbox."""
    return [Stored.of(number * len(STREAMS) + TELEMETRY, report) for number, report in enumerate(reports)]


async def alone(records: Sequence[Stored], compressor: Compressor | None) -> float:
    """CPU seconds of the forwarder from take() to settle(), with an outbox in memory and a platform that takes all."""
    outbox, city = MemoryOutbox(records), NullPlatform()
    forwarder = Forwarder(outbox, city, city_name="city", count=lambda name: None, compressor=compressor)  # type: ignore[arg-type]
    gc.collect()
    gc.freeze()  # the backlog in memory is the bench's, and not there to be searched for garbage
    cpu = time.process_time()
    async with asyncio.TaskGroup() as tasks:
        moving = tasks.create_task(forwarder.run())
        await outbox.is_empty.wait()
        moving.cancel()
    return time.process_time() - cpu


class NullPlatform:
    """Writes every pack as the packet it would be, and accepts it in the next turn of the loop."""

    content: Content = "json"
    on_room: Callable[[], None] | None = None
    state = "connected"
    room = window = 200

    async def ready(self) -> None:
        return

    async def gone(self) -> None:
        await asyncio.Event().wait()

    def most_bytes(self, node: str) -> int | None:
        return None

    def send(self, pack: Pack) -> asyncio.Future[int]:
        records = write_rows((ID_PROPERTY, pack.record_ids), (COUNT_PROPERTY, pack.record_counts))
        told = Properties(written=records + about_message(pack.content_type, pack.is_binary, pack.remarks))
        encode_publish(Publish(f"city/bench/{pack.node}/senml", pack.payload, 1, packet_id=1, properties=told), V5)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        loop.call_soon(answer.set_result, 0)
        return answer


class MemoryOutbox:
    """The outbox's reading side over a list: what is measured is the forwarder."""

    def __init__(self, records: Sequence[Stored]) -> None:
        self._records = records
        self._at = 0
        self._left = count_of(records)
        self.is_empty = asyncio.Event()

    async def take(self, city: str, *, lane: Lane, streams: Sequence[int], limit: int, **_options: object) -> Batch:
        if lane == "live" or TELEMETRY not in streams or self._at >= len(self._records):
            await asyncio.Event().wait()
        taken: list[Stored] = []
        while limit > 0 and self._at < len(self._records):
            taken.append(self._records[self._at])
            limit -= taken[-1].span
            self._at += 1
        return Batch(city=city, stream=TELEMETRY, lane=lane, records=tuple(taken))

    def reconnected(self, city: str) -> None:
        """Nothing was on its way."""

    async def settle(self, outcomes: Sequence[tuple[Batch, str]], *, reason: str = "") -> None:
        self._left -= sum(count_of(batch.records) for batch, _ in outcomes)
        if not self._left:
            self.is_empty.set()


async def store(core: Core, reports: list[Report]) -> None:
    """Put them into the outbox, many per commit: how they came there is another bench's business."""
    for at in range(0, len(reports), 5_000):
        part = reports[at : at + 5_000]
        await core.store.write(
            lambda tx, part=part: [core.outbox.put(tx, one, is_produced=False, now_s=1.8e9) for one in part]
        )


@asynccontextmanager
async def running(core: Core) -> AsyncIterator[None]:
    keeping = asyncio.create_task(core.run())
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


if __name__ == "__main__":
    main()
