"""How many records per second the intake puts on disk: python -m tools.bench_intake [--frames N] [--dir DIR]

Sealed frames of 20 nodes with one and ten reports each, and SenML of third parties, from 1, 32 and 256 submitters at
once; every commit is synced. Prints records/s, commits/s, CPU per record, and bytes written per record (write_bytes of
/proc/self/io).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.core import Core
from gateway.intake import Burst, Uplink
from gateway.start import open_core
from tests.gateway.link_node import LinkNode

NODES = 20
ROW = "{:<22}{:>11}{:>12}{:>12}{:>10}{:>12}{:>14}"


class Commits:
    """Counts the commits in which something was written down."""

    def __init__(self) -> None:
        self.count = 0

    def flush(self, tx: object) -> None:
        self.count += 1

    def forget(self) -> None:
        """Nothing is remembered here."""


async def measure(
    core: Core, commits: Commits, name: str, submitters: int, jobs: list[Callable[[], Awaitable[int]]]
) -> None:
    """Run `jobs` from so many tasks and print one row."""
    waiting = iter(jobs)
    records = 0

    async def submit() -> None:
        nonlocal records
        for job in waiting:
            stored = await job()
            records += stored

    commits.count, written, began, cpu = 0, write_bytes(), time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(submitters):
            tasks.create_task(submit())
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    print(
        ROW.format(
            name,
            submitters,
            f"{records / took_s:,.0f}",
            f"{len(jobs) / took_s:,.0f}",
            f"{commits.count / took_s:,.0f}",
            f"{cpu_s / records * 1e6:,.0f} us",
            f"{(write_bytes() - written) / records:,.0f}",
        )
    )


def write_bytes() -> int:
    """Bytes this process had written to the disk so far."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


def frame_jobs(
    core: Core, nodes: list[LinkNode], frames: int, per_frame: int, seqs: list[int]
) -> list[Callable[[], Awaitable[int]]]:
    """Frames sealed beforehand: the nodes' work is not the gateway's."""
    jobs = []
    for number in range(frames):
        node = nodes[number % len(nodes)]
        first = seqs[number % len(nodes)]
        seqs[number % len(nodes)] += per_frame
        sealed = node.frame(*range(first, first + per_frame), floor=first)

        async def job(sealed: bytes = sealed) -> int:
            verdict = await core.intake.submit(Uplink(frame=sealed, bearer="mqtt", received_at_s=time.time()))
            assert verdict.accepted, verdict
            return verdict.stored

        jobs.append(job)
    return jobs


def senml_jobs(core: Core, messages: int, began_s: float) -> list[Callable[[], Awaitable[int]]]:
    """One reading per message, with a time, as a meter sends it."""
    jobs = []
    for number in range(messages):
        payload = json.dumps([{"n": "temperature", "u": "Cel", "t": began_s + number, "v": 21.5}]).encode()

        async def job(payload: bytes = payload, device: str = f"meter-{number % 200}") -> int:
            burst = Burst(devices=[device], payloads=[payload], received_at_s=time.time())
            assert await core.intake.submit_bursts([burst]) == [[None]]
            return 1

        jobs.append(job)
    return jobs


async def drain(core: Core) -> None:
    """Take everything out again, as a city that answers at once would."""
    began, taken = time.perf_counter(), 0
    while (await core.outbox.backlog("city")).records:
        batch = await core.outbox.oldest("city", 500)
        await core.outbox.mark_delivered(batch)
        taken += len(batch.records)
    print(f"drained {taken:,} records, {taken / (time.perf_counter() - began):,.0f}/s")


async def main(data_dir: Path, frames: int) -> None:
    nodes = [LinkNode(number) for number in range(1, NODES + 1)]
    for node in nodes:
        node.enrol(data_dir)
    seqs = [0] * NODES
    async with open_core(data_dir=data_dir, gateway_id="gw-1", cities=["city"], window_s=60) as core:
        commits = Commits()
        core.store.join(commits)
        running = asyncio.create_task(core.run())
        print(ROW.format("what", "submitters", "records/s", "messages/s", "commits/s", "CPU/record", "bytes/record"))
        for submitters, share in ((1, 20), (32, 4), (256, 1)):
            for per_frame in (1, 10):
                jobs = frame_jobs(core, nodes, frames // share, per_frame, seqs)
                await measure(core, commits, f"frames of {per_frame}", submitters, jobs)
            jobs = senml_jobs(core, frames // share, 1.7e9 + submitters * 1e6)
            await measure(core, commits, "SenML", submitters, jobs)
        await drain(core)
        assert all(row.holds for row in await core.outbox.audit())
        running.cancel()
        await asyncio.wait([running])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000, help="messages per row with the most submitters")
    parser.add_argument(
        "--dir", type=Path, default=None, help="folder on the disk to measure; default: a temporary one"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        asyncio.run(main(Path(folder), arguments.frames))
