"""How much of a line goes into its next message: as many records as fit, of one assurance, suspects apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from operator import attrgetter
from typing import cast

from gateway.city.lines import Line
from gateway.outbox import Stored
from gateway.reading import Single
from gateway.senml import Content, Pack, PackError, PackWriter

_ASSURANCE, _SINGLE = attrgetter("assurance"), attrgetter("single")
_JUST_STORED = {tuple}  # the type of sources that are singles
_AGAIN = 32  # records looked at together, once not all can be


def pack_of(line: Line, *, content: Content, most_records: int, most_bytes: int) -> tuple[Pack, int]:
    """The message that the line sends next, and how many of its first records it holds.

    most_bytes  by Pack.size_bytes; a first record that is larger goes alone all the same
    Raises      PackError if the first record goes into no message
    """
    first = line.waiting[0]
    tries = line.tries.get(first.id, 0) if line.tries else 0
    # What was refused in company goes again in smaller company, then alone, so that few suffer with the culprit.
    company = list(itertools.islice(line.waiting, min(most_records, (most_records, line.piece, 1)[tries])))
    if line.tries or len(set(map(_ASSURANCE, company))) > 1:
        company = list(itertools.takewhile(lambda one: _goes_with(one, first, line, tries), company))
    writer = PackWriter(first.node, first.assurance, lane=line.lane, content=content, most_bytes=most_bytes)
    count = writer.add_singles(_singles(company))
    if not count:
        writer.add(first.report)
        count = 1
    while count < len(company):
        added = writer.add_singles(_singles(company[count : count + _AGAIN]))
        count += added
        if not added:
            if not _add(writer, company[count]):
                break
            count += 1
    return writer.pack(), count


def _singles(company: Sequence[Stored]) -> list[Single]:
    """The first of them in their shortest form, as far as they have one."""
    found = [one.source for one in company]
    if set(map(type, found)) == _JUST_STORED:
        return cast(list[Single], found)
    return list(itertools.takewhile(lambda single: single is not None, map(_SINGLE, company)))


def _goes_with(stored: Stored, first: Stored, line: Line, tries: int) -> bool:
    return stored.assurance == first.assurance and line.tries.get(stored.id, 0) == tries


def _add(writer: PackWriter, stored: Stored) -> bool:
    """Whether it goes into this message; a record that goes into none ends it, and is found out as the next's first."""
    try:
        return writer.add(stored.report)
    except PackError:
        return False
