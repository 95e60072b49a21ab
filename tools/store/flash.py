"""Flash care: what is written per payload byte, by the process and at a device with ext4, and what that costs in time.

write_bytes of /proc/PID/io is what the process caused to be sent to storage; the sectors of the loop device are what
arrived there, with the file system's journal. Never what was passed to write().
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.measure.disk import DiskError, LoopDisk
from tools.measure.load import Load
from tools.measure.tally import Span, Tally, percentile
from tools.rivals.city import MosquittoCity
from tools.store.agent import READING_BYTES, running

RATES_PER_S = (200, 10)
_DISK_BYTES = 512 << 20
_WARM_S = 3.0
_QUIET_S = 30.0
_YEAR_S = 365 * 86_400
_ROW = "{:>10}{:>12}{:>22}{:>22}{:>18}{:>14}"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """At one rate. `device_per_byte` is None where no loop device can be made."""

    per_s: float
    readings: int
    process_per_byte: float
    device_per_byte: float | None
    p50_ms: float
    p99_ms: float
    lost: int

    @property
    def gb_per_year(self) -> float:
        """At the device if that was counted, else by the process."""
        per_byte = self.process_per_byte if self.device_per_byte is None else self.device_per_byte
        return self.per_s * READING_BYTES * per_byte * _YEAR_S / 1e9


def measure(seconds: float) -> list[Figures]:
    """Each rate for so many seconds, each on a store of its own."""
    print(_ROW.format("readings/s", "readings", "process B per byte", "device B per byte", "p50/p99 ms", "GB a year"))
    return [_at(rate, seconds) for rate in RATES_PER_S]


def _at(rate: int, seconds: float) -> Figures:
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="lamppost-flash-") as name:
        folder = Path(name)
        with _disk(folder) as (place, disk), MosquittoCity(folder) as city, city.listen(tally):
            with running(place, city_port=city.port) as agent, Load(tally) as load:
                load.run(agent.port, seconds=_WARM_S, rate=rate)
                before, device_before = agent.process.use(), _written(disk)
                span = load.run(agent.port, seconds=seconds, rate=rate)
                after, device_after = agent.process.use(), _written(disk)
                lost = _lost(tally, span)
    count = span.end - span.first
    latencies_s = tally.latencies_s(span)
    figures = Figures(
        per_s=rate,
        readings=count,
        process_per_byte=(after.written_bytes - before.written_bytes) / count / READING_BYTES,
        device_per_byte=(device_after - device_before) / count / READING_BYTES if disk else None,
        p50_ms=percentile(latencies_s, 0.5) * 1000,
        p99_ms=percentile(latencies_s, 0.99) * 1000,
        lost=lost,
    )
    _print(figures)
    return figures


@contextmanager
def _disk(folder: Path) -> Iterator[tuple[Path, LoopDisk | None]]:
    """A device whose sectors are counted; without one the folder itself, and that is said."""
    disk = LoopDisk(folder, size_bytes=_DISK_BYTES)
    try:
        disk.__enter__()
    except DiskError as error:
        print(f"NOT COUNTED at the device: {error}", file=sys.stderr)
        yield folder, None
        return
    try:
        yield disk.path, disk
    finally:
        disk.__exit__()


def _written(disk: LoopDisk | None) -> int:
    """With everything that waits in memory written out, so that each span pays for its own."""
    if disk is None:
        return 0
    fd = os.open(disk.path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.sync()
    return disk.written_bytes()


def _lost(tally: Tally, span: Span) -> int:
    """What is missing once nothing has come for a while."""
    began_s = time.monotonic()
    while missing := tally.missing(span):
        if time.monotonic() - max(began_s, tally.last_arrival_s.value) > _QUIET_S:
            return missing
        time.sleep(0.1)
    return 0


def _print(one: Figures) -> None:
    device = "not counted" if one.device_per_byte is None else f"{one.device_per_byte:.2f}"
    print(
        _ROW.format(
            f"{one.per_s:.0f}",
            one.readings,
            f"{one.process_per_byte:.2f}",
            device,
            f"{one.p50_ms:.1f} / {one.p99_ms:.1f}",
            f"{one.gb_per_year:.1f}",
        )
        + (f"  LOST {one.lost}" if one.lost else ""),
        flush=True,
    )
