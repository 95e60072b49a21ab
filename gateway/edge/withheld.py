"""What stays here is counted, and its numbers are told: a gap record per node with reason `withheld`.

Promise 1 counts records that are on their way to a city. A report held back by policy never sets out: it is outside
`accepted`, in the counter `withheld`, and the gap record lets the city balance the node's sequences to the unit. It
names the first and the last sequence of the time it speaks of, and how many between them (both included) stayed.
"""

from __future__ import annotations

import json
from dataclasses import replace

from gateway import gaps
from gateway.edge.rows import Key, Rows, Tables
from gateway.reading import Report, exact_time_s

REASON = "withheld"


class Held:
    """Reports of one node and epoch that stayed here since the last record about them."""

    __slots__ = ("count", "epoch", "first", "is_dirty", "last", "node", "since_s", "total")

    def __init__(self, node: str, epoch: int | None) -> None:
        self.node = node
        self.epoch = epoch
        self.count = 0
        self.total = 0
        self.first: int | None = None
        self.last: int | None = None
        self.since_s = 0.0
        self.is_dirty = False

    @property
    def key(self) -> Key:
        return ("", self.node, float(-1 if self.epoch is None else self.epoch))

    @property
    def is_open(self) -> bool:
        return self.count > 0

    def to_state(self) -> str:
        return json.dumps([self.count, self.total, self.first, self.last, self.since_s])


class Withheld:
    """Counts per node and epoch. Tells them every `every_s` seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._held: Rows[Held] = Rows("withheld", _parse)
        self._total: int | None = None

    def __len__(self) -> int:
        return len(self._held)

    def add(self, tx: Tables, report: Report, *, now_s: float) -> None:
        """This report stays here."""
        key = ("", report.node, float(-1 if report.epoch is None else report.epoch))
        held = self._held.find(tx, key) or Held(report.node, report.epoch)
        if not held.count:
            held.since_s = now_s
        self._total = self.total(tx) + 1
        held.count += 1
        held.total += 1
        if report.seq is not None:
            held.first = report.seq if held.first is None else min(held.first, report.seq)
            held.last = report.seq if held.last is None else max(held.last, report.seq)
        self._held.keep(held)

    def total(self, tx: Tables) -> int:
        """How many reports ever stayed here."""
        if self._total is None:
            states = tx.execute("SELECT state FROM edge_state WHERE kind = 'withheld'").fetchall()
            self._total = sum(json.loads(state)[1] for (state,) in states)
        return self._total

    def tick(self, tx: Tables, now_s: float) -> list[Report]:
        """The records that are due."""
        due = [one for one in self._held.opened(tx) if abs(now_s - one.since_s) >= self._every_s]
        made = []
        for held in sorted(due, key=lambda one: one.key):
            gap = gaps.Gap(
                node=held.node, reason=REASON, count=held.count, epoch=held.epoch, first=held.first, last=held.last
            )
            made.append(replace(gaps.as_report(gap), measured_at_s=exact_time_s(now_s)))
            self._take_off(held, held.count)
        return made

    def _take_off(self, held: Held, count: int) -> None:
        held.count = max(0, held.count - count)
        if not held.count:
            held.first = held.last = None
        self._held.note(held)

    def flush(self, tx: Tables) -> None:
        self._held.flush(tx)

    def forget(self) -> None:
        """Memory is empty again."""
        self._total = None
        self._held.forget()


def _parse(key: Key, state: str, is_open: bool) -> Held:
    held = Held(key[1], None if key[2] < 0 else int(key[2]))
    held.count, held.total, held.first, held.last, held.since_s = json.loads(state)
    return held
