"""How long a record waits for others of its node, so that they go in one message. Has no clock of its own.

Alarms never wait; the backlog always does, a moment. Live records wait only where messages queue or where so much goes
that a message for each would cost more than its readings: at a few a second each goes at once.
"""

from __future__ import annotations

from gateway.city.lines import LIVE, LIVE_ALARMS, OWED_ALARMS, Line

_BUSY_PER_S = 2_000.0  # records, from which on live ones wait
_SPAN_S = 0.1  # over which they are counted


class Company:
    """Of one platform. `pack_records`: no record waits for more company; `pack_wait_s`: nor for longer."""

    def __init__(self, *, pack_records: int, pack_wait_s: float) -> None:
        self._pack_records = pack_records
        self._pack_wait_s = pack_wait_s
        self._began_s = 0.0
        self._sent = 0
        self._is_busy = False

    def sent(self, records: int, now_s: float) -> None:
        """So many records went."""
        passed_s = now_s - self._began_s
        if passed_s >= _SPAN_S:
            self._is_busy = self._sent > _BUSY_PER_S * passed_s
            self._began_s, self._sent = now_s, 0
        self._sent += records

    def wait_s(self, line: Line, now_s: float, *, is_queue: bool) -> float:
        """How long the line waits from now on. `is_queue`: messages wait for their answers."""
        is_at_once = line.group == LIVE and not is_queue and not self._is_busy
        if line.group in (LIVE_ALARMS, OWED_ALARMS) or is_at_once or line.count >= self._pack_records:
            return 0.0
        return line.since_s + self._pack_wait_s - now_s
