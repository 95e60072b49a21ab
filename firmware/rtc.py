"""What a node carries through deep sleep in RTC memory: exact counters, its clock, what is acknowledged, its airtime.

RTC memory outlives every reset but a power loss, holds anything after one, and has no check of its own. So the state is
kept twice, each copy with a magic, a sequence and a CRC; a write goes over the older copy, and a reader takes the newer
one that is whole (recovery, once). Layout of a copy, big-endian: "LPR3", u32 sequence, u16 length, state, u32 CRC-32 of
all before.
"""

import struct
from binascii import crc32

from drivers.constant import const

MAGIC = b"LPR3"
HEAD = ">4sIH"
_HEAD_LEN = const(10)
COPY_LEN = 216
FIELDS = (
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
    "began_s",  # seconds since 1970 when the uptime was 0, as the gateway told in this boot; 0: not yet
    "told_s",  # the same as a frame told the gateway, which acknowledged it
    "down_next",  # lowest downlink counter still accepted
    "unanswered",  # frames since the last ack; tries since the last success
    "misses",
    "alarms",  # bit per configured alarm: on
)
STATE = ">%dI" % len(FIELDS)
STATE_LEN = 4 * len(FIELDS)


class RtcState:
    """The state as attributes named in FIELDS, and `airtime`, the bytes of the duty meter (b"" if unknown)."""

    def __init__(self, memory):
        """`memory` is machine.RTC().memory: called with bytes it writes. Nothing is read: recovery does that."""
        self._memory = memory
        self.sequence = 0
        self.image = bytearray(2 * COPY_LEN)
        self.airtime = b""
        self.begin()

    def begin(self):
        """A new boot: nothing carries over but the airtime spent."""
        for name in FIELDS:
            setattr(self, name, 0)

    def save(self):
        """Write over the older copy."""
        self.sequence += 1
        length = STATE_LEN + len(self.airtime)
        at = COPY_LEN * (self.sequence & 1)
        end = at + _HEAD_LEN + length
        struct.pack_into(HEAD, self.image, at, MAGIC, self.sequence, length)
        struct.pack_into(STATE, self.image, at + _HEAD_LEN, *[getattr(self, name) for name in FIELDS])
        self.image[at + _HEAD_LEN + STATE_LEN : end] = self.airtime
        struct.pack_into(">I", self.image, end, crc32(memoryview(self.image)[at:end]) & 0xFFFFFFFF)
        self._memory(self.image)
