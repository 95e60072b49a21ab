"""How large a message may become: as configured, and more where the platform takes so much that nobody waits for it.

Behind few slots and a long way the size of a message is the rate. But an alarm waits behind what is being written, so a
message grows only to what the platform has lately acknowledged in a fraction of a second. Has no clock of its own.
"""

from __future__ import annotations

_TIMES = 3  # as large as configured, at the most
_SPAN_S = 0.25  # of what the platform takes, one message may be the share of so long
_MEASURED_S = 1.0


class PackSize:
    """Of one connection. `records`, `bytes`: most of one message, at first as configured."""

    def __init__(self, *, most_records: int, most_bytes: int, now_s: float) -> None:
        self.records = self._least_records = most_records
        self.bytes = self._least_bytes = most_bytes
        self._began_s = now_s
        self._acknowledged = 0

    def acknowledged(self, size_bytes: int, now_s: float) -> None:
        """The platform has taken a message of this size. Grows at once, shrinks after a second."""
        self._acknowledged += size_bytes
        passed_s = now_s - self._began_s
        if passed_s < _SPAN_S:
            return
        affordable = int(self._acknowledged / passed_s * _SPAN_S)
        found = min(max(affordable, self._least_bytes), _TIMES * self._least_bytes)
        is_over = passed_s >= _MEASURED_S
        self.bytes = found if is_over else max(found, self.bytes)
        self.records = self._least_records * self.bytes // self._least_bytes
        if is_over:
            self._began_s, self._acknowledged = now_s, 0
