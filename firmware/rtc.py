"""What a node carries through deep sleep in RTC memory: exact counters, its clock, what is acknowledged, its airtime.

RTC memory outlives every reset but a power loss, holds anything after one, and has no check of its own. So the state is
kept twice, each copy with a magic, a sequence and a CRC; a write goes over the older copy, and a reader takes the newer
one that is whole. Layout of a copy, big-endian: "LPR1", u32 sequence, u16 length, state, u32 CRC-32 of all before.
"""

import struct
from binascii import crc32

_MAGIC = b"LPR1"
_HEAD = ">4sIH"
_HEAD_LEN = 10
_COPY_LEN = 216
_FIELDS = (
    "epoch",  # the frame counter and its block
    "next_counter",
    "counter_end",
    "boot",  # which boot this is, and its clock when it fell asleep
    "uptime_s",
    "uptime_ms",
    "asleep_at_s",  # the chip's own clock then (since its power-on), and for how long it was to sleep
    "asleep_at_ms",
    "asleep_s",
    "sample_at_s",  # uptime of the next sample and the next report
    "report_at_s",
    "acked_base",  # what the gateway has of this epoch
    "acked_bitmap",
    "acked_counter",  # uplink and sequence of the last ack in this boot; is_acked 0: none yet
    "acked_seq",
    "is_acked",
    "down_next",  # lowest downlink counter still accepted
    "unanswered",  # frames since the last ack; tries since the last success
    "misses",
    "alarms",  # bit per configured alarm: on
)
_STATE = ">%dI" % len(_FIELDS)
_STATE_LEN = 4 * len(_FIELDS)


class RtcState:
    """The state as attributes named in _FIELDS, and `airtime`, the bytes of the duty meter (b"" if unknown)."""

    def __init__(self, memory):
        """`memory` is machine.RTC().memory: called with bytes it writes, without it returns what is there."""
        self._memory = memory
        self._sequence = 0
        self._image = bytearray(2 * _COPY_LEN)
        self.airtime = b""
        self.begin()

    def begin(self):
        """A new boot: nothing carries over but the airtime spent."""
        for name in _FIELDS:
            setattr(self, name, 0)

    def load(self):
        """Take the newest whole copy. Returns False, with everything zero, if there is none."""
        stored = bytes(self._memory())[: 2 * _COPY_LEN]
        self._image[: len(stored)] = stored
        newest = None
        for at in (0, _COPY_LEN):
            copy = _whole(bytes(self._image[at : at + _COPY_LEN]))
            if copy is not None and (newest is None or copy[0] > newest[0]):
                newest = copy
        if newest is None:
            return False
        self._sequence, state = newest
        for name, value in zip(_FIELDS, struct.unpack(_STATE, state[:_STATE_LEN])):
            setattr(self, name, value)
        self.airtime = state[_STATE_LEN:]
        return True

    def save(self):
        """Write over the older copy."""
        self._sequence += 1
        length = _STATE_LEN + len(self.airtime)
        at = _COPY_LEN * (self._sequence & 1)
        end = at + _HEAD_LEN + length
        struct.pack_into(_HEAD, self._image, at, _MAGIC, self._sequence, length)
        struct.pack_into(_STATE, self._image, at + _HEAD_LEN, *[getattr(self, name) for name in _FIELDS])
        self._image[at + _HEAD_LEN + _STATE_LEN : end] = self.airtime
        struct.pack_into(">I", self._image, end, crc32(memoryview(self._image)[at:end]) & 0xFFFFFFFF)
        self._memory(self._image)


def _whole(copy):
    """(sequence, state) of a copy that is whole, else None."""
    if len(copy) < _HEAD_LEN + _STATE_LEN + 4:
        return None
    magic, sequence, length = struct.unpack(_HEAD, copy[:_HEAD_LEN])
    end = _HEAD_LEN + length
    if magic != _MAGIC or length < _STATE_LEN or end + 4 > len(copy):
        return None
    if crc32(copy[:end]) & 0xFFFFFFFF != struct.unpack(">I", copy[end : end + 4])[0]:
        return None
    return sequence, copy[_HEAD_LEN:end]
