"""The one table: a row per system, medians over the runs, and what is to be known when reading it."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from tools.rivals.phases import Lengths, Losses, Speed
from tools.rivals.system import Kind

_ROW = "{:<34}{:>9}{:>7}{:>16}{:>9}{:>13}{:>17}{:>15}{:>15}{:>15}{:>9}"
_HEAD = (
    ("", "readings", "of", "p50 / p99 ms", "peak RSS", "CPU us per", "written B per", "lost of acked", "lost of acked"),
    ("system", "per s", "first", "at 200/s", "MiB", "reading", "rdg, 200/s|full", "SIGKILL", "SIGKILL+backlog"),
)
_WORST = ("kill_in_flow", "kill_with_backlog", "outage")


@dataclass
class Results:
    """What was measured of one system; `trouble` says why something is missing."""

    kind: Kind
    speeds: list[Speed] = field(default_factory=list)
    losses: list[Losses] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(getattr(speed, name) for speed in self.speeds)

    def worst(self, name: str) -> tuple[int, int] | None:
        """Of several runs the one that lost most."""
        return max((getattr(losses, name) for losses in self.losses), default=None)

    def as_dict(self) -> dict[str, Any]:
        """For --json. Medians, and each run as it was."""
        medians = {one.name: self.median(one.name) for one in fields(Speed)} if self.speeds else {}
        return {
            "system": self.kind.name,
            "about": self.kind.about,
            "median": medians,
            "runs": [vars(speed) for speed in self.speeds],
            "losses": [vars(losses) for losses in self.losses],
            "trouble": self.trouble,
        }


def lines(results: Sequence[Results], lengths: Lengths, *, runs: int) -> Iterator[str]:
    """The table, its troubles, and its small print."""
    upper, lower = _HEAD
    yield _ROW.format(*upper, "lost of acked", "")
    yield _ROW.format(*lower, f"{lengths.outage_s:.0f} s outage", "repeats")
    first = next((one.median("per_s") for one in results if one.speeds), 0.0)
    for one in results:
        yield _row(one, first)
    yield ""
    for one in results:
        yield from (f"NOT MEASURED  {one.kind.name}: {trouble}" for trouble in one.trouble)
    yield from _notes(results, lengths, runs)


def _row(one: Results, first_per_s: float) -> str:
    speed, losses = ["-"] * 6, ["-"] * 4
    if one.speeds:
        per_s, beside = one.median("per_s"), one.median("beside_cpu_us")
        speed = [
            f"{per_s:,.0f}",
            f"{per_s / first_per_s:.2f}" if first_per_s else "-",
            f"{one.median('p50_ms'):.2f} / {one.median('p99_ms'):.1f}",
            f"{one.median('peak_rss_bytes') / 2**20:.0f}",
            f"{one.median('cpu_us'):.1f}" + (f" + {beside:.0f}" if beside else ""),
            f"{one.median('written_at_200'):,.0f} | {one.median('written_at_full'):,.0f}",
        ]
    if one.losses:
        found = [one.worst(name) for name in _WORST]
        losses = [f"{lost:,}/{acked:,}" for lost, acked in filter(None, found)]
        losses.append(f"{max(one_run.repeats for one_run in one.losses):,}")
    mark = "" if one.speeds else "  (missing)"
    return _ROW.format(one.kind.name + mark, *speed, *losses)


def _notes(results: Sequence[Results], lengths: Lengths, runs: int) -> Iterator[str]:
    yield "What each does with a reading:"
    yield from (f"  {one.kind.name:<24}{one.kind.about}" for one in results)
    lost = [f"{one.kind.name} {speed.lost}" for one in results for speed in one.speeds if speed.lost]
    if lost:
        yield f"LOST WITHOUT ANY FAULT: {', '.join(lost)}"
    yield from textwrap.wrap(
        f"Medians of {runs} interleaved runs; losses are the worst run. 60-byte readings, one per message, QoS 1, 200"
        " devices with a connection each; at most 20,000 readings on the way. Ours: identity, removal of duplicates and"
        " record ids on, edge windows off. CPU after +: of the broker beside it. Lost: acknowledged to the device"
        f" and not at the city after {lengths.quiet_s:.0f} s without an arrival. A SIGKILL keeps the page cache, so it"
        " says nothing about a power cut. One machine varies by up to 1.7: take no ratio under 1.3 for a difference.",
        width=150,
    )
