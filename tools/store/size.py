"""Size: how the agent starts, what memory it takes and how fast it drains with many records stored, beside few.

Few and many drain the same number of records, in turn, and the medians are compared: by the clock, and by processor
time, which other work on the machine disturbs less. Few are twice what is drained, because the agent reads ahead: with
nothing behind the last record it would be spared that, which many are not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tools.measure.process import ProcessError, Use
from tools.measure.sink import Sink
from tools.measure.tally import FIRST, Tally
from tools.store.agent import Agent

_TURNS = 3
_IDLE_S = 5.0
_STALL_S = 60.0  # no arrival for so long: it does not drain
_NOBODY = 9  # a port where no city is
_MOST_START_S, _MOST_RSS, _MOST_SLOWER = 1.0, 64 << 20, 0.05


@dataclass(frozen=True, kw_only=True)
class Start:
    """From exec until devices can connect. `rss_bytes`: a few seconds later, with nothing to do."""

    seconds: float
    cpu_s: float
    rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class Drain:
    """Of one stretch: records per second, processor seconds of the agent per record, its highest memory."""

    per_s: float
    cpu_s: float
    peak_rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """With so many records stored."""

    records: int
    stored_bytes: int
    after_kill: Start
    start: Start
    drains: list[Drain]
    is_balanced: bool

    @property
    def per_s(self) -> float:
        return median(one.per_s for one in self.drains)

    @property
    def cpu_s(self) -> float:
        return median(one.cpu_s for one in self.drains)


class _Store:
    """A store of its own with an agent, and what was put into it. Serials of it begin at `first`."""

    def __init__(self, folder: Path, sink: Sink, tally: Tally, *, first: int) -> None:
        self._folder = folder
        self._tally = tally
        self._next = first
        self._city_port = sink.port
        self.agent = Agent(folder, city_port=_NOBODY)
        self.drains: list[Drain] = []
        self._left = 0  # records that wait

    def fill(self, most: int) -> None:
        """Let so many records wait. The first time the agent makes the store."""
        if not self.agent.data_dir.exists():
            self.start()
        count = most - self._left
        place = [str(self.agent.data_dir), str(self._next), str(count)]
        done = subprocess.run([sys.executable, "-m", "tools.store.fill", *place], capture_output=True, check=False)
        if done.returncode:
            raise ProcessError(f"the store could not be filled: {done.stderr.decode()[-300:]}")
        self._next += count
        self._left = most

    def start(self) -> Start:
        """Start it with no city, look at it, and stop it."""
        seconds = self.agent.start()
        cpu_s = self.agent.process.use().cpu_s
        time.sleep(_IDLE_S)
        used = self.agent.process.use()
        self.agent.process.stop()
        return Start(seconds=seconds, cpu_s=cpu_s, rss_bytes=used.rss_bytes)

    def drain(self, count: int) -> None:
        """Let the city come, and take the time until it has so many."""
        self._meet(_NOBODY, self._city_port)
        self.agent.start()
        arrived = self._tally.arrived.value
        first_s, before = self._wait_for(arrived + 1), self.agent.process.use()
        last_s, after = self._wait_for(arrived + count), self.agent.process.use()
        self.agent.process.stop()
        self._left -= self._tally.arrived.value - arrived
        self._meet(self._city_port, _NOBODY)
        self.drains.append(_drain(count, last_s - first_s, before, after))

    def _meet(self, before: int, port: int) -> None:
        toml = self._folder / "gateway.toml"
        toml.write_text(toml.read_text().replace(f"127.0.0.1:{before}", f"127.0.0.1:{port}"))

    def _wait_for(self, arrivals: int) -> float:
        """Until the city has so many. Returns the moment. Raises ProcessError if nothing comes."""
        began_s = time.monotonic()
        while self._tally.arrived.value < arrivals:
            self.agent.process.check()
            if time.monotonic() - max(began_s, self._tally.last_arrival_s.value) > _STALL_S:
                raise ProcessError(f"{arrivals - self._tally.arrived.value} records do not come out")
            time.sleep(0.01)
        return time.monotonic()


def _drain(count: int, seconds: float, before: Use, after: Use) -> Drain:
    cpu_s = after.cpu_s - before.cpu_s
    return Drain(per_s=count / max(seconds, 1e-9), cpu_s=cpu_s / count, peak_rss_bytes=after.peak_rss_bytes)


def measure(records: int, drained: int) -> list[Figures]:
    """An empty store first, then one with twice `drained` records and one with `records`, drained in turn."""
    little = 2 * drained
    tally = Tally((_TURNS + 1) * (records + little))
    with tempfile.TemporaryDirectory(prefix="lamppost-size-") as name, Sink(tally) as sink:
        few = _Store(_folder(name, "few"), sink, tally, first=FIRST)
        many = _Store(_folder(name, "many"), sink, tally, first=FIRST + (_TURNS + 1) * little)
        _print_start("empty", few.start())
        many.fill(records)
        after_kill = _print_start(f"{records:,} records, after a kill", many.start())
        start = _print_start(f"{records:,} records", many.start())
        stored_bytes = many.agent.stored_bytes()
        few.fill(little)
        few_starts = few.start(), few.start()
        few_bytes = few.agent.stored_bytes()
        for _ in range(_TURNS):
            for store, most in ((few, little), (many, records)):
                store.fill(most)
                store.drain(drained)
        found = [
            _figures(few, few_bytes, *few_starts, records=little),
            _figures(many, stored_bytes, after_kill, start, records=records),
        ]
    _compare(*found)
    return found


def _folder(name: str, store: str) -> Path:
    folder = Path(name) / store
    folder.mkdir(exist_ok=True)
    return folder


def _figures(store: _Store, stored_bytes: int, after_kill: Start, start: Start, *, records: int) -> Figures:
    figures = Figures(
        records=records,
        stored_bytes=stored_bytes,
        after_kill=after_kill,
        start=start,
        drains=store.drains,
        is_balanced=bool(store.agent.row()["holds"]),
    )
    peak = max(one.peak_rss_bytes for one in figures.drains)
    print(
        f"{records:,} records ({stored_bytes / 1e6:,.0f} MB): drained {figures.per_s:,.0f}/s,"
        f" {figures.cpu_s * 1e6:.1f} us of CPU per record, highest RSS {peak / 2**20:.1f} MiB,"
        f" counters {'hold' if figures.is_balanced else 'DO NOT HOLD'}",
        flush=True,
    )
    return figures


def _print_start(what: str, start: Start) -> Start:
    took = f"{start.seconds:.2f} s ({start.cpu_s:.2f} s of CPU)"
    print(f"{what}: started in {took}, idle RSS {start.rss_bytes / 2**20:.1f} MiB", flush=True)
    return start


def _compare(few: Figures, many: Figures) -> None:
    by_clock, by_cpu = many.per_s / few.per_s, few.cpu_s / many.cpu_s
    missed = []
    if many.start.seconds > _MOST_START_S:
        missed.append("start")
    if max(many.start.rss_bytes, *(one.peak_rss_bytes for one in many.drains)) > _MOST_RSS:
        missed.append("memory")
    if max(by_clock, by_cpu) < 1 - _MOST_SLOWER:
        missed.append("drain")
    verdict = f"MISSED: {', '.join(missed)}" if missed else "kept"
    print(
        f"drain speed, many beside few: {by_clock:.3f} by the clock, {by_cpu:.3f} by CPU;"
        f" limits (start 1 s, 64 MiB, 5 %) {verdict}",
        flush=True,
    )
