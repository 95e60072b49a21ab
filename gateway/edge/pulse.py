"""When the gateway was listening: silence of a node while the gateway itself was off is no silence.

The last sign of life is kept every half minute. After a longer pause everybody is given time anew.
"""

from __future__ import annotations

import json

from gateway.edge.rows import Tables

_EVERY_S = 30.0
_PAUSE_S = 120.0


class Pulse:
    """`listening_s`: since when somebody who had spoken would have been heard."""

    def __init__(self) -> None:
        self._is_read = self._is_dirty = False
        self._alive_s = self._saved_s = self.listening_s = 0.0

    def beat(self, tx: Tables, now_s: float) -> None:
        """We are alive."""
        if not self._is_read:
            row = tx.execute("SELECT state FROM edge_state WHERE kind = 'pulse'").fetchone()
            self._alive_s, self.listening_s = json.loads(row[0]) if row else (now_s, now_s)
            self._saved_s = self._alive_s
            self._is_read = True
            self._is_dirty = row is None
        if abs(now_s - self._alive_s) > _PAUSE_S:  # off, or the clock was set
            self.listening_s = self._alive_s = now_s
            self._is_dirty = True
        self._alive_s = max(self._alive_s, now_s)
        if abs(now_s - self._saved_s) >= _EVERY_S:
            self._is_dirty = True

    def flush(self, tx: Tables) -> None:
        if self._is_dirty:
            state = json.dumps([self._alive_s, self.listening_s])
            tx.execute("INSERT OR REPLACE INTO edge_state VALUES ('pulse', '', '', 0, 0, ?)", (state,))
            self._saved_s, self._is_dirty = self._alive_s, False

    def forget(self) -> None:
        self._is_read = self._is_dirty = False
        self._alive_s = self._saved_s = self.listening_s = 0.0
