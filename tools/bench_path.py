"""Where the time of a reading goes: CPU per reading of each stage of its way. python -m tools.bench_path [--windows]

One process, one stage after the other, no sockets: a connection is fed buffers as 200 devices send them, the store is a
real one on disk, the platform takes everything at once. Waiting for the disk costs no CPU and is not in the figures;
nor are the kernel's sockets and the two threads' waiting for each other, which only a run as a whole shows
(tools/bench_rivals). Each figure is the median of --runs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.core import Core
from gateway.endpoint import Endpoint
from gateway.intake import Burst, Intake, Message
from gateway.mqtt.access import Peer
from gateway.mqtt.device import DeviceConnection
from gateway.mqtt.encode import encode_publish
from gateway.mqtt.packet import V311, Connect, Publish
from gateway.outbox.batch import Batch, Lane
from gateway.outbox.stored import count_of
from gateway.reading import STREAMS
from gateway.southbound.mqtt import IngestListener
from gateway.start import open_core
from tools.bench_drain import alone

DEVICES = 200
TELEMETRY = STREAMS.index("telemetry")
PER_COMMIT = 4_000
ROW = "{:<52}{:>9}"
OWED = "taken from the disk instead, after an outage"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readings", type=int, default=40_000, help="per run")
    parser.add_argument("--burst", type=int, default=50, help="readings that a device sends at one time")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--windows", action="store_true", help="with the edge windows of a default configuration")
    args = parser.parse_args()
    found: dict[str, list[float]] = {}
    for _ in range(args.runs):
        with tempfile.TemporaryDirectory() as folder:
            for what, cpu_s in asyncio.run(stages(Path(folder), args.readings, args.burst, 60 * args.windows)):
                found.setdefault(what, []).append(cpu_s / args.readings * 1e6)
    print(ROW.format(f"{args.readings:,} readings, {args.burst} per buffer", "CPU us"))
    for what, figures in found.items():
        print(ROW.format(what, f"{statistics.median(figures):.2f}"))
    on_the_way = [statistics.median(figures) for what, figures in found.items() if what != OWED]
    print(ROW.format("sum, of all but the last", f"{sum(on_the_way):.2f}"))


async def stages(folder: Path, readings: int, burst: int, window_s: int) -> list[tuple[str, float]]:
    """(stage, CPU seconds) in the order of the way."""
    gc.collect()
    gc.freeze()
    payloads = payloads_of(readings, burst)
    async with open_core(data_dir=folder, gateway_id="gw", cities=["city"], window_s=window_s) as core:
        keeping = asyncio.create_task(core.run())
        into = await from_the_wire(core, payloads, burst)
        stored, taken, live = await to_the_disk(core, payloads, burst)
        owed = await from_the_disk(core, readings)
        settled = await settle(core, live)
        keeping.cancel()
        await asyncio.wait([keeping])
    onto = await alone([stored for batch in live for stored in batch.records], None)
    return [
        ("bytes of PUBLISHes -> intake, verdicts -> PUBACKs", into),
        ("decode, validate, record id, body, commit", stored),
        ("taken for the platform, from memory", taken),
        ("lines, packs, PUBLISHes; answers judged", onto),
        ("cursor moved", settled),
        (OWED, owed),
    ]


def payloads_of(readings: int, burst: int) -> list[tuple[str, bytes]]:
    """(device, payload) in bursts, the devices in turn."""
    text = '[{"n":"energy_sum","u":"J","v":%d,"t":%d.%03d}]'
    return [
        (f"d{at // burst % DEVICES:03d}", (text % (10_000_000 + at, 1_700_000_000 + at // 1000, at % 1000)).encode())
        for at in range(readings)
    ]


# Stages


class NullIntake(Intake):
    """Accepts everything at once."""

    def __init__(self) -> None:
        """Nothing is behind it."""

    async def submit_bursts(
        self, bursts: Sequence[Burst | Message], *, within_s: float | None = None
    ) -> list[list[str | None]]:
        return [[None] * len(one.payloads) for one in bursts if isinstance(one, Burst)]


class NullTransport(asyncio.Transport):
    """Counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Who feeds it waits for the answers anyway."""

    def resume_reading(self) -> None:
        """Likewise."""


async def from_the_wire(core: Core, payloads: list[tuple[str, bytes]], burst: int) -> float:
    listener = IngestListener(NullIntake(), Endpoint(host="127.0.0.1", port=0, is_tls=False), count=core.counters.add)
    async with listener:
        connections = [connected(listener, number) for number in range(DEVICES)]
        buffers = list(buffers_of(payloads, burst))
        await asyncio.sleep(0)
        began_s = time.process_time()
        for at in range(0, len(buffers), DEVICES):
            for connection, data in zip(connections, buffers[at : at + DEVICES], strict=False):
                connection.get_buffer(-1)[: len(data)] = data
                connection.buffer_updated(len(data))
            while any(connection.unacknowledged for connection in connections):  # noqa: ASYNC110 - the loop is measured
                await asyncio.sleep(0)
        took_s = time.process_time() - began_s
    assert sum(connection._transport.written for connection in connections) >= 4 * len(payloads)  # type: ignore[union-attr]
    return took_s


def connected(listener: IngestListener, number: int) -> DeviceConnection:
    """A connection whose CONNECT was admitted, without a socket."""
    connection = DeviceConnection(listener._listener)
    connection._transport = NullTransport()
    connection._reader.version = V311
    connection.welcome(Peer(f"d{number:03d}"), Connect(client_id=f"d{number:03d}", version=V311))
    return connection


def buffers_of(payloads: list[tuple[str, bytes]], burst: int) -> Iterator[bytes]:
    for at in range(0, len(payloads), burst):
        yield b"".join(
            encode_publish(Publish(f"up/{device}/senml", payload, 1, packet_id=number), V311)
            for number, (device, payload) in enumerate(payloads[at : at + burst], 1)
        )


async def to_the_disk(core: Core, payloads: list[tuple[str, bytes]], burst: int) -> tuple[float, float, list[Batch]]:
    """CPU seconds of storing and of taking what is new, and what was taken."""
    core.outbox.reconnected("city")
    stored_s = taken_s = 0.0
    batches: list[Batch] = []
    for at in range(0, len(payloads), PER_COMMIT):
        together = payloads[at : at + PER_COMMIT]
        bursts = [
            Burst(
                devices=[device for device, _ in together[start : start + burst]],
                payloads=[payload for _, payload in together[start : start + burst]],
                received_at_s=1.8e9,
            )
            for start in range(0, len(together), burst)
        ]
        began_s = time.process_time()
        await core.intake.submit_bursts(bursts, within_s=0.0)
        between_s = time.process_time()
        batches += await taken(core, "live", len(together))
        stored_s, taken_s = stored_s + between_s - began_s, taken_s + time.process_time() - between_s
    return stored_s, taken_s, batches


async def from_the_disk(core: Core, readings: int) -> float:
    """As if the platform had not had them."""
    core.outbox.reconnected("city")
    began_s = time.process_time()
    await taken(core, "backlog", readings)
    return time.process_time() - began_s


async def taken(core: Core, lane: Lane, left: int) -> list[Batch]:
    batches = []
    while left:
        batch = await core.outbox.take(
            "city", lane=lane, streams=[TELEMETRY], limit=1_000, max_bytes=524_288, in_rows=True
        )
        batches.append(batch)
        left -= count_of(batch.records)
    return batches


async def settle(core: Core, batches: list[Batch]) -> float:
    began_s = time.process_time()
    for batch in batches:
        await core.outbox.settle([(batch, "delivered")])
    return time.process_time() - began_s


if __name__ == "__main__":
    main()
