"""Records as they are read out of the log; what the outbox hands to a forwarder, and gets back with an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gateway.outbox import body
from gateway.outbox.page import ENTRY_BYTES, PRODUCED, base_s_of, kind_of
from gateway.outbox.ranges import Run, runs_of
from gateway.reading import STREAMS, Report, Single

Lane = Literal["live", "backlog"]
_SINGLE_BYTES = ENTRY_BYTES + body.SINGLE_BYTES
_PLACE_BYTES = 160  # of a record on a page, beside its bytes there
_REPORT_BYTES, _REPORT_BYTES_PER_BYTE = 1_000, 4  # of a report with one reading, and about what more there is


class Stored:
    """A record and its place in the outbox. Tens of thousands are read ahead, so that one is bytes until it is asked.

    id      ordinal in its stream times the number of streams, plus the stream
    size    bytes in the log
    weight  bytes of memory while it waits, roughly
    """

    __slots__ = ("_at", "_names", "_page", "_said", "assurance", "id", "node", "size", "weight")

    def __init__(
        self, id: int, report: Report, *, size: int = 0, stored_at_s: float = 0.0, is_produced: bool = False
    ) -> None:
        self.id = id
        self.node = report.node
        self.assurance = report.assurance
        self.size = size
        self.weight = _REPORT_BYTES + _REPORT_BYTES_PER_BYTE * size
        self._said: tuple[Report, float, bool] | None = (report, stored_at_s, is_produced)
        self._page, self._at = b"", 0
        self._names: Sequence[str] = ()

    @classmethod
    def on_page(cls, id: int, page: bytes, at: int, names: Sequence[str], size: int) -> Stored:
        """Of the bytes of a report at `at` of a page that is whole."""
        made = cls.__new__(cls)
        made.id = id
        made.node, made.assurance = body.speaker_of(page, at, names)
        made.size = size
        made.weight = _PLACE_BYTES + size
        made._said = None
        made._page, made._at, made._names = page, at, names
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stored) and (self.id, self.report) == (other.id, other.report)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def ordinal(self) -> int:
        return self.id // len(STREAMS)

    @property
    def report(self) -> Report:
        """What was stored; made anew each time, so that what waits stays small."""
        return self._said[0] if self._said is not None else body.decode(self._page, self._names, self._at)

    @property
    def single(self) -> Single | None:
        """The same in its shortest form, if it has one and is bytes still."""
        if self._said is not None or self.size != _SINGLE_BYTES:
            return None
        return body.decode_single(self._page, self._names, self._at)

    @property
    def stored_at_s(self) -> float:
        """When it came, UTC."""
        if self._said is not None:
            return self._said[1]
        return base_s_of(self._page) + body.stored_ms(self._page, self._at) / 1000

    @property
    def is_produced(self) -> bool:
        """Whether the gateway made it."""
        return self._said[2] if self._said is not None else kind_of(self._page, self._at) & PRODUCED > 0

    @property
    def is_pending(self) -> bool:
        """Its time counts from the start of a boot; so `report` is not what goes out."""
        if self._said is not None:
            return self._said[0].pending is not None
        return body.is_pending(self._page, self._at)

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
