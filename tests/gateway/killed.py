"""A gateway with its nodes and its city in one process, to be killed: says on stdout what it acked and delivered.

usage: killed.py DATA_DIR RUN NEXT_SEQ...

One next sequence per node. Each run's clock is a minute on, so that the windows of the one before are told. With RUN
"last" it delivers everything and ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from gateway import senml
from gateway.clock import ClockTrust
from gateway.core import Core
from tests.gateway.cores import hear, running_core
from tests.gateway.link_node import LinkNode, report
from tests.gateway.packs import packs_of

START_S = 1_790_000_000.0


def say(**line: object) -> None:
    """One whole line, in one write: the kill may come at any moment."""
    os.write(1, json.dumps(line).encode() + b"\n")


async def be_node(core: Core, node: LinkNode, seq: int) -> None:
    """Report for ever, each sequence with values that it alone has, until acked."""
    while True:
        values = (seq % 12_000 - 4000, seq % 10_000, 30_000 + seq % 80_000)
        verdict = await hear(
            core, node.seal(node.body([report(seq, values=values)], floor=seq)), at_s=START_S + seq / 4
        )
        assert verdict.downlink is not None
        ack = node.open(verdict.downlink)
        assert ack.base == seq + 1, (ack.base, seq)
        downlink = int.from_bytes(verdict.downlink[4:8], "big")
        say(acked=seq, node=node.id, downlink=downlink)
        seq += 1


async def be_city(core: Core) -> None:
    """Take what is oldest, say so, and only then acknowledge it."""
    while True:
        batch = await core.outbox.oldest("city", 20)
        deliver(batch)
        await core.outbox.mark_delivered(batch)


def deliver(batch: object) -> None:
    for pack in packs_of(batch, 16):
        for stored in pack.records:
            one = senml.encode([stored.report], lane="live")
            say(delivered=stored.report.record_id, content=one.payload.decode())


async def tell_windows(core: Core) -> None:
    while True:
        await asyncio.sleep(0.05)
        await core.clockwork.tell_windows()


async def main(data_dir: Path, run: str, next_seqs: list[int]) -> None:
    nodes = [LinkNode(number) for number in range(1, len(next_seqs) + 1)]
    for node in nodes:
        node.enrol(data_dir)
        node.counter = 0 if run == "last" else int(run) * 1_000_000
    later_s = 60.0 * (1000 if run == "last" else int(run))
    clock = ClockTrust(wall=lambda: time.time() + later_s)
    async with running_core(data_dir, window_s=5, clock=clock) as core:
        say(audit=all(row.holds for row in await core.outbox.audit()), notices=core.store.notices)
        if run == "last":
            await core.clockwork.tell_windows()
            while (await core.outbox.backlog("city")).records:
                batch = await core.outbox.oldest("city", 100)
                deliver(batch)
                await core.outbox.mark_delivered(batch)
            say(audit=all(row.holds for row in await core.outbox.audit()), counters=core.counters.snapshot())
            return
        async with asyncio.TaskGroup() as tasks:
            for node, seq in zip(nodes, next_seqs, strict=True):
                tasks.create_task(be_node(core, node, seq))
            tasks.create_task(be_city(core))
            tasks.create_task(tell_windows(core))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], [int(seq) for seq in sys.argv[3:]]))
