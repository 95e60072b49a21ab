"""How fast the backlog may go: never above the cap in any one second, and evenly within it. Has no clock of its own.

Two rules together. A log of what was sent in the last second keeps the cap to the unit, wherever that second begins; a
bucket that fills at the same rate spreads the second's share, so that a platform sees a stream and not a burst.
"""

from collections import deque

_WINDOW_S = 1.02  # a second, and a little for a network that lets late bytes catch up with earlier ones
_BURST = 20  # of a second's share at most this part goes at once
_DEPTH = 4  # what a sender that was kept busy may catch up with
_NO_CAP = 2**62


class Pace:
    """Two caps at once. 0 for either is none.

    records_per_s, bytes_per_s  most in any window of one second
    A message larger than a second's whole share goes alone, after a second of silence.
    """

    def __init__(self, *, records_per_s: int = 0, bytes_per_s: int = 0) -> None:
        self._caps = (records_per_s or _NO_CAP, bytes_per_s or _NO_CAP)
        self.is_capped = bool(records_per_s or bytes_per_s)
        self._bursts = tuple(max(1, cap // _BURST) for cap in self._caps)
        self._bucket = [float(burst) for burst in self._bursts]  # records, bytes; likewise below
        self._filled_at_s: float | None = None
        self._log: deque[tuple[float, int, int]] = deque()
        self._logged = [0, 0]

    def room(self, now_s: float) -> tuple[int, int]:
        """Records and bytes that may go now. Ask again after each `spend`."""
        if not self.is_capped:
            return self._caps
        self._advance(now_s)
        left = [
            max(0, min(int(bucket), burst, cap - logged))
            for bucket, burst, cap, logged in zip(self._bucket, self._bursts, self._caps, self._logged, strict=True)
        ]
        return left[0], left[1]

    def spend(self, now_s: float, records: int, size: int) -> None:
        """So much goes now."""
        if not self.is_capped:
            return
        self._advance(now_s)
        self._log.append((now_s, records, size))
        for at, spent in enumerate((records, size)):
            self._bucket[at] -= spent
            self._logged[at] += spent

    def wait_s(self, now_s: float, records: int, size: int) -> float:
        """How long until there is room for so much, or for as much of it as goes at once; 0 if there is."""
        if not self.is_capped:
            return 0.0
        self._advance(now_s)
        wanted = [min(most, burst) for most, burst in zip((records, size), self._bursts, strict=True)]
        return max(self._wait_of(at, wanted[at], now_s) for at in (0, 1))

    def wait_whole_s(self, now_s: float, size: int) -> float:
        """How long until one message of one record may go, which is larger than what goes at once."""
        self._advance(now_s)
        return max(self._wait_of(0, 1, now_s), self._wait_of(1, size, now_s))

    def _wait_of(self, at: int, wanted: int, now_s: float) -> float:
        cap = self._caps[at]
        wait_s = max(0.0, (min(wanted, self._bursts[at]) - self._bucket[at]) / cap)
        over = self._logged[at] + wanted - cap
        for sent_at_s, *sizes in self._log:
            if over <= 0:
                break
            over -= int(sizes[at])
            wait_s = max(wait_s, sent_at_s + _WINDOW_S - now_s)
        return wait_s

    def _advance(self, now_s: float) -> None:
        before_s = now_s if self._filled_at_s is None else self._filled_at_s
        passed_s = max(0.0, now_s - before_s)
        self._filled_at_s = max(now_s, before_s)
        for at, cap in enumerate(self._caps):
            depth = max(self._bursts[at], cap // _DEPTH)
            self._bucket[at] = min(float(depth), self._bucket[at] + min(passed_s, 1e6) * cap)
        while self._log and self._log[0][0] <= now_s - _WINDOW_S:
            _, records, size = self._log.popleft()
            self._logged[0] -= records
            self._logged[1] -= size
