"""A running core for tests, and a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from gateway.clock import ClockTrust
from gateway.core import Core
from gateway.intake import Uplink, Verdict
from gateway.outbox.files import Files
from gateway.reading import STREAMS, Report
from gateway.start import open_core

NOW_S = 1_800_000_000.0


class ManualTime:
    """Wall and monotonic time in one; `clock` is what the gateway gets."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s
        self.clock = ClockTrust(wall=lambda: self.now_s, monotonic=lambda: self.now_s)

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class FailingDisk(Files):
    """The file layer of a disk that takes what is written and then cannot sync it."""

    def __init__(self) -> None:
        self.fails = False

    def sync(self, fd: int) -> None:
        super().sync(fd)
        if self.fails:
            raise OSError(errno.EIO, "Input/output error")


@asynccontextmanager
async def running_core(data_dir: Path, **options: Any) -> AsyncIterator[Core]:
    """A core of gateway "gw-1" with one platform "city", its tasks running."""
    settings: dict[str, Any] = {"gateway_id": "gw-1", "cities": ["city"], "window_s": 0, "commit_window_s": 0.001}
    settings["segment_bytes"] = 256 << 10
    async with open_core(data_dir=data_dir, **(settings | options)) as core:
        running = asyncio.create_task(core.run())
        try:
            yield core
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def hear(core: Core, frame: bytes, *, at_s: float = NOW_S, airtime_us: int = 0) -> Verdict:
    """Hand one frame to the intake."""
    return await core.intake.submit(Uplink(frame=frame, bearer="mqtt", received_at_s=at_s, airtime_us=airtime_us))


async def stored_reports(core: Core) -> list[Report]:
    """Everything in the outbox, without taking it: most important stream first."""

    vault = core.store.vault

    def query(_: sqlite3.Connection) -> list[Report]:
        ledger, found = vault.published, []
        for stream in range(len(STREAMS)):
            runs = list(ledger.gone[stream].missing(0, ledger.ends[stream]))
            records, unreadable = vault.reader.read(stream, runs, most=1 << 30)
            assert not unreadable
            found += [one.report for one in records]
        return found

    return await core.store.read(query)


async def deliver_all(core: Core, city: str = "city") -> list[Report]:
    """Take and settle everything that waits, in the order in which a forwarder would."""
    taken: list[Report] = []
    while (await core.outbox.backlog(city)).records:
        batch = await core.outbox.oldest(city, 100)
        taken += [stored.report for stored in batch.records]
        await core.outbox.mark_delivered(batch)
    return taken


def reading_values(report: Report) -> dict[str, Any]:
    return {reading.quantity: reading.value for reading in report.readings}


def missed_by(report: Report, city: str) -> int:
    """How many records of nodes a record of ours says this platform does not get, or stands for."""
    values = reading_values(report)
    if report.kind == "gap" and report.subject != "gw-1" and city in values.get("gap/platforms", "").split():
        return int(values["gap/count"])
    if report.kind == "thinned" and city in values["thinned/platforms"].split():
        return int(values["thinned/count"])
    return 0
