"""Named counts of what happened: every refusal and every repeat moves one. Kept in the database now and then.

The counters of promise 1 (accepted, delivered, evicted ...) are not here: they move in the commit that they count, in
the outbox.
"""

from collections import Counter
from threading import Lock

from gateway.tables import Tables

_KEEP_EVERY_S = 10.0


class Counters:
    """Counts by name since this store was made. A kill may cost the last few seconds of them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = Lock()  # the commit thread counts too
        self._unsaved: set[str] = set()
        self._saved_at_s = 0.0

    def add(self, name: str, n: int = 1) -> None:
        with self._lock:
            self._counts[name] += n
            self._unsaved.add(name)

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        with self._lock:
            return dict(sorted(self._counts.items()))

    def load(self, tx: Tables) -> None:
        """Add what the database holds, once, at start."""
        with self._lock:
            self._counts.update(dict(tx.execute("SELECT name, value FROM counters")))

    def save(self, tx: Tables, now_s: float) -> None:
        """Write what moved, at most every ten seconds of a monotonic clock; joins a commit that happens anyway."""
        if now_s < self._saved_at_s + _KEEP_EVERY_S or not self._unsaved:
            return
        with self._lock:
            rows = [(name, self._counts[name]) for name in self._unsaved]
            self._unsaved.clear()
        self._saved_at_s = now_s
        tx.executemany("INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", rows)
