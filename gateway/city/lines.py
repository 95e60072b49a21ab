"""What waits for one platform, in memory: a line per node, class and lane, and which line may go next.

Of each line one pack is on its way at a time, so that its order holds whatever the platform refuses. Lines take turns
within a rank; ranks are alarms, live, backlog, and within these the classes. Knows neither packs nor connections.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from gateway.outbox import Batch, Lane, Places, Sheet, Singles, Stored, count_of
from gateway.reading import STREAMS, Assurance

_ALARM = STREAMS.index("alarm")
LIVE_ALARMS, OWED_ALARMS, LIVE, OWED = range(4)  # the groups: what is read, and bounded, apart from the others
GROUPS: tuple[tuple[Lane, Sequence[int]], ...] = (
    ("live", (_ALARM,)),
    ("backlog", (_ALARM,)),
    ("live", range(_ALARM + 1, len(STREAMS))),
    ("backlog", range(_ALARM + 1, len(STREAMS))),
)
RANKS = [(group, stream) for group, (_, streams) in enumerate(GROUPS) for stream in streams]
_WEIGHT = attrgetter("weight")
_FEW = 8  # records: columns of fewer would take more memory than they do
_MANY = 128  # records: what is left of columns is copied when a message has taken some
_KEPT_OF_BLOCKED = 64  # records of a line that the platform refuses; what comes behind stays in the outbox alone


class Line:
    """Records of one node, class and lane, oldest first.

    count        records in `waiting`
    since_s      when the first of them came into an empty line; 0 if a pack has gone since
    tries        how often each record was refused for its payload
    piece        most records in one pack while some are suspect
    retries      refusals in a row that were not about the payload, the first at stuck_since_s; `trouble` names the last
    has_skipped  later records were left in the outbox and have to be read anew
    """

    __slots__ = (
        "_last",
        "_last_assurance",
        "_waiting",
        "count",
        "group",
        "has_skipped",
        "is_blocked",
        "is_in_flight",
        "is_queued",
        "lane",
        "node",
        "piece",
        "rank",
        "retries",
        "since_s",
        "stream",
        "stuck_since_s",
        "tries",
        "trouble",
    )

    def __init__(self, node: str, stream: int, group: int) -> None:
        self.node = node
        self.stream = stream
        self.group = group
        self.lane: Lane = GROUPS[group][0]
        self.rank = RANKS.index((group, stream))
        self._waiting: deque[Stored] = deque()
        self._last: Places | Singles | None = None  # the last ones, while more may come
        self._last_assurance: Assurance = "none"
        self.count = 0
        self.since_s = 0.0
        self.is_in_flight = self.is_queued = self.is_blocked = self.has_skipped = False
        self.tries: dict[int, int] = {}
        self.piece = 1
        self.retries = 0
        self.stuck_since_s = 0.0
        self.trouble = ""

    @property
    def waiting(self) -> deque[Stored]:
        """Its records; several may be one item."""
        self._close()
        return self._waiting

    def add(self, stored: Stored) -> int:
        """Last of all. Returns the bytes of memory that it takes here, roughly."""
        source = stored.source
        if isinstance(source, Sheet) and self.count >= _FEW:
            self.count += 1
            return self._add_to_last(stored, source)
        if self._last is not None:
            self._close()
        self._waiting.append(stored)
        self.count += stored.span
        return stored.weight

    def _add_to_last(self, stored: Stored, sheet: Sheet) -> int:
        """One that is on a page goes with the last ones if it can: they take a third of the memory so."""
        single = stored.single
        if single is not None and not Singles.takes(single):
            single = None
        last = self._reopened()
        is_other = self._last_assurance != stored.assurance or (single is None and isinstance(last, Singles))
        if last is None or is_other or len(last) >= _MANY:
            self._close()
            self._last = last = Places() if single is None else Singles()
            self._last_assurance = stored.assurance
        if isinstance(last, Places):
            return last.add(stored.id, stored.size, sheet, stored.at)
        assert single is not None
        return last.add(stored.id, single)

    def _reopened(self) -> Places | Singles | None:
        """The last ones, also if a message was made meanwhile: behind small ones there would be columns of one each."""
        end = self._waiting[-1] if self._last is None and self._waiting else None
        if end is not None and isinstance(end.source, Places | Singles):
            self._last, self._last_assurance = end.source, end.assurance
            self._waiting.pop()
        return self._last

    def _close(self) -> None:
        """What comes next goes with others."""
        if self._last is not None:
            self._waiting.append(Stored.several(self.node, self._last_assurance, self._last))
            self._last = None

    def take(self, count: int) -> tuple[Stored, ...]:
        """The first records, which are no longer here."""
        taken = []
        waiting = self.waiting
        self.count -= count
        while count > 0:
            one = waiting.popleft()
            if one.span > count:
                waiting.appendleft(one.part(count, one.span))
                one = one.part(0, count)
            taken.append(one)
            count -= one.span
        return tuple(taken)

    def put_back(self, records: Sequence[Stored]) -> None:
        """First of all."""
        self._waiting.extendleft(reversed(records))
        self.count += count_of(records)


class Lines:
    """All lines of one platform. `held`: records per group that wait or are on their way; `weights`: their bytes."""

    def __init__(self) -> None:
        self.held = [0] * len(GROUPS)
        self.weights = [0] * len(GROUPS)
        self.skipped = 0  # since `accepted` was called last
        self._lines: dict[tuple[int, int], dict[str, Line]] = {rank: {} for rank in RANKS}
        self._ready: list[deque[Line]] = [deque() for _ in RANKS]
        self._blocked: list[tuple[float, int, Line]] = []  # a heap by the time when each may go again
        self._count = itertools.count()

    def add(self, batch: Batch, now_s: float) -> None:
        """Append what was taken from the outbox, each record to the line of its node."""
        group = _group_of(batch)
        lines = self._lines[group, batch.stream]
        kept = weight = 0
        for stored in batch.records:
            node = stored.node
            line = lines.get(node)
            if line is None:
                line = lines[node] = Line(node, batch.stream, group)
            if line.has_skipped or (line.retries and line.count >= _KEPT_OF_BLOCKED):
                line.has_skipped = True
                continue
            if not line.count:
                line.since_s = now_s
            weight += line.add(stored)
            kept += stored.span
            if not (line.is_queued or line.is_in_flight or line.is_blocked):
                self._queue(line)
        self.held[group] += kept
        self.weights[group] += weight
        self.skipped += count_of(batch.records) - kept

    def first(self, rank: int) -> Line | None:
        """The line whose turn it is in a rank."""
        queue = self._ready[rank]
        return queue[0] if queue else None

    def start(self, line: Line, count: int) -> tuple[Stored, ...]:
        """Take the first records of the line that is first in its rank: they are on their way."""
        self._ready[line.rank].popleft()
        line.is_queued = False
        line.is_in_flight = True
        line.since_s = 0.0
        return line.take(count)

    def finish(self, line: Line, records: Sequence[Stored]) -> None:
        """These, which were on their way, need nothing more."""
        self.held[line.group] -= count_of(records)
        self.weights[line.group] -= weight_of(records)
        line.is_in_flight = False
        line.retries = 0
        line.trouble = ""
        if line.count:
            self._queue(line)
        elif not line.has_skipped:
            self._lines[line.group, line.stream].pop(line.node, None)

    def trouble(self, line: Line, trouble: str, now_s: float) -> None:
        """The platform refuses this line, by name."""
        line.trouble = trouble
        if not line.retries:
            line.stuck_since_s = now_s

    def put_back(self, line: Line, records: Sequence[Stored], *, until_s: float) -> None:
        """Records that were on their way are first in their line again, which waits until then."""
        line.is_in_flight = False
        line.is_blocked = True
        line.put_back(records)
        heapq.heappush(self._blocked, (until_s, next(self._count), line))

    def release(self, now_s: float) -> float | None:
        """Let lines go whose wait is over. Returns when the next one's is."""
        while self._blocked and self._blocked[0][0] <= now_s:
            line = heapq.heappop(self._blocked)[2]
            line.is_blocked = False
            self._queue(line)
        return self._blocked[0][0] if self._blocked else None

    def troubled(self) -> Iterator[Line]:
        """Lines that the platform refuses at the moment."""
        for lines in self._lines.values():
            yield from (line for line in lines.values() if line.trouble)

    @property
    def is_empty(self) -> bool:
        return not any(self.held)

    def _queue(self, line: Line) -> None:
        line.is_queued = True
        self._ready[line.rank].append(line)


def weight_of(records: Iterable[Stored]) -> int:
    """Bytes of memory that these take, roughly."""
    return sum(map(_WEIGHT, records))


def _group_of(batch: Batch) -> int:
    return next(at for at, (lane, streams) in enumerate(GROUPS) if lane == batch.lane and batch.stream in streams)


def is_owed(group: int) -> bool:
    """Whether a group is of the backlog, which is paced."""
    return group in (OWED_ALARMS, OWED)


def ranks_of(groups: Iterable[int]) -> list[int]:
    """Ranks in the order of the groups given."""
    return [rank for group in groups for rank, (one, _) in enumerate(RANKS) if one == group]
