"""How much of a line goes into its next message: as many records as fit, of one assurance, suspects apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from operator import attrgetter

from gateway.city.lines import Line
from gateway.outbox import Stored, count_of, each_of
from gateway.row import Columns
from gateway.senml import Content, Pack, PackError, PackWriter

_ASSURANCE = attrgetter("assurance")
_AGAIN = 32  # records looked at together, once not all can be


def pack_of(line: Line, *, content: Content, most_records: int, most_bytes: int) -> tuple[Pack, int]:
    """The message that the line sends next, and how many of its first records it holds.

    most_bytes  by Pack.size_bytes; a first record that is larger goes alone all the same
    Raises      PackError if the first record goes into no message
    """
    waiting = line.waiting
    first = waiting[0]
    tries = line.tries.get(first.id, 0) if line.tries else 0
    # What was refused in company goes again in smaller company, then alone, so that few suffer with the culprit.
    company = _part(waiting, 0, min(most_records, (most_records, line.piece, 1)[tries]))
    if line.tries:
        company = list(each_of(company))
    if line.tries or len(set(map(_ASSURANCE, company))) > 1:
        company = list(itertools.takewhile(lambda one: _goes_with(one, first, line, tries), company))
    writer = PackWriter(first.node, first.assurance, lane=line.lane, content=content, most_bytes=most_bytes)
    takes_columns = content == "json"
    count = writer.add_columns(_columns(company)) if takes_columns else 0
    if not count:
        writer.add(first.report)
        count = 1
    if not writer.is_full and count < count_of(company):
        count = _add_rest(writer, each_of(company), count, takes_columns=takes_columns)
    return writer.pack(), count


def _add_rest(writer: PackWriter, each: Sequence[Stored], count: int, *, takes_columns: bool) -> int:
    """Add those after the first `count`, as far as they fit. Returns how many there are then."""
    while count < len(each):
        added = writer.add_columns(_columns(each[count : count + _AGAIN])) if takes_columns else 0
        count += added
        if not added:
            if not _add(writer, each[count]):
                break
            count += 1
    return count


def _part(records: Iterable[Stored], first: int, end: int) -> list[Stored]:
    """The records from `first` to `end`."""
    found: list[Stored] = []
    at = 0
    for one in records:
        if at >= end:
            break
        after = at + one.span
        if after > first:
            is_whole = at >= first and after <= end
            found.append(one if is_whole else one.part(max(first - at, 0), min(one.span, end - at)))
        at = after
    return found


def _columns(company: Iterable[Stored]) -> Columns:
    """The first of them in their shortest form, as far as they have one."""
    columns = Columns([], [], [], [], [])
    for one in company:
        if not one.fill(columns):
            break
    return columns


def _goes_with(stored: Stored, first: Stored, line: Line, tries: int) -> bool:
    return stored.assurance == first.assurance and line.tries.get(stored.id, 0) == tries


def _add(writer: PackWriter, stored: Stored) -> bool:
    """Whether it goes into this message; a record that goes into none ends it, and is found out as the next's first."""
    try:
        return writer.add(stored.report)
    except PackError:
        return False
