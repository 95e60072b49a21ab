"""What is missing is said: a gap record names which reports of whom, how many and why.

At the city a gap is a record of the gateway about a node: gap/epoch, gap/from, gap/to (inclusive), gap/count and
gap/reason. A count that nobody can know is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.reading import Reading, Report

# Why reports are missing: what the node said, what we can tell, what we did ourselves.
NODE_REASONS = {1: "journal_full", 2: "journal_damaged", 3: "operator"}
UNEXPLAINED = "unexplained"  # below the node's floor, and it did not say why
NOT_HELD_HERE = "not_held_here"  # from before this gateway or this database knew the epoch
EPOCH_CLOSED = "epoch_closed"
EPOCH_END_UNKNOWN = "epoch_end_unknown"  # the count is an upper bound
EPOCH_UNKNOWN = "epoch_unknown"  # no report and no notice of that epoch has come
EVICTED = "evicted"
EXPIRED = "expired"  # it outlived its time to live
THINNED = "thinned"  # one record stood for them, and that was given up too
DAMAGED = "damaged"
NOT_PERMITTED = "not_permitted"  # the site's policy does not let it report this

_MOST_RECORDS = 16  # per cause; more spans than that are told as one


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Reports that will not come. `last` is inclusive; None where there are no sequences or nobody knows."""

    node: str
    reason: str
    count: int | None
    epoch: int | None = None
    last_epoch: int | None = None
    first: int | None = None
    last: int | None = None
    platforms: tuple[str, ...] = ()


def of_report(report: Report, reason: str) -> Gap:
    """The gap that one report leaves which is not kept."""
    return Gap(node=report.node, reason=reason, count=1, epoch=report.epoch, first=report.seq, last=report.seq)


def reason_of_node(code: int | None) -> str:
    """The word for a reason in a floor notice."""
    return NODE_REASONS.get(code or 0, f"unknown({code})")


def gaps_of(node: str, epoch: int, spans: Sequence[tuple[int, int]], reason: str) -> list[Gap]:
    """One gap per span (first, end), or one for all if there are very many."""
    if len(spans) > _MOST_RECORDS:
        count = sum(end - first for first, end in spans)
        first, last = spans[0][0], spans[-1][1] - 1
        return [Gap(node=node, epoch=epoch, first=first, last=last, count=count, reason=reason)]
    return [Gap(node=node, epoch=epoch, first=a, last=end - 1, count=end - a, reason=reason) for a, end in spans]


def with_platforms(gap: Gap, platforms: tuple[str, ...]) -> Gap:
    """The same gap, naming the platforms that miss these records."""
    return replace(gap, platforms=platforms)


def spans_of(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """The runs (first, end) that these sequences form."""
    spans: list[tuple[int, int]] = []
    for seq in sorted(seqs):
        if spans and spans[-1][1] == seq:
            spans[-1] = (spans[-1][0], seq + 1)
        else:
            spans.append((seq, seq + 1))
    return spans


def joined(found: Iterable[Gap]) -> list[Gap]:
    """One gap for all of one node, reason and platforms: from the first to the last, with the sum of their counts."""
    sums: dict[tuple[str, str, tuple[str, ...]], Gap] = {}
    for gap in found:
        key = (gap.node, gap.reason, gap.platforms)
        sums[key] = _sum(sums[key], gap) if key in sums else gap
    return list(sums.values())


def _sum(a: Gap, b: Gap) -> Gap:
    count = None if a.count is None or b.count is None else a.count + b.count
    if a.epoch != b.epoch or a.last_epoch != b.last_epoch or a.first is None or b.first is None:
        return replace(a, count=count, epoch=None, last_epoch=None, first=None, last=None)
    last = None if a.last is None or b.last is None else max(a.last, b.last)
    return replace(a, count=count, first=min(a.first, b.first), last=last)


def read_report(report: Report) -> Gap:
    """The gap that `as_report` made this of."""
    values = {reading.quantity: reading.value for reading in report.readings}
    numbers = {name: value for name, value in values.items() if isinstance(value, int)}
    return Gap(
        node=report.subject or "",
        reason=str(values.get("gap/reason", UNEXPLAINED)),
        count=numbers.get("gap/count"),
        epoch=numbers.get("gap/epoch"),
        last_epoch=numbers.get("gap/last-epoch"),
        first=numbers.get("gap/from"),
        last=numbers.get("gap/to"),
        platforms=tuple(str(values.get("gap/platforms", "")).split()),
    )


def as_report(gap: Gap) -> Report:
    """The record for the city; it gets its number and its time when it is stored."""
    numbers = {
        "gap/epoch": gap.epoch,
        "gap/last-epoch": gap.last_epoch,
        "gap/from": gap.first,
        "gap/to": gap.last,
        "gap/count": gap.count,
    }
    readings = [Reading(quantity=name, value=value) for name, value in numbers.items() if value is not None]
    readings.append(Reading(quantity="gap/reason", value=gap.reason))
    if gap.platforms:
        readings.append(Reading(quantity="gap/platforms", value=" ".join(gap.platforms)))
    return Report(
        node="",
        record_id="",
        measured_at_s=0.0,
        readings=tuple(readings),
        kind="gap",
        subject=gap.node,
    )
