"""What the gateway writes to its flash: bytes per reading since it started, and a year at the present rate.

Counted by the kernel as what this process caused to be sent to storage (proc(5), /proc/PID/io, write_bytes). The file
system's own journal comes on top of it: for small commits on ext4 once as much again (tools/bench_store measures it).
Where the kernel does not tell there are no figures, rather than what was passed to write().
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

_IO = Path("/proc/self/io")
_YEAR_S = 365 * 86_400
_SPAN_S = 600.0  # the present rate: long enough for a few of everything that is written now and then
_EVERY_S = 10.0
_SOONEST_S = 60.0  # a rate over less says nothing


def written_bytes() -> int | None:
    """By this process, so far; None where the kernel does not tell."""
    try:
        rows = [line.partition(": ") for line in _IO.read_text().splitlines()]
        return next(int(value) for name, _, value in rows if name == "write_bytes")
    except (OSError, ValueError, StopIteration):
        return None


class Wear:
    """Made at the start. `readings`: how many were stored since then."""

    def __init__(
        self,
        readings: Callable[[], int],
        *,
        written: Callable[[], int | None] = written_bytes,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._readings = readings
        self._written = written
        self._clock_s = clock_s
        self._samples: deque[tuple[float, int]] = deque()  # (moment, bytes written), oldest first

    def status(self) -> dict[str, object]:
        """To be asked now and then: what is seen then are the samples of the rate."""
        written, readings, now_s = self._written(), self._readings(), self._clock_s()
        told: dict[str, object] = {"written_bytes": written, "readings": readings}
        told |= {"bytes_per_reading": None, "gb_per_year": None, "rate_over_s": None}
        if written is None:
            return told
        if readings:
            told["bytes_per_reading"] = round(written / readings, 1)
        self._note(now_s, written)
        began_s, before = self._samples[0]
        if now_s - began_s >= _SOONEST_S:
            told["gb_per_year"] = round((written - before) / (now_s - began_s) * _YEAR_S / 1e9, 2)
            told["rate_over_s"] = round(now_s - began_s)
        return told

    def _note(self, now_s: float, written: int) -> None:
        if not self._samples or now_s - self._samples[-1][0] >= _EVERY_S:
            self._samples.append((now_s, written))
        while len(self._samples) > 1 and now_s - self._samples[1][0] >= _SPAN_S:
            self._samples.popleft()
