"""What the city is told of records that are given up: gap records, exact per node and platform.

A gap record that is given up itself is told again, joined with others of its kind, and so is what a thinned record
stood for: nothing that is missing falls silent. Stores nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gateway import gaps
from gateway.gaps import Gap
from gateway.outbox.ledger import Ledger
from gateway.outbox.ranges import Run
from gateway.outbox.stored import Stored
from gateway.outbox.thinning import originals

_FEW = 16
_SHARE = 4  # a gap record is larger than a record: at most one for so many

Platforms = tuple[str, ...]


def waiting_for(ledger: Ledger, stream: int, ordinal: int) -> Platforms:
    """The platforms that wait for a record."""
    return tuple(city for city in sorted(ledger.counts) if ordinal not in ledger.settled[city, stream])


def told(ledger: Ledger, stream: int, runs: Sequence[Run], records: Sequence[Stored], reason: str) -> list[Gap]:
    """The gaps that these runs will leave, before they are given up.

    records  what could be read of them; of the rest only the number is known
    """
    numbered: dict[tuple[str, int, Platforms], list[int]] = {}
    unnumbered: dict[tuple[str, Platforms], int] = {}
    again: list[Gap] = []
    own = set()
    for one in records:
        report, platforms = one.report, waiting_for(ledger, stream, one.ordinal)
        if one.is_produced:
            own.add(report.node)
        if report.seq is None or report.epoch is None:
            unnumbered[report.node, platforms] = unnumbered.get((report.node, platforms), 0) + 1
        else:
            numbered.setdefault((report.node, report.epoch, platforms), []).append(report.seq)
        if report.kind == "gap":
            again += _untold(gaps.read_report(report), platforms, ledger)
        elif report.kind == "thinned":
            again += _untold(originals(report), platforms, ledger)
    found = list(_of_numbered(numbered, reason))
    found += [Gap(node=node, count=n, reason=reason, platforms=who) for (node, who), n in unnumbered.items()]
    found += _of_unread(ledger, stream, runs, records, reason)
    return _condensed([*found, *gaps.joined(again)], own, most=max(_FEW, len(records) // _SHARE))


def _untold(gap: Gap, waiting: Platforms, ledger: Ledger) -> list[Gap]:
    """The gap for those of its platforms that have not been told of it yet; a gap that names none is for all."""
    named = gap.platforms or tuple(sorted(ledger.counts))
    untold = tuple(city for city in named if city in waiting)
    if not untold:
        return []
    return [gap if untold == named else gaps.with_platforms(gap, untold)]


def _of_numbered(numbered: dict[tuple[str, int, Platforms], list[int]], reason: str) -> Iterator[Gap]:
    for (node, epoch, platforms), seqs in numbered.items():
        for gap in gaps.gaps_of(node, epoch, gaps.spans_of(seqs), reason):
            yield gaps.with_platforms(gap, platforms)


def _of_unread(
    ledger: Ledger, stream: int, runs: Sequence[Run], records: Sequence[Stored], reason: str
) -> Iterable[Gap]:
    count = sum(end - first for first, end in runs) - len(records)
    if not count:
        return []
    read = {one.ordinal for one in records}
    by_platforms: dict[Platforms, int] = {}
    for first, end in runs:
        for ordinal in range(first, end):
            if ordinal not in read:
                platforms = waiting_for(ledger, stream, ordinal)
                by_platforms[platforms] = by_platforms.get(platforms, 0) + 1
    return [Gap(node="", count=n, reason=reason, platforms=who) for who, n in by_platforms.items()]


def _condensed(found: list[Gap], own: set[str], *, most: int) -> list[Gap]:
    """If they would be too many, those of nodes become one per reason and platforms, of nobody by name."""
    if len(found) <= most:
        return found
    kept = [gap for gap in found if gap.node in own]
    nameless = [Gap(node="", count=g.count, reason=g.reason, platforms=g.platforms) for g in found if g.node not in own]
    return [*kept, *gaps.joined(nameless)]
