"""Records as they are read out of the log; what the outbox hands to a forwarder, and gets back with an outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Literal, NamedTuple

from gateway.outbox import body
from gateway.outbox.frame import SINGLE_BYTES
from gateway.outbox.page import PRODUCED, base_s_of, kind_of
from gateway.outbox.ranges import Run
from gateway.reading import STREAMS, Assurance, Report, Single
from gateway.row import Row

Lane = Literal["live", "backlog"]
_ROW_BYTES, _IN_ROW_BYTES = 400, 100  # of records that were just stored, and of each with what it says
_PLACE_BYTES = 160  # of a record on a page, beside its bytes there
_REPORT_BYTES, _REPORT_BYTES_PER_BYTE = 1_000, 4  # of a report with one reading, and about what more there is


class Said(NamedTuple):
    """A record as its report."""

    report: Report
    stored_at_s: float
    is_produced: bool


class Stored(NamedTuple):
    """A record, or several that follow each other, and the place in the outbox. Tens of thousands are read ahead, so
    that one is small until it is asked.

    id         ordinal in its stream times the number of streams, plus the stream; of the first
    size       bytes in the log
    weight     bytes of memory while it waits, roughly
    source     the page that it is on, at `at` and with these `names`; or what was said in a row, just stored, at
               `came_at_s`; or its report
    span       how many they are: more than one of a row alone
    """

    id: int
    node: str
    assurance: Assurance
    size: int
    weight: int
    source: bytes | Row | Said
    at: int = 0
    names: Sequence[str] = ()
    came_at_s: float = 0.0
    span: int = 1

    @classmethod
    def of(
        cls, id: int, report: Report, *, size: int = 0, stored_at_s: float = 0.0, is_produced: bool = False
    ) -> Stored:
        """One that is a report already."""
        weight = _REPORT_BYTES + _REPORT_BYTES_PER_BYTE * size
        return cls(id, report.node, report.assurance, size, weight, Said(report, stored_at_s, is_produced))

    @classmethod
    def on_page(cls, id: int, page: bytes, at: int, names: Sequence[str], size: int) -> Stored:
        """Of the bytes of a report at `at` of a page that is whole."""
        node, assurance = body.speaker_of(page, at, names)
        return cls(id, node, assurance, size, _PLACE_BYTES + size, page, at, names)

    @classmethod
    def in_row(cls, stream: int, first: int, row: Row, assurance: Assurance, came_at_s: float) -> Stored:
        """Those of a row, of which the first has that ordinal."""
        span = len(row.values)
        weight = _ROW_BYTES + _IN_ROW_BYTES * span
        id_ = first * len(STREAMS) + stream
        return _as_stored((id_, row[0], assurance, SINGLE_BYTES * span, weight, row, 0, (), came_at_s, span))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stored) and (self.id, self.span, self.report) == (other.id, other.span, other.report)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def ordinal(self) -> int:
        return self.id // len(STREAMS)

    @property
    def run(self) -> Run:
        """Its ordinals."""
        first = self.id // len(STREAMS)
        return first, first + self.span

    @property
    def report(self) -> Report:
        """What was stored, of several the first; made anew each time, so that what waits stays small."""
        source = self.source
        if isinstance(source, bytes):
            return body.decode(source, self.names, self.at)
        return source.report if isinstance(source, Said) else next(source.reports(self.assurance))

    @property
    def single(self) -> Single | None:
        """The same in its shortest form, if it has one at hand."""
        source = self.source
        if isinstance(source, bytes):
            return body.decode_single(source, self.names, self.at) if self.size == SINGLE_BYTES else None
        return None if isinstance(source, Said) else next(source.singles())

    @property
    def stored_at_s(self) -> float:
        """When it came, UTC."""
        source = self.source
        if isinstance(source, bytes):
            return base_s_of(source) + body.stored_ms(source, self.at) / 1000
        return source.stored_at_s if isinstance(source, Said) else self.came_at_s

    @property
    def is_produced(self) -> bool:
        """Whether the gateway made it."""
        source = self.source
        if isinstance(source, bytes):
            return kind_of(source, self.at) & PRODUCED > 0
        return isinstance(source, Said) and source.is_produced

    @property
    def is_pending(self) -> bool:
        """Its time counts from the start of a boot; so `report` is not what goes out."""
        source = self.source
        if isinstance(source, bytes):
            return body.is_pending(source, self.at)
        return isinstance(source, Said) and source.report.pending is not None

    def with_report(self, report: Report) -> Stored:
        """The same record, saying this."""
        return Stored.of(self.id, report, size=self.size, stored_at_s=self.stored_at_s, is_produced=self.is_produced)

    def part(self, at: int, end: int) -> Stored:
        """Of several those from `at` to `end`. Their sizes and weights add up to those of all."""
        if end - at == self.span:
            return self
        assert isinstance(self.source, Row)
        weight = self.weight * end // self.span - self.weight * at // self.span
        row = self.source.part(at, end)
        return self._replace(
            id=self.id + at * len(STREAMS), size=SINGLE_BYTES * (end - at), weight=weight, source=row, span=end - at
        )


def each_of(records: Sequence[Stored]) -> tuple[Stored, ...]:
    """Every record by itself."""
    if count_of(records) == len(records):
        return tuple(records)
    return tuple(one.part(at, at + 1) for one in records for at in range(one.span))


def count_of(records: Iterable[Stored]) -> int:
    """How many records these are."""
    return sum(map(_SPAN, records))


_SPAN = attrgetter("span")
_as_stored = partial(tuple.__new__, Stored)  # what Stored._make does, without a call in Python


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


@dataclass(frozen=True, slots=True)
class Backlog:
    """What still waits for one platform. `bytes`: of all records stored, those of other platforms too."""

    records: int
    bytes: int
    oldest_at_s: float | None
