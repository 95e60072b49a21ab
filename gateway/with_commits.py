"""What goes along with a commit that is made anyway: counters now and then, and what audit must hold by then."""

from __future__ import annotations

from gateway.clock import ClockTrust
from gateway.counters import Counters
from gateway.outbox.entries import Transaction
from gateway.trust import Trust


class AuditOfCommit:
    """Last of all: what was recorded while a commit was made is on disk before it is."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._has_settled = False

    def flush(self, tx: Transaction) -> None:
        self._has_settled = self._trust.audit.settle()

    def forget(self) -> None:
        """The commit failed: what was recorded did not come to be."""
        if self._has_settled:
            self._trust.not_kept()
        self._has_settled = False


class SavedCounters:
    """Counters: written now and then, with a commit that happens anyway."""

    def __init__(self, counters: Counters, clock: ClockTrust) -> None:
        self._counters = counters
        self._clock = clock

    def flush(self, tx: Transaction) -> None:
        if tx.frame.page_count:
            self._counters.save(tx, self._clock.monotonic_s())

    def forget(self) -> None:
        """The counters in memory are right whatever the database says."""
