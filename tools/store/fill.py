"""Fills a store without devices: the shipped store, as after so many messages, in a process that ends as by a kill.

python -m tools.store.fill DATA_DIR FIRST COUNT. The readings are those of tools.measure.load, by serial number.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from pathlib import Path

from gateway.outbox.entries import Transaction
from gateway.reading import STREAMS, Reading, Report
from gateway.store import Store
from tools.measure.tally import DEVICES

_COMMIT = 4_000
_TELEMETRY = STREAMS.index("telemetry")


def main() -> None:
    """Never returns."""
    data_dir, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    asyncio.run(_fill(data_dir, first, count))


async def _fill(data_dir: Path, first: int, count: int) -> None:
    async with Store(data_dir) as store:
        for at in range(first, first + count, _COMMIT):
            await store.write_alone(lambda tx, at=at: _put(tx, at, min(at + _COMMIT, first + count)))  # type: ignore[misc]
        os._exit(0)  # the disk is as a kill leaves it


def _put(tx: Transaction, first: int, end: int) -> None:
    now_s = time.time()
    for serial in range(first, end):
        node = f"d{serial % DEVICES:03}"
        digest = hashlib.blake2b(serial.to_bytes(8, "big"), digest_size=16).hexdigest()
        report = Report(
            node=node,
            record_id=f"{node}/h/{digest}",
            measured_at_s=round(now_s, 3),
            readings=(Reading(quantity="energy_sum", value=serial, unit="J"),),
        )
        tx.put(report, _TELEMETRY, is_produced=False, now_s=now_s)


if __name__ == "__main__":
    main()
