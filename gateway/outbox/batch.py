"""What the outbox hands to a forwarder, and gets back with an outcome."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gateway.outbox.ranges import Run, runs_of
from gateway.reading import STREAMS, Report

Lane = Literal["live", "backlog"]


@dataclass(slots=True, unsafe_hash=True)  # not frozen: one is made per record
class Stored:
    """A record and its place in the outbox: ordinal in its stream times the number of streams, plus the stream."""

    id: int
    report: Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Records of one stream for one platform, oldest first. `size`: bytes in the outbox, of a batch as it was taken.

    connection  which reconnect it was taken after: an older one cannot be given back
    """

    city: str
    stream: int
    lane: Lane
    records: tuple[Stored, ...]
    size: int = 0
    connection: int = 0

    def packs(self, most: int) -> list[Batch]:
        """Split into batches of one node and assurance, at most `most` records long, the order of each node kept."""
        by_node: dict[tuple[str, str], list[Stored]] = {}
        for stored in self.records:
            by_node.setdefault((stored.report.node, stored.report.assurance), []).append(stored)
        return [
            replace(self, records=tuple(records[at : at + most]))
            for records in by_node.values()
            for at in range(0, len(records), most)
        ]

    def ordinals(self) -> list[int]:
        return [stored.id // len(STREAMS) for stored in self.records]

    def runs(self) -> list[Run]:
        """Its ordinals in the stream, as runs."""
        return runs_of(self.ordinals())


@dataclass(frozen=True, slots=True)
class Backlog:
    """What still waits for one platform. `bytes`: of all records stored, those of other platforms too."""

    records: int
    bytes: int
    oldest_at_s: float | None
