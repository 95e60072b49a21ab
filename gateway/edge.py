"""The edge step: count, mean, min and max of each quantity per node and minute, as records of the gateway's own.

A window is a span of event time. It takes in every new report in the commit that stores it, so a kill changes
nothing. It is told some seconds after its end, once no more comes in; a later reading opens it again and a revised
record follows. Reports whose time is no point are left out and counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.clock import ClockTrust
from gateway.counters import Counters
from gateway.outbox.entries import Transaction
from gateway.reading import Reading, Report

_LATENESS_S = 10.0  # how long after its end a window waits for stragglers
_QUIET_S = 3.0  # and for a node that is sending its journal to come to an end
_KEPT_S = 86_400.0  # how long a told window can still be revised
_AHEAD_S = 3600.0  # a device whose clock is further ahead does not know the time
_QUANTITIES = 64
_CACHED = 10_000
_SWEEP_S = 600.0

Key = tuple[str, int, int]  # subject, start and length of the window


@dataclass(slots=True)
class Window:
    """By quantity and unit: count, sum, lowest, highest."""

    sums: dict[tuple[str, str | None], list[float]] = field(default_factory=dict)
    revision: int = 0
    is_open: bool = True
    touched_at_s: float = 0.0

    def add(self, quantity: str, unit: str | None, value: float) -> bool:
        """Take one value in; False if the window has as many quantities as it may."""
        row = self.sums.get((quantity, unit))
        if row is None:
            if len(self.sums) >= _QUANTITIES:
                return False
            self.sums[quantity, unit] = [1, value, value, value]
            return True
        row[0] += 1
        row[1] += value
        row[2] = min(row[2], value)
        row[3] = max(row[3], value)
        return True

    def to_json(self) -> str:
        return json.dumps([[*key, *row] for key, row in self.sums.items()], separators=(",", ":"))

    @classmethod
    def from_row(cls, state: str, revision: int, is_open: int, touched_at_s: float) -> Window:
        sums = {(quantity, unit): row for quantity, unit, *row in json.loads(state)}
        return cls(sums, revision, bool(is_open), touched_at_s)


class Edge:
    """Windows of `window_s` seconds; 0 makes none. `put_own` numbers and stores a record. Of the commit thread."""

    def __init__(
        self,
        *,
        window_s: int,
        clock: ClockTrust,
        counters: Counters,
        put_own: Callable[[Transaction, Report], None],
    ) -> None:
        self._window_s = window_s
        self._clock = clock
        self._counters = counters
        self._put_own = put_own
        self._known: dict[Key, Window] = {}
        self._changed: set[Key] = set()
        self._swept_at_s = clock.monotonic_s()

    def add(self, tx: Transaction, report: Report) -> None:
        """Take a new report in, if it is one of measurements."""
        if not self._window_s or report.kind not in ("telemetry", "alarm"):
            return
        if report.time_quality in ("bounded", "untrusted"):
            self._counters.add("edge_no_point_in_time")
            return
        for reading in report.readings:
            if isinstance(reading.value, (int, float)) and not isinstance(reading.value, bool):
                self._add_value(tx, report, reading, float(reading.value))

    def _add_value(self, tx: Transaction, report: Report, reading: Reading, value: float) -> None:
        at_s = report.measured_at_s if reading.at_s is None else reading.at_s
        if at_s > self._clock.now_s() + _AHEAD_S:
            self._counters.add("edge_in_the_future")
            return
        key = (report.node, int(at_s // self._window_s) * self._window_s, self._window_s)
        window = self._window(tx, key)
        if window is None:
            self._counters.add("edge_too_late")
        elif not window.add(reading.quantity, reading.unit, value):
            self._counters.add("edge_too_many_quantities")
        else:
            window.is_open = True
            window.touched_at_s = self._clock.now_s()
            self._changed.add(key)

    def _window(self, tx: Transaction, key: Key) -> Window | None:
        """The window, from memory or disk or new; None if it was told and forgotten."""
        found = self._known.get(key)
        if found is not None:
            return found
        row = tx.execute(
            "SELECT state, revision, is_open, touched_at_s FROM windows"
            " WHERE subject = ? AND start_s = ? AND length_s = ?",
            key,
        ).fetchone()
        if row is None:
            floor = tx.execute(
                "SELECT start_s FROM window_floors WHERE subject = ? AND length_s = ?", (key[0], key[2])
            ).fetchone()
            if floor is not None and key[1] <= floor[0]:
                return None
        self._known[key] = Window.from_row(*row) if row else Window()
        return self._known[key]

    def tick(self, tx: Transaction) -> int:
        """Tell the windows that are over. Returns how many."""
        self.flush(tx)
        now_s = self._clock.now_s()
        due = tx.execute(
            "SELECT subject, start_s, length_s FROM windows"
            " WHERE is_open = 1 AND start_s + length_s <= ? AND touched_at_s <= ? ORDER BY start_s, subject",
            (now_s - _LATENESS_S, now_s - _QUIET_S),
        ).fetchall()
        for key in due:
            self._tell(tx, key)
        if self._clock.monotonic_s() - self._swept_at_s > _SWEEP_S and self._clock.is_trusted:
            self._swept_at_s = self._clock.monotonic_s()
            self._sweep(tx, now_s - _KEPT_S)
        return len(due)

    def _tell(self, tx: Transaction, key: Key) -> None:
        window = self._window(tx, key)
        if window is None:
            return
        self._put_own(tx, self._as_report(key, window))
        window.is_open = False
        window.revision += 1
        self._changed.add(key)

    def _as_report(self, key: Key, window: Window) -> Report:
        subject, start_s, length_s = key
        readings = [Reading(quantity="window", value=length_s, unit="s")]
        if window.revision:
            readings.append(Reading(quantity="revision", value=window.revision))
        for (quantity, unit), (count, total, low, high) in sorted(window.sums.items(), key=lambda item: str(item[0])):
            readings.append(Reading(quantity=f"{quantity}/count", value=int(count), unit="count"))
            readings.append(Reading(quantity=f"{quantity}/mean", value=total / count, unit=unit))
            readings.append(Reading(quantity=f"{quantity}/min", value=low, unit=unit))
            readings.append(Reading(quantity=f"{quantity}/max", value=high, unit=unit))
        return Report(
            node="", record_id="", measured_at_s=start_s, readings=tuple(readings), kind="window", subject=subject
        )

    def _sweep(self, tx: Transaction, before_s: float) -> None:
        """Forget windows told long ago, and note up to where: a straggler must not pass for a whole window."""
        old = (before_s,)
        tx.execute(
            "INSERT INTO window_floors (subject, length_s, start_s) SELECT subject, length_s, max(start_s)"
            " FROM windows WHERE is_open = 0 AND touched_at_s < ? GROUP BY subject, length_s"
            " ON CONFLICT DO UPDATE SET start_s = max(start_s, excluded.start_s)",
            old,
        )
        tx.execute("DELETE FROM windows WHERE is_open = 0 AND touched_at_s < ?", old)
        self._known.clear()

    def flush(self, tx: Transaction) -> None:
        for key in self._changed:
            window = self._known[key]
            row = (*key, window.to_json(), window.revision, window.is_open, window.touched_at_s)
            tx.execute("INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._changed.clear()
        if len(self._known) > _CACHED:
            self._known.clear()

    def forget(self) -> None:
        self._known.clear()
        self._changed.clear()
