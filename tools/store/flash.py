"""Flash care: what is written per payload byte, by the process and at a device with ext4, and what that costs in time.

write_bytes of /proc/PID/io is what the process caused to be sent to storage; the sectors of the loop device are what
arrived there, with the file system's journal. Never what was passed to write(). Counted is a store in use: first so
much is sent at full speed that its files go round, and a span is long enough for a checkpoint.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.measure.disk import DiskError, LoopDisk
from tools.measure.load import Load
from tools.measure.tally import Span, Tally, percentile
from tools.rivals.city import MosquittoCity
from tools.store.agent import READING_BYTES, Agent, running

_DISK_BYTES = 1 << 30  # the least on which segments have their full 8 MiB
_WARM_S = 3.0
_QUIET_S = 30.0
_YEAR_S = 365 * 86_400
_ROW = "{:>10}{:>9}{:>10}{:>16}{:>16}{:>18}{:>12}{:>12}  {}"
_HEAD = (
    "readings/s",
    "windows",
    "readings",
    "process B per B",
    "device B per B",
    "p50 / p99 ms",
    "GB a year",
    "status says",
    "limits",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured. `window_s`: of the edge, 0: none. The limits are per payload byte, and of p99."""

    per_s: float
    window_s: int
    seconds: float
    most_process: float
    most_device: float
    most_p99_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """At one rate. `device_per_byte` is None where no loop device can be made; `told`: bytes per reading, by status."""

    case: Case
    readings: int
    process_per_byte: float
    device_per_byte: float | None
    p50_ms: float
    p99_ms: float
    told: float | None
    lost: int

    @property
    def gb_per_year(self) -> float:
        """At the device if that was counted, else by the process."""
        per_byte = self.process_per_byte if self.device_per_byte is None else self.device_per_byte
        return self.case.per_s * READING_BYTES * per_byte * _YEAR_S / 1e9

    @property
    def missed(self) -> list[str]:
        """Which limits it does not keep to."""
        case = self.case
        found = [
            ("process", self.process_per_byte, case.most_process),
            ("device", self.device_per_byte, case.most_device),
            ("p99", self.p99_ms, case.most_p99_ms),
            ("loss", self.lost, 0),
        ]
        return [name for name, value, most in found if value is not None and most is not None and value > most]


def measure(*, fast_s: float, slow_s: float, recycled: int) -> list[Figures]:
    """200 and 10 readings/s, without the edge's windows and with them, each on a store of its own.

    fast_s    seconds at 200/s, both at once; a checkpoint is made every 8 MiB, after some 380 s
    slow_s    seconds at 10/s, both at once; a checkpoint is made every 900 s
    recycled  readings sent before at full speed
    """
    print(_ROW.format(*_HEAD))
    fast = [
        Case(per_s=200, window_s=w, seconds=fast_s, most_process=2.0, most_device=2.5, most_p99_ms=250) for w in (0, 60)
    ]
    slow = [Case(per_s=10, window_s=w, seconds=slow_s, most_process=5.0, most_device=9.0) for w in (0, 60)]
    return [*_together(fast, recycled), *_together(slow, recycled)]


def _together(cases: Sequence[Case], recycled: int) -> list[Figures]:
    """They take long and little: on disks of their own they are not in each other's way."""
    with ThreadPoolExecutor(len(cases)) as threads:
        return list(threads.map(lambda case: _at(case, recycled), cases))


def _at(case: Case, recycled: int) -> Figures:
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="lamppost-flash-") as name:
        folder = Path(name)
        with _disk(folder) as (place, disk), MosquittoCity(folder) as city, city.listen(tally), Load(tally) as load:
            with running(place, city_port=city.port, window_s=case.window_s) as agent:
                _use(agent, load, tally, recycled, case)
                before, device_before = agent.process.use(), _written(disk)
                load.start(agent.port, seconds=case.seconds, rate=case.per_s)
                span = load.finish(within_s=case.seconds + 120)
                after, device_after = agent.process.use(), _written(disk)
                told = agent.status()["flash"]["bytes_per_reading"]
                lost = _lost(tally, span)
    count = span.end - span.first
    latencies_s = tally.latencies_s(span)
    figures = Figures(
        case=case,
        readings=count,
        process_per_byte=(after.written_bytes - before.written_bytes) / count / READING_BYTES,
        device_per_byte=(device_after - device_before) / count / READING_BYTES if disk else None,
        p50_ms=percentile(latencies_s, 0.5) * 1000,
        p99_ms=percentile(latencies_s, 0.99) * 1000,
        told=told,
        lost=lost,
    )
    _print(figures)
    return figures


def _use(agent: Agent, load: Load, tally: Tally, recycled: int, case: Case) -> None:
    """Let files of the store come back into use, then the rate become known to it."""
    if recycled:
        load.start(agent.port, seconds=600, count=recycled)
        filled = load.finish(within_s=720)
        if left := _lost(tally, filled):
            raise TimeoutError(f"{left} of {recycled} readings did not come out before the measurement")
    load.run(agent.port, seconds=max(_WARM_S, 30 / case.per_s), rate=case.per_s)


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
    case = one.case
    device = "not counted" if one.device_per_byte is None else f"{one.device_per_byte:.2f}"
    limits = f"{case.most_process:g} / {case.most_device:g}" + (
        f", {case.most_p99_ms:g} ms" if case.most_p99_ms else ""
    )
    print(
        _ROW.format(
            f"{case.per_s:.0f}",
            f"{case.window_s} s" if case.window_s else "off",
            one.readings,
            f"{one.process_per_byte:.2f}",
            device,
            f"{one.p50_ms:.0f} / {one.p99_ms:.0f}",
            f"{one.gb_per_year:.1f}",
            f"{one.told:.0f} B each" if one.told is not None else "nothing",
            f"({limits}) {'MISSED: ' + ', '.join(one.missed) if one.missed else 'kept'}",
        )
        + (f"  LOST {one.lost}" if one.lost else ""),
        flush=True,
    )
