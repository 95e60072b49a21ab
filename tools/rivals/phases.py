"""What is done to one system: 200/s, full rate, SIGKILL in the flow and with a backlog, an outage of the city."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.measure.link import Link
from tools.measure.load import Load
from tools.measure.tally import Span, Tally, percentile
from tools.rivals.system import Kind, System

_READY_S = 90.0  # ThingsBoard's gateway takes its time
_FLOW_PER_S = 500
_BACKLOG_PER_S = 1_000


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long each part takes, in seconds. `quiet_s`: nothing arriving for so long means that nothing will."""

    steady_s: float = 20.0
    full_s: float = 10.0
    outage_s: float = 20.0
    quiet_s: float = 75.0  # the bridge reconnects slowly: less would call slowness a loss


QUICK = Lengths(steady_s=5.0, full_s=4.0, outage_s=5.0, quiet_s=20.0)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One run without faults. Times in ms, processor time in us per reading, bytes per reading."""

    per_s: float
    p50_ms: float
    p99_ms: float
    peak_rss_bytes: int
    cpu_us: float
    beside_cpu_us: float
    written_at_200: float
    written_at_full: float
    lost: int


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Acknowledged and never at the city, of how many; and readings that came twice."""

    kill_in_flow: tuple[int, int]
    kill_with_backlog: tuple[int, int]
    outage: tuple[int, int]
    repeats: int


class Bed:
    """A system between a load and a city. `link` is None where the way to the city cannot be cut."""

    def __init__(self, system: System, load: Load, tally: Tally, kind: Kind, lengths: Lengths) -> None:
        self.system = system
        self.load = load
        self.tally = tally
        self._kind = kind
        self._lengths = lengths

    def start(self, *, seconds: float, **options: object) -> None:
        self.load.start(self.system.port, seconds=seconds, reading=self._kind.reading, **options)

    def run(self, *, seconds: float, **options: object) -> Span:
        self.start(seconds=seconds, **options)
        return self.load.finish(within_s=seconds + 300)

    def wait_until_ready(self) -> None:
        """Return once a reading gets through to the city. Raises TimeoutError."""
        give_up_s = time.monotonic() + _READY_S
        while not self.tally.arrived.value:
            self.system.own.check()
            if time.monotonic() > give_up_s:
                raise TimeoutError(f"no reading got through {self._kind.name} in {_READY_S:.0f} s")
            self.run(seconds=0.5, rate=20, patience_s=1.0)

    def settle(self, span: Span) -> int:
        """Wait until all that was acknowledged is at the city, or nothing comes any more; returns what is missing."""
        began_s = time.monotonic()
        while missing := self.tally.missing(span):
            last_s = max(began_s, self.tally.last_arrival_s.value)
            if time.monotonic() - last_s > self._lengths.quiet_s:
                return missing
            time.sleep(0.2)
        return 0

    def count(self, span: Span) -> tuple[int, int]:
        return self.settle(span), self.tally.acknowledged(span)


@contextmanager
def bed(kind: Kind, lengths: Lengths, *, with_link: bool) -> Iterator[tuple[Bed, Link | None]]:
    """Everything up, a first reading through, everything gone afterwards."""
    tally = Tally()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lamppost-bench-")))
        city = stack.enter_context(kind.city(folder))
        stack.enter_context(city.listen(tally))
        link = stack.enter_context(Link(city.port)) if with_link else None
        system = stack.enter_context(kind.open(folder, link.port if link else city.port))
        load = stack.enter_context(Load(tally))
        made = Bed(system, load, tally, kind, lengths)
        made.wait_until_ready()
        yield made, link


def measure_speed(kind: Kind, lengths: Lengths) -> Speed:
    """200/s first, then as fast as it goes, on one instance."""
    with bed(kind, lengths, with_link=False) as (it, _):
        before, _ = it.system.use()
        steady = it.run(seconds=lengths.steady_s, rate=200)
        lost = it.settle(steady)
        middle, beside_s = it.system.use()
        full = it.run(seconds=lengths.full_s)
        lost += it.settle(full)
        after, beside_end_s = it.system.use()
        count = full.end - full.first
        latencies_s = it.tally.latencies_s(steady)
        return Speed(
            per_s=it.tally.rate_per_s(full),
            p50_ms=percentile(latencies_s, 0.5) * 1000,
            p99_ms=percentile(latencies_s, 0.99) * 1000,
            peak_rss_bytes=after.peak_rss_bytes,
            cpu_us=(after.cpu_s - middle.cpu_s) / count * 1e6,
            beside_cpu_us=(beside_end_s - beside_s) / count * 1e6,
            written_at_200=(middle.written_bytes - before.written_bytes) / (steady.end - steady.first),
            written_at_full=(after.written_bytes - middle.written_bytes) / count,
            lost=lost,
        )


def measure_losses(kind: Kind, lengths: Lengths) -> Losses:
    """Kill it twice, cut its city off once."""
    with bed(kind, lengths, with_link=True) as (it, link):
        assert link is not None
        return Losses(
            kill_in_flow=_kill_in_flow(it),
            kill_with_backlog=_kill_with_backlog(it, link),
            outage=_outage(it, link, lengths.outage_s),
            repeats=it.tally.repeats.value,
        )


def _kill_in_flow(it: Bed) -> tuple[int, int]:
    it.start(seconds=6.0, rate=_BACKLOG_PER_S)
    time.sleep(3.0)
    it.system.kill()
    time.sleep(0.5)
    it.system.revive()
    return it.count(it.load.finish())


def _kill_with_backlog(it: Bed, link: Link) -> tuple[int, int]:
    """3,000 readings are acknowledged while the city is away; then it dies."""
    link.cut()
    span = it.run(seconds=60.0, rate=_BACKLOG_PER_S, count=3_000)
    it.system.kill()
    it.system.revive()
    link.mend()
    return it.count(span)


def _outage(it: Bed, link: Link, outage_s: float) -> tuple[int, int]:
    it.start(seconds=outage_s + 8.0, rate=_FLOW_PER_S)
    time.sleep(4.0)
    link.cut()
    time.sleep(outage_s)
    link.mend()
    return it.count(it.load.finish())
