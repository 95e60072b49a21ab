"""Records as they are read out of the log; what the outbox hands to a forwarder, and gets back with an outcome."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gateway.outbox.ranges import Run, runs_of
from gateway.reading import STREAMS, Assurance, Report, Single, report_of

Lane = Literal["live", "backlog"]


class Stored:
    """A record and its place in the outbox. One is made per record, a report of most only if somebody asks for it.

    id           ordinal in its stream times the number of streams, plus the stream
    single       the record in its shortest form, None if it has none
    size         bytes in the log
    stored_at_s  UTC
    """

    __slots__ = ("_report", "assurance", "id", "is_produced", "node", "single", "size", "stored_at_s")

    def __init__(
        self,
        id: int,
        report: Report | None,
        single: Single | None = None,
        assurance: Assurance = "none",
        size: int = 0,
        stored_at_s: float = 0.0,
        is_produced: bool = False,
    ) -> None:
        """Of `report`, or else of `single` with that assurance."""
        self.id = id
        self._report = report
        self.single = single
        if single is not None:
            self.node, self.assurance = single[0], assurance
        elif report is not None:
            self.node, self.assurance = report.node, report.assurance
        self.size = size
        self.stored_at_s = stored_at_s
        self.is_produced = is_produced

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stored) and (self.id, self.report) == (other.id, other.report)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def ordinal(self) -> int:
        return self.id // len(STREAMS)

    @property
    def report(self) -> Report:
        """What was stored."""
        if self._report is None:
            assert self.single is not None, "made of a report or of a single"
            self._report = report_of(self.single, self.assurance)
        return self._report

    @property
    def is_pending(self) -> bool:
        """Its time counts from the start of a boot; so `report` is not what goes out."""
        return self.single is None and self.report.pending is not None

    def with_report(self, report: Report) -> Stored:
        """The same record, saying this."""
        return Stored(self.id, report, size=self.size, stored_at_s=self.stored_at_s, is_produced=self.is_produced)


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
            by_node.setdefault((stored.node, stored.assurance), []).append(stored)
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
