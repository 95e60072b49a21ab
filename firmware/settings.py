"""What must survive everything but an erased chip: identity, key, epoch, numbers reserved ahead. It is in NVS.

NVS namespace "lamppost" (i32 entries hold the bits of a u32; a write is durable and whole, or did not happen):

  id       blob  the node's name, UTF-8: the first part of every record id
  address  blob  2 bytes, the short address in a frame's header
  key      blob  32 bytes, the root key                                  \\
  epoch    i32   the epoch that reports are issued in                     | written in this order at enrolment;
  seq      i32   every sequence of the epoch below it may be in use       | a key without a counter is destroyed
  counter  i32   every frame counter below it may be in use              /
  turned   blob  8 bytes: frame counter at which the epoch's keys came into use, and seconds since 1970 then (0 unknown)
  boot     i32   number of the latest boot
  began    blob  8 bytes per boot: number, and seconds since 1970 when it began, as a gateway told in it; the last 4
  closed   blob  12 bytes per closed epoch: epoch, end, 4 bytes of flags (KNOWN, TOLD); oldest first, at most 32
  order    blob  11 bytes: the last order taken up, see obey; pace: 8 bytes, see there too
  lost     blob  16 bytes: epoch, first, end, reason of the reports given up that the gateway has not acknowledged

A number is reserved here before it is used: sequences one by one (docs/decisions/0002), frame counters in blocks of
256. After a power loss counters go on at the end of the block, so that none is used twice; firmware/rtc carries the
exact one through deep sleep. Reading all this at a start is identity's. Knows no journal and no frame.
"""

import struct

from drivers.constant import const

SEQUENCE_BLOCK = 1  # docs/decisions/0002: with larger blocks a restored flash image cannot be told from the truth
COUNTER_BLOCK = 256
_LAST_COUNTER = const(0xFFFFFFFF)
MAX_CLOSED = 32
KNOWN = 1
TOLD = 2


class SettingsError(Exception):
    """NVS refuses a write, or a number space is used up: nothing may be sent."""


class Settings:
    """One node's durable numbers, as identity.load read them."""

    def __init__(self, nvs):
        """`nvs` has the methods of esp32.NVS. Nothing is read."""
        self._nvs = nvs
        self.key = b""
        self.node_id = ""
        self.address = 0
        self.epoch = 0
        self.boot = 0
        self.next_seq = 0
        self.counter_end = 0
        self.next_counter = 0
        self.turned = 0, 0  # counter, utc_s
        self.look_at = 0  # frame counter from which on turn looks at them; not durable
        self.closed = []  # [epoch, end, flags], oldest first
        self.began = {}  # boot: seconds since 1970
        self.lost = None  # (epoch, first, end, reason)

    def take_counter(self):
        """Return a frame counter that was never returned before; its block is reserved first. Raises SettingsError."""
        counter = self.next_counter
        if counter >= self.counter_end:
            end = counter + COUNTER_BLOCK
            if end > _LAST_COUNTER:
                raise SettingsError("all 2**32 frame counters are used; enrol this node again: lamppost enrol")
            self.write_u32("counter", end)
            self.counter_end = end
        self.next_counter = counter + 1
        return counter

    def take_seq(self):
        """Return a sequence that this epoch never had before; it is reserved first. Raises SettingsError."""
        seq = self.next_seq
        self.write_u32("seq", seq + SEQUENCE_BLOCK)
        self.next_seq = seq + SEQUENCE_BLOCK
        return seq

    def closed_end(self, epoch):
        """The end that `epoch` was closed with, None if it was not."""
        for entry in self.closed:
            if entry[0] == epoch:
                return entry[1]
        return None

    def untold(self):
        """Closed epochs whose end the gateway has not acknowledged: (epoch, end, is_known), oldest first."""
        return [(epoch, end, bool(flags & KNOWN)) for epoch, end, flags in self.closed if not flags & TOLD]

    def mark_told(self, epochs):
        """The gateway has acknowledged how these epochs ended."""
        for entry in self.closed:
            if entry[0] in epochs:
                entry[2] |= TOLD
        self.save_closed()

    def set_lost(self, lost):
        """Keep (epoch, first, end, reason) of reports given up until the gateway has acknowledged it; None then."""
        self.lost = lost
        if lost is None:
            self.erase("lost")
        else:
            self.write("set_blob", "lost", struct.pack(">IIII", *lost))

    def save_closed(self):
        """Write `closed`. Raises SettingsError."""
        self.write("set_blob", "closed", b"".join(struct.pack(">III", *entry) for entry in self.closed))

    def write_u32(self, name, value):
        """Write an i32 entry with these 32 bits, durable when this returns. Raises SettingsError."""
        self.write("set_i32", name, value - (1 << 32) if value >> 31 else value)

    def write(self, method, name, value):
        """Call the set_ method of NVS and commit. Raises SettingsError."""
        try:
            getattr(self._nvs, method)(name, value)
            self._nvs.commit()
        except OSError as error:
            raise SettingsError("NVS refuses to write %r (%s); the flash may be worn out" % (name, error))

    def erase(self, name):
        """Leave no entry of that name."""
        try:
            self._nvs.erase_key(name)
            self._nvs.commit()
        except OSError:
            pass  # it was not there
