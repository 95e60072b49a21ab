"""A record as it is read out of the log, or several, until the city has it: small while it waits."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from math import nan
from operator import attrgetter
from typing import NamedTuple

from gateway.outbox import body
from gateway.outbox.frame import SINGLE_BYTES
from gateway.outbox.page import PRODUCED, base_s_of, kind_of
from gateway.outbox.places import PLACE_BYTES, Places, Sheet
from gateway.outbox.ranges import Run, joined_runs, runs_of
from gateway.outbox.singles import IN_COLUMNS_BYTES, Singles
from gateway.reading import STREAMS, Assurance, Report, Single
from gateway.row import Columns, Row

_ROW_BYTES, _IN_ROW_BYTES = 400, 100  # of records that were just stored, and of each with what it says
_ON_PAGE_BYTES = 160  # of a record on a page, beside its bytes there
_REPORT_BYTES, _REPORT_BYTES_PER_BYTE = 1_000, 4  # of a report with one reading, and about what more there is


class Said(NamedTuple):
    """A record as its report."""

    report: Report
    stored_at_s: float
    is_produced: bool


class Stored(NamedTuple):
    """A record, or several of one node, and the place in the outbox. Tens of thousands are read ahead, so that one is
    small until it is asked.

    id         ordinal in its stream times the number of streams, plus the stream; of the first
    size       bytes in the log
    weight     bytes of memory while it waits, roughly
    source     the page that it is on, at `at`; several by their places or by columns; or what was said in a row, just
               stored, at `came_at_s`; or its report
    span       how many they are; of these three it may be more than one
    """

    id: int
    node: str
    assurance: Assurance
    size: int
    weight: int
    source: Sheet | Places | Singles | Row | Said
    at: int = 0
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
    def on_page(cls, id: int, sheet: Sheet, at: int, size: int) -> Stored:
        """Of the bytes of a report at `at` of a page that is whole."""
        node, assurance = body.speaker_of(sheet.page, at, sheet.names)
        return _as_stored((id, node, assurance, size, _ON_PAGE_BYTES + size, sheet, at, 0.0, 1))

    @classmethod
    def several(cls, node: str, assurance: Assurance, them: Places | Singles) -> Stored:
        """Of one node, wherever they are; one at least."""
        span = len(them)
        if isinstance(them, Singles):
            return cls(them.ids[0], node, assurance, SINGLE_BYTES * span, IN_COLUMNS_BYTES * span, them, span=span)
        size = sum(them.sizes)
        return cls(them.ids[0], node, assurance, size, PLACE_BYTES * span + size, them, span=span)

    @classmethod
    def in_row(cls, stream: int, first: int, row: Row, assurance: Assurance, came_at_s: float) -> Stored:
        """Those of a row, of which the first has that ordinal."""
        span = len(row.values)
        weight = _ROW_BYTES + _IN_ROW_BYTES * span
        id_ = first * len(STREAMS) + stream
        return _as_stored((id_, row[0], assurance, SINGLE_BYTES * span, weight, row, 0, came_at_s, span))

    def __eq__(self, other: object) -> bool:
        mine = self.id, self.runs, self.report
        return isinstance(other, Stored) and mine == (other.id, other.runs, other.report)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def ordinal(self) -> int:
        return self.id // len(STREAMS)

    @property
    def run(self) -> Run:
        """The ordinals of one, or of several in a row."""
        first = self.id // len(STREAMS)
        return first, first + self.span

    @property
    def runs(self) -> list[Run]:
        """The ordinals of any."""
        return runs_in((self,))

    @property
    def report(self) -> Report:
        """What was stored, of several the first; made anew each time, so that what waits stays small."""
        source = self.source
        if isinstance(source, Sheet):
            return body.decode(source.page, source.names, self.at)
        if isinstance(source, Places | Singles):
            return next(self.each()).report
        return source.report if isinstance(source, Said) else next(source.reports(self.assurance))

    @property
    def stored_at_s(self) -> float:
        """When it came, UTC, of several the first; NaN: what waits by columns knows it no more."""
        source = self.source
        if isinstance(source, Sheet):
            return base_s_of(source.page) + body.stored_ms(source.page, self.at) / 1000
        if isinstance(source, Places | Singles):
            return next(self.each()).stored_at_s
        return source.stored_at_s if isinstance(source, Said) else self.came_at_s

    @property
    def is_produced(self) -> bool:
        """Whether the gateway made it; of several the first."""
        source = self.source
        if isinstance(source, Sheet):
            return kind_of(source.page, self.at) & PRODUCED > 0
        if isinstance(source, Places):
            return next(self.each()).is_produced
        return isinstance(source, Said) and source.is_produced

    @property
    def is_pending(self) -> bool:
        """Its time counts from the start of a boot; so `report` is not what goes out."""
        source = self.source
        if isinstance(source, Sheet):
            return body.is_pending(source.page, self.at)
        return isinstance(source, Said) and source.report.pending is not None

    def with_report(self, report: Report) -> Stored:
        """The same record, saying this."""
        return Stored.of(self.id, report, size=self.size, stored_at_s=self.stored_at_s, is_produced=self.is_produced)

    @property
    def single(self) -> Single | None:
        """The same in its shortest form, if it has one at hand."""
        source = self.source
        if isinstance(source, Sheet):
            is_short = self.size == SINGLE_BYTES
            return body.decode_single(source.page, source.names, self.at) if is_short else None
        if isinstance(source, Places | Singles):
            return next(self.each()).single
        return None if isinstance(source, Said) else next(source.singles())

    def fill(self, columns: Columns) -> bool:
        """Put all of them, in their shortest form, behind what is there; False at the first that has none."""
        source = self.source
        if isinstance(source, Row):
            columns.add_row(source)
        elif isinstance(source, Singles):
            source.fill(columns)
        else:
            for one in self.each():
                single = one.single
                if single is None:
                    return False
                columns.add_single(single)
        return True

    def part(self, at: int, end: int) -> Stored:
        """Of several those from `at` to `end`. Their sizes and weights add up to those of all."""
        source = self.source
        if end - at == self.span:
            return self
        if isinstance(source, Places | Singles):
            return Stored.several(self.node, self.assurance, source.part(at, end))
        assert isinstance(source, Row)
        weight = self.weight * end // self.span - self.weight * at // self.span
        return self._replace(
            id=self.id + at * len(STREAMS),
            size=SINGLE_BYTES * (end - at),
            weight=weight,
            source=source.part(at, end),
            span=end - at,
        )

    def each(self) -> Iterator[Stored]:
        """Every one by itself."""
        source = self.source
        if isinstance(source, Places | Singles):
            return _each_of(self.node, self.assurance, source)
        if self.span == 1:
            return iter((self,))
        return (self.part(at, at + 1) for at in range(self.span))


def _each_of(node: str, assurance: Assurance, them: Places | Singles) -> Iterator[Stored]:
    if isinstance(them, Singles):
        for id, row in them.rows(node):
            yield _as_stored((id, node, assurance, SINGLE_BYTES, IN_COLUMNS_BYTES, row, 0, nan, 1))
        return
    for id, size, sheet, at in them.rows():
        yield _as_stored((id, node, assurance, size, PLACE_BYTES + size, sheet, at, 0.0, 1))


def each_of(records: Sequence[Stored]) -> tuple[Stored, ...]:
    """Every record by itself."""
    if count_of(records) == len(records):
        return tuple(records)
    return tuple(chain.from_iterable(one.each() for one in records))


def count_of(records: Iterable[Stored]) -> int:
    """How many records these are."""
    return sum(map(_SPAN, records))


def runs_in(records: Iterable[Stored]) -> list[Run]:
    """The ordinals of records of one stream, as ascending runs that lie apart."""
    runs: list[Run] = []
    ids = array("Q")
    for one in records:
        if isinstance(one.source, Places | Singles):
            ids.extend(one.source.ids)
        else:
            runs.append(one.run)
    if ids:
        runs += runs_of(id // len(STREAMS) for id in ids)
    return joined_runs(runs)


_SPAN = attrgetter("span")
_as_stored = partial(tuple.__new__, Stored)  # what Stored._make does, without a call in Python
