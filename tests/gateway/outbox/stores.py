"""Stores on disk for tests of the tools, and the tools as a person runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.core import Core
from gateway.reading import Reading, Report
from lamppost import cli
from tests.gateway.cores import NOW_S, ManualTime, running_core

CITIES = ["near", "far"]


def made(node: str, seq: int, *, kind: str = "telemetry", pad: int = 0) -> Report:
    readings = (
        Reading(quantity="t", value=float(seq), unit="Cel"),
        Reading(quantity="raw", value=b"\xff\0" + b"x" * pad),
    )
    return Report(
        node=node,
        record_id=f"{node}/1/{seq}",
        measured_at_s=NOW_S + seq,
        readings=readings,
        epoch=1,
        seq=seq,
        kind=kind,  # type: ignore[arg-type]
    )


async def put(core: Core, *reports: Report, now_s: float = NOW_S) -> None:
    def change(tx: Any) -> None:
        for report in reports:
            core.outbox.put(tx, report, is_produced=False, now_s=now_s)

    await core.store.write(change)


async def make_store(data_dir: Path) -> None:
    """1,200 records of telemetry and 12 alarms, stored second by second; "near" has the alarms and 300 of the rest."""
    async with running_core(data_dir, cities=CITIES, clock=ManualTime().clock) as core:
        for at in range(0, 1200, 100):
            reports = [made("n", seq, pad=40) for seq in range(at, at + 100)]
            await put(core, *reports, made("a", at, kind="alarm"), now_s=NOW_S + at)
        for count in (12, 300):
            await core.outbox.mark_delivered(await core.outbox.oldest("near", count))


def outbox(what: str, data_dir: Path, *options: str) -> int:
    """The exit code of `lamppost outbox ...`."""
    return cli.main(["outbox", what, "--data-dir", str(data_dir), *options])
