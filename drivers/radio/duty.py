"""How much of its hour one sub-band has left. Knows no frequency: region has the rules, and a ledger of all sub-bands.

Integers only. `now_s` is whole seconds of a clock that runs through deep sleep and is never set. Should it step back,
no time is taken to have passed.
"""

import struct

from drivers.constant import const

HOUR_S = 3_600
_BUCKET_S = const(180)  # a burst counts for up to one bucket longer than the hour: 5 % less than allowed, never more
_BUCKETS = const(21)
_FORMAT = ">IB21I"  # now, seconds into the newest bucket, microseconds per bucket
METER_LEN = 89


class Meter:
    """Airtime spent in the last hour, in buckets of three minutes. A new one says that nothing was sent."""

    def __init__(self, allowance_us, now_s=0):
        """allowance_us: airtime per hour in microseconds."""
        self.allowance_us = allowance_us
        self._now_s = now_s
        self._bucket_at_s = now_s - now_s % _BUCKET_S  # when the newest bucket began
        self._spent_us = [0] * _BUCKETS  # newest first

    def spent_us(self, now_s):
        """Airtime that counts against the hour now."""
        self._advance(now_s)
        return sum(self._spent_us)

    def wait_s(self, airtime_us, now_s):
        """Seconds until a frame of `airtime_us`, at most the allowance, may start; 0 if now."""
        excess_us = self.spent_us(now_s) + airtime_us - self.allowance_us
        if excess_us <= 0:
            return 0
        age = _BUCKETS  # the oldest buckets free their airtime first
        while excess_us > 0:
            age -= 1
            excess_us -= self._spent_us[age]
        return self._bucket_at_s + (_BUCKETS - age) * _BUCKET_S - self._now_s

    def record(self, airtime_us, now_s):
        """Note a transmission. Call it before the frame starts, so that a reset in between errs on the safe side."""
        self._advance(now_s)
        self._spent_us[0] += airtime_us

    def to_bytes(self):
        """METER_LEN bytes for memory that outlives a reset."""
        return struct.pack(_FORMAT, self._now_s, self._now_s - self._bucket_at_s, *self._spent_us)

    def restore(self, data, now_s):
        """Take what `to_bytes` wrote, moved on to `now_s`. Raises ValueError for anything else."""
        if len(data) != METER_LEN or data[4] >= _BUCKET_S:
            raise ValueError("not a duty meter (%d bytes)" % len(data))
        self._now_s, into_bucket_s, *self._spent_us = struct.unpack(_FORMAT, data)
        self._bucket_at_s = self._now_s - into_bucket_s
        self._advance(now_s)

    def _advance(self, now_s):
        """Age the buckets to `now_s`. A clock that stepped back moves the origin and ages nothing."""
        if now_s < self._now_s:
            self._bucket_at_s = now_s - (self._now_s - self._bucket_at_s)
        self._now_s = now_s
        steps = (now_s - self._bucket_at_s) // _BUCKET_S
        if steps > 0:
            self._bucket_at_s += steps * _BUCKET_S
            kept = self._spent_us[: max(_BUCKETS - steps, 0)]
            self._spent_us = [0] * (_BUCKETS - len(kept)) + kept
