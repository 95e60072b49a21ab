"""Records as they are read out of the log; what the outbox hands to a forwarder, and gets back with an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, repeat
from operator import itemgetter
from typing import Literal, NamedTuple

from gateway.outbox import body
from gateway.outbox.frame import SINGLE_BYTES
from gateway.outbox.page import PRODUCED, base_s_of, kind_of
from gateway.reading import STREAMS, Assurance, Report, Single, report_of

Lane = Literal["live", "backlog"]
_FRESH_BYTES = 400  # of a record that was just stored, with what it says
_PLACE_BYTES = 160  # of a record on a page, beside its bytes there
_REPORT_BYTES, _REPORT_BYTES_PER_BYTE = 1_000, 4  # of a report with one reading, and about what more there is


class Said(NamedTuple):
    """A record as its report."""

    report: Report
    stored_at_s: float
    is_produced: bool


class Stored(NamedTuple):
    """A record and its place in the outbox. Tens of thousands are read ahead, so that one is small until it is asked.

    id         ordinal in its stream times the number of streams, plus the stream
    size       bytes in the log
    weight     bytes of memory while it waits, roughly
    source     the page that it is on, at `at` and with these `names`; or what it says, since it was just stored, at
               `came_at_s`; or its report
    """

    id: int
    node: str
    assurance: Assurance
    size: int
    weight: int
    source: bytes | Single | Said
    at: int = 0
    names: Sequence[str] = ()
    came_at_s: float = 0.0

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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stored) and (self.id, self.report) == (other.id, other.report)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def ordinal(self) -> int:
        return self.id // len(STREAMS)

    @property
    def report(self) -> Report:
        """What was stored; made anew each time, so that what waits stays small."""
        source = self.source
        if isinstance(source, bytes):
            return body.decode(source, self.names, self.at)
        return source.report if isinstance(source, Said) else report_of(source, self.assurance)

    @property
    def single(self) -> Single | None:
        """The same in its shortest form, if it has one at hand."""
        source = self.source
        if isinstance(source, bytes):
            return body.decode_single(source, self.names, self.at) if self.size == SINGLE_BYTES else None
        return None if isinstance(source, Said) else source

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


def just_stored(
    stream: int, first: int, singles: Sequence[Single], assurance: Assurance, stored_at_s: float
) -> list[Stored]:
    """Records that are in memory still, the first of them `first` in its stream."""
    ids = count(first * len(STREAMS) + stream, len(STREAMS))
    rows = zip(
        ids,
        map(itemgetter(0), singles),
        repeat(assurance),
        repeat(SINGLE_BYTES),
        repeat(_FRESH_BYTES),
        singles,
        repeat(0),
        repeat(()),
        repeat(stored_at_s),
    )
    return list(map(_AS_STORED, rows))


_AS_STORED = partial(tuple.__new__, Stored)  # what Stored._make does, without a call for each


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
