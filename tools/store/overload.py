"""Overload: ten times what the agent takes is offered for minutes. Its memory must stay bounded, its devices wait."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tools.measure.load import Load
from tools.measure.tally import FIRST, Tally
from tools.rivals.city import MosquittoCity
from tools.store.agent import Agent, running

_PROBE_S = 4.0
_FACTOR = 10
_SETTLE_S = 300.0
_STALL_S = 60.0  # nothing has arrived for so long: what is missing does not come any more
_MOST_PER_S = 70_000  # that can be noted; the load ends when so much was sent


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Readings per second and bytes. Bounded: the last third needed hardly more memory than the one before.

    seconds        for which it was offered
    backlog        of what was taken, not yet at the city when the load ended
    drained_per_s  of that, afterwards
    """

    taken_alone_per_s: float
    offered_per_s: float
    seconds: float
    taken_per_s: float
    backlog: int
    drained_per_s: float
    rss_bytes_by_third: tuple[int, int, int]
    lost: int

    @property
    def is_bounded(self) -> bool:
        _, middle, end = self.rss_bytes_by_third
        return end < middle * 1.1 + (8 << 20)


def measure(seconds: float) -> list[Figures]:
    """Find what it takes with at most 20,000 readings under way, then offer ten times that."""
    probe = Tally()
    with tempfile.TemporaryDirectory(prefix="lamppost-overload-") as name:
        folder = Path(name)
        with MosquittoCity(folder) as city, city.listen(probe), running(folder, city_port=city.port) as agent:
            with Load(probe) as load:
                alone_per_s = max(1.0, probe.rate_per_s(load.run(agent.port, seconds=_PROBE_S)))
    tally = Tally(int(min(alone_per_s * _FACTOR, _MOST_PER_S) * seconds) + 1_000_000)
    with tempfile.TemporaryDirectory(prefix="lamppost-overload-") as name:
        folder = Path(name)
        with MosquittoCity(folder) as city, city.listen(tally), running(folder, city_port=city.port) as agent:
            return [_offer(agent, tally, alone_per_s, seconds)]


def _offer(agent: Agent, tally: Tally, alone_per_s: float, seconds: float) -> Figures:
    thirds: list[int] = []
    with Load(tally) as load:
        load.start(agent.port, seconds=seconds, rate=alone_per_s * _FACTOR, in_flight=200, patience_s=_SETTLE_S)
        for _ in range(3):
            thirds.append(_highest_rss(agent, seconds / 3))
        span = load.finish(within_s=seconds + _SETTLE_S + 60)
    ended_s, acknowledged, arrived = time.monotonic(), tally.acknowledged(span), tally.arrived.value
    _wait_for_the_rest(agent, tally, acknowledged)
    offered_s = tally.sent_s[span.end - FIRST - 1] - tally.sent_s[span.first - FIRST]
    figures = Figures(
        taken_alone_per_s=alone_per_s,
        offered_per_s=alone_per_s * _FACTOR,
        seconds=offered_s,
        taken_per_s=acknowledged / offered_s,
        backlog=max(0, acknowledged - arrived),
        drained_per_s=(tally.arrived.value - arrived) / max(tally.last_arrival_s.value - ended_s, 1e-3),
        rss_bytes_by_third=(thirds[0], thirds[1], thirds[2]),
        lost=tally.missing(span),
    )
    by_third = " / ".join(f"{one / 2**20:.0f}" for one in thirds)
    print(
        f"{figures.offered_per_s:,.0f} readings/s offered, {figures.taken_per_s:,.0f}/s taken for {offered_s:.0f} s:"
        f" RSS {by_third} MiB in each third ({'bounded' if figures.is_bounded else 'GROWS'}), alive;"
        f" {figures.backlog:,} left to deliver, at {figures.drained_per_s:,.0f}/s;"
        f" {figures.lost} acknowledged and lost",
        flush=True,
    )
    return figures


def _wait_for_the_rest(agent: Agent, tally: Tally, acknowledged: int) -> None:
    """It may take in more than it can deliver meanwhile: lost is what is missing when no more comes."""
    since_s = time.monotonic()
    while tally.arrived.value < acknowledged:
        agent.process.check()
        if time.monotonic() - max(since_s, tally.last_arrival_s.value) > _STALL_S:
            return
        time.sleep(0.5)


def _highest_rss(agent: Agent, seconds: float) -> int:
    """Raises ProcessError if it dies meanwhile."""
    highest, end_s = 0, time.monotonic() + seconds
    while time.monotonic() < end_s:
        highest = max(highest, agent.process.use().rss_bytes)
        time.sleep(0.25)
    return highest
