"""Run on a small disk: fill it through the intake, then let the city take. Exit status 0 if nothing acked was lost."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.gateway.cores import deliver_all, hear, running_core
from tests.gateway.link_node import LinkNode

PER_FRAME = 10
REFUSALS = 20


async def main(data_dir: Path) -> int:
    node = LinkNode(1)
    node.enrol(data_dir)
    accepted: list[int] = []
    refused = 0
    async with running_core(data_dir) as core:
        seq = 0
        while refused < REFUSALS:
            frames = [node.frame(*range(at, at + PER_FRAME)) for at in range(seq, seq + 50 * PER_FRAME, PER_FRAME)]
            for at, verdict in enumerate(await asyncio.gather(*(hear(core, frame) for frame in frames))):
                if verdict.accepted:
                    accepted += range(seq + at * PER_FRAME, seq + (at + 1) * PER_FRAME)
                else:
                    assert verdict.retry, verdict
                    assert verdict.downlink is None
                    refused += 1
            seq += 50 * PER_FRAME
            assert seq < 500_000, "the disk was never full"
        assert core.counters["store_full"] == refused
        assert core.store.trouble == "StoreFull"
        assert all(row.holds for row in await core.outbox.audit())
        reports = await deliver_all(core)
        assert [report.seq for report in reports if report.node == node.id] == accepted, "acknowledged, not delivered"
        assert (await hear(core, node.frame(seq))).accepted, "there is room again and nothing was stored"
        assert all(row.holds for row in await core.outbox.audit())
    print(f"{len(accepted)} reports accepted and delivered, {refused} frames refused")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]))))
