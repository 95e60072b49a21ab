"""The table of the gateway's own boots: kept in step with the clock, in the commits of what depends on it.

A row per boot, as JSON. Settled in the first commit after the time was learnt, and with it the boots before that never
learnt it. What must go out before that is released up to a watermark, and stays untrusted for ever: a record id never
shows two times. Knows neither frames nor SenML; what the rows mean is in gateway/boot_times.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.boot_times import Boot, age_at_least_s, bounded, resolved, settled
from gateway.clock import ClockTrust, Learnt
from gateway.reading import Report, stream_of
from gateway.tables import Tables

_KEPT = 4096
_NOTE_EVERY_S = 60.0
_LASTING = ("ntp", "rtc")  # what these taught holds until the next boot; a restart looks anew at the others
TABLE = "CREATE TABLE IF NOT EXISTS clock_boots (number INTEGER PRIMARY KEY, body TEXT NOT NULL)"

OnSettled = Callable[[Tables, Boot], None]


class BootTable:
    """The rows, kept in step with the clock. Joins the store; `begin`, `flush` and `release` are of the commit thread.

    on_settled  called in the commit that settles a boot
    hold_s      how long records wait for the time once a platform asks for them; alarms do not wait
    """

    def __init__(self, clock: ClockTrust, *, on_settled: OnSettled | None = None, hold_s: float = 120.0) -> None:
        self._clock = clock
        self._on_settled = on_settled
        self._hold_s = hold_s
        self._own: Boot | None = None
        self._floor_s = 0.0
        self._noted_up_s = float("-inf")
        self._changes = -1
        self._asked_up_s: float | None = None

    def begin(self, tx: Tables) -> None:
        """Find or open the row of this boot; the clock learns what has passed, and what was learnt in this boot."""
        tx.execute(TABLE)
        boots = read_boots(tx)
        known = tx.execute("SELECT value FROM meta WHERE key = 'clock_floor_s'").fetchall()  # of earlier versions
        passed = [one.passed_s for one in boots.values() if one.passed_s is not None]
        self._clock.raise_floor(max([*passed, *(floor_s for (floor_s,) in known)], default=0.0))
        self._floor_s = self._clock.floor_s
        last = boots[max(boots)] if boots else None
        if last is not None and self._is_ours(last):
            self._own = last
            if last.learnt is not None:
                self._clock.resume(last.learnt)
        else:
            self._own = self._open(last)
        self._clock.number, self._clock.after_s = self._own.number, self._own.after_s
        self._save(tx, self._own)
        tx.execute("DELETE FROM clock_boots WHERE number <= ?", (self._own.number - _KEPT,))

    def _open(self, last: Boot | None) -> Boot:
        """A new row: a new boot, or one in which what an operator's clock had taught is looked at anew."""
        after_s = self._clock.floor_s
        if last is not None and last.boot_id == self._clock.boot_id:
            after_s = last.after_s if last.passed_s is None else max(last.after_s, last.passed_s - last.seen_up_s)
        return Boot(number=last.number + 1 if last else 1, boot_id=self._clock.boot_id, after_s=after_s)

    def _is_ours(self, last: Boot) -> bool:
        is_same = last.boot_id == self._clock.boot_id and last.seen_up_s <= self._clock.monotonic_s()
        return is_same and (last.learnt is None or last.learnt.source in _LASTING)

    def flush(self, tx: Tables) -> None:
        """Settle when the time is learnt; else note now and then what has passed, if a commit happens anyway."""
        if self._own is None:
            self._own = read_boots(tx)[self._clock.number]
        learnt = self._clock.learnt
        up_s = self._clock.monotonic_s()
        if self._clock.floor_s < self._floor_s:
            self._lower_floor(tx)
        if self._own.start_s is None and learnt is not None:
            self._settle(tx, self._own, learnt)
        elif up_s - self._noted_up_s < _NOTE_EVERY_S or tx.total_changes == self._changes:
            return
        self._noted_up_s = up_s
        self._save(tx, replace(self._own, seen_up_s=up_s, passed_s=self._clock.passed_s(), learnt=learnt))
        self._changes = tx.total_changes

    def forget(self) -> None:
        self._own = None
        self._noted_up_s = float("-inf")

    def _settle(self, tx: Tables, own: Boot, learnt: Learnt) -> None:
        """This boot is known, and so are bounds of those before it that are not."""
        self._own = settled(own, learnt)
        boots = read_boots(tx)
        earlier = [boots[n] for n in sorted(boots) if n < own.number and boots[n].start_s is None]
        for one in [*bounded(earlier, learnt.start_s + learnt.error_s), self._own]:
            self._save(tx, one)
            if self._on_settled is not None:
                self._on_settled(tx, one)

    def _lower_floor(self, tx: Tables) -> None:
        """A time server has insisted: what the table holds for passed had not, and must not bar it again."""
        tx.execute("DELETE FROM meta WHERE key = 'clock_floor_s'")
        for one in read_boots(tx).values():
            if one.passed_s is not None and one.passed_s > self._clock.floor_s:
                self._save(tx, replace(one, passed_s=None))

    def stamp(self) -> tuple[int, float]:
        """This moment as (number of the boot, seconds since it began): keep it with what has a time to live."""
        return self._clock.number, self._clock.monotonic_s()

    def age_at_least_s(self, db: Tables, stored: tuple[int, float]) -> float:
        """How long ago the moment of `stamp` was, at the least."""
        return age_at_least_s(read_boots(db), self.stamp(), stored)

    def due(self, held: Sequence[Report]) -> list[Report]:
        """Which of these, which nobody can date yet, wait no longer. Called when a platform could take them."""
        up_s = self._clock.monotonic_s()
        if held and self._asked_up_s is None:
            self._asked_up_s = up_s
        is_over = self._asked_up_s is not None and up_s - self._asked_up_s >= self._hold_s
        return [report for report in held if is_over or report.kind == "alarm"]

    def release(self, tx: Tables, reports: Sequence[Report]) -> None:
        """Let these go out untrusted: they, and what was measured before them, resolve to the same for ever."""
        boots = read_boots(tx)
        for report in reports:
            boot = boots.get(report.pending.boot) if report.pending else None
            if boot is None or boot.start_s is not None:
                continue
            stream = stream_of(report.kind)
            mark = max(report.measured_at_s, boot.released.get(stream, report.measured_at_s))
            boots[boot.number] = replace(boot, released={**boot.released, stream: mark})
            self._save(tx, boots[boot.number])

    def _save(self, tx: Tables, boot: Boot) -> None:
        tx.execute("INSERT OR REPLACE INTO clock_boots VALUES (?, ?)", (boot.number, boot.to_json()))
        if boot.number == self._clock.number:
            self._own = boot


def read_boots(db: Tables) -> dict[int, Boot]:
    """All rows by number, as of this connection's view."""
    return {number: Boot.from_json(body) for number, body in db.execute("SELECT number, body FROM clock_boots")}


def resolved_head(db: Tables, reports: Sequence[Report]) -> list[Report]:
    """The reports with their times in UTC, up to the first that has to wait: what follows waits too, for order."""
    if not any(report.pending for report in reports):
        return list(reports)
    boots = read_boots(db)
    head = []
    for report in reports:
        one = resolved(report, boots)
        if one is None:
            break
        head.append(one)
    return head
