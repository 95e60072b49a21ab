"""How much of a line goes into its next message: as many records as fit, of one assurance, suspects apart."""

from __future__ import annotations

import itertools

from gateway.city.lines import Line
from gateway.outbox import Stored
from gateway.senml import Content, Pack, PackError, PackWriter


def pack_of(line: Line, *, content: Content, most_records: int, most_bytes: int) -> tuple[Pack, int]:
    """The message that the line sends next, and how many of its first records it holds.

    most_bytes  by Pack.size_bytes; a first record that is larger goes alone all the same
    Raises      PackError if the first record goes into no message
    """
    first = line.waiting[0]
    writer = PackWriter(first.node, first.assurance, lane=line.lane, content=content, most_bytes=most_bytes)
    single = first.single
    if single is None or not writer.add_single(single):
        writer.add(first.report)
    tries = line.tries.get(first.id, 0) if line.tries else 0
    # What was refused in company goes again in smaller company, then alone, so that few suffer with the culprit.
    most_records = min(most_records, (most_records, line.piece, 1)[tries])
    count = 1
    for stored in itertools.islice(line.waiting, 1, most_records):
        if stored.assurance != first.assurance or (line.tries and line.tries.get(stored.id, 0) != tries):
            break
        if not _add(writer, stored):
            break
        count += 1
    return writer.pack(), count


def _add(writer: PackWriter, stored: Stored) -> bool:
    """Whether it goes into this message; a record that goes into none ends it, and is found out as the next's first."""
    single = stored.single
    is_added = writer.add_single(single) if single is not None else None
    if is_added is not None:
        return is_added
    try:
        return writer.add(stored.report)
    except PackError:
        return False
