"""Size: how the agent starts, what memory it takes and how fast it drains with many records stored, beside few."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tools.measure.load import Load
from tools.measure.process import ProcessError
from tools.measure.sink import Sink
from tools.measure.tally import Span, Tally
from tools.store.agent import Agent

_FEW = 20_000  # a backlog that is nearly none, to compare the speed of draining with
_IDLE_S = 5.0
_STALL_S = 60.0  # no arrival for so long: it does not drain


@dataclass(frozen=True, kw_only=True)
class Figures:
    """With so many records stored. `start_s`: from exec until devices can connect."""

    records: int
    stored_bytes: int
    start_s: float
    rss_bytes: int
    peak_rss_bytes: int
    drained_per_s: float
    is_balanced: bool


def measure(records: int) -> list[Figures]:
    """An empty store first, then few records, then `records`."""
    with tempfile.TemporaryDirectory(prefix="lamppost-size-") as folder:
        _print_idle(Path(folder))
    found = [_with(count) for count in sorted({min(_FEW, records), records})]
    few, many = found[0], found[-1]
    if many is not few and few.drained_per_s:
        print(f"drain speed, full beside nearly empty: {many.drained_per_s / few.drained_per_s:.3f}")
    return found


def _print_idle(folder: Path) -> None:
    agent = Agent(folder, city_port=9)  # nobody is there
    start_s = agent.start()
    time.sleep(_IDLE_S)
    used = agent.process.use()
    agent.process.stop()
    print(f"empty: started in {start_s:.2f} s, idle RSS {used.rss_bytes / 2**20:.1f} MiB", flush=True)


def _with(records: int) -> Figures:
    """Fill it while the city is away, start it anew, look at it, let the city come."""
    tally = Tally(records + 100_000)
    with tempfile.TemporaryDirectory(prefix="lamppost-size-") as name, Sink(tally) as sink:
        folder = Path(name)
        agent = Agent(folder, city_port=9)
        span = _fill(agent, tally, records)
        stored_bytes = agent.stored_bytes()
        start_s = agent.start()
        time.sleep(_IDLE_S)
        rss_bytes = agent.process.use().rss_bytes
        agent.process.stop()
        toml = folder / "gateway.toml"
        toml.write_text(toml.read_text().replace("127.0.0.1:9", f"127.0.0.1:{sink.port}"))
        agent.start()
        drained_per_s = _drain(agent, tally, span)
        peak_rss_bytes = agent.process.use().peak_rss_bytes
        agent.process.stop()
        row = agent.row()
    figures = Figures(
        records=records,
        stored_bytes=stored_bytes,
        start_s=start_s,
        rss_bytes=rss_bytes,
        peak_rss_bytes=peak_rss_bytes,
        drained_per_s=drained_per_s,
        is_balanced=row["holds"] and row["stored"] == 0,
    )
    print(
        f"{records:,} records ({stored_bytes / 2**20:,.1f} MiB): started in {start_s:.2f} s, RSS"
        f" {rss_bytes / 2**20:.1f} MiB, {peak_rss_bytes / 2**20:.1f} MiB while draining, drained"
        f" {drained_per_s:,.0f}/s, counters {'hold' if figures.is_balanced else 'DO NOT HOLD'}",
        flush=True,
    )
    return figures


def _fill(agent: Agent, tally: Tally, records: int) -> Span:
    agent.start()
    try:
        with Load(tally) as load:
            load.start(agent.port, seconds=86_400, count=records, under_way=1 << 40)
            span = load.finish(within_s=86_400)
    finally:
        agent.process.stop()
    if tally.acknowledged(span) < records:
        raise ProcessError(f"only {tally.acknowledged(span)} of {records} records were acknowledged")
    return span


def _drain(agent: Agent, tally: Tally, span: Span) -> float:
    """Records per second between the first and the last arrival; raises ProcessError if it stops."""
    began_s = time.monotonic()
    count = span.end - span.first
    while tally.arrived.value < count:
        agent.process.check()
        if time.monotonic() - max(began_s, tally.last_arrival_s.value) > _STALL_S:
            raise ProcessError(f"{count - tally.arrived.value} of {count} records do not come out")
        time.sleep(0.1)
    first_s = min(moment for moment in tally.arrived_s[:count] if moment)
    return count / max(1e-9, tally.last_arrival_s.value - first_s)
