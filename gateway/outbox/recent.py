"""The records that came after a position in the log, in the order of their coming, for whoever remembers no more."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.outbox import body
from gateway.outbox.log import Log, Position
from gateway.outbox.page import MOVED, PRODUCED, RECORD
from gateway.outbox.reader import read_report
from gateway.reading import Report


def records_since(log: Log, position: Position) -> Iterator[tuple[Report, float, bool]]:
    """(report, stored at, whether it is the gateway's own) of each that can be read; stored at: UTC seconds."""
    for _, _, leaf in log.since(position):
        base_s, names = leaf.header.base_s, leaf.names
        for kind, _, data, start, end in leaf.entries:
            if kind & RECORD and not kind & MOVED:
                report = read_report(kind, data, start, end, names)
                if report is not None:
                    yield report, base_s + body.stored_ms(data, start) / 1000, bool(kind & PRODUCED)
