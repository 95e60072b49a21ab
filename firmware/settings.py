"""What must survive everything but an erased chip: identity, key, epoch, numbers reserved ahead. It is in NVS.

NVS namespace "lamppost" (i32 entries hold the bits of a u32; a write is durable and whole, or did not happen):

  id       blob  the node's name, UTF-8: the first part of every record id
  address  blob  2 bytes, the short address in a frame's header
  key      blob  32 bytes, the root key                                  \\
  epoch    i32   the epoch that reports are issued in                     | written in this order at enrolment;
  seq      i32   every sequence of the epoch below it may be in use       | a key without a counter is destroyed
  counter  i32   every frame counter below it may be in use              /
  boot     i32   number of the latest boot
  closed   blob  12 bytes per closed epoch: epoch, end, 4 bytes of flags (_KNOWN, _TOLD); oldest first, at most 32
  lost     blob  16 bytes: epoch, first, end, reason of the reports given up that the gateway has not acknowledged

A number is reserved here before it is used: sequences one by one (docs/decisions/0002), frame counters in blocks of
256. After a power loss counters go on at the end of the block, so that none is used twice; firmware/rtc carries the
exact one through deep sleep. Knows no journal and no frame.
"""

import struct

SEQUENCE_BLOCK = 1  # docs/decisions/0002: with larger blocks a restored flash image cannot be told from the truth
COUNTER_BLOCK = 256
LAST_COUNTER = 0xFFFFFFFF
MAX_CLOSED = 32
NAMESPACE = "lamppost"
_KNOWN = 1
_TOLD = 2
_BLOB_MAX = 12 * MAX_CLOSED


class NotEnrolled(Exception):
    """The node has no usable identity: it must be enrolled (again). The message says why and what to do."""


class SettingsError(Exception):
    """NVS refuses a write, or a number space is used up: nothing may be sent."""


class Settings:
    """One node's durable numbers. Constructing it does nothing; `load` reads them."""

    def __init__(self, nvs):
        """`nvs` has the methods of esp32.NVS."""
        self._nvs = nvs
        self.key = b""
        self.node_id = ""
        self.address = 0
        self.epoch = 0
        self.boot = 0
        self.next_seq = 0
        self.counter_end = 0
        self.next_counter = 0
        self.closed = []  # [epoch, end, flags], oldest first
        self.lost = None  # (epoch, first, end, reason)

    def load(self):
        """Read everything. Raises NotEnrolled; a key without its epoch or counter is destroyed first."""
        key = self.read_blob("key", 32)
        epoch, counter = self.read_u32("epoch"), self.read_u32("counter")
        if key is not None and (epoch is None or counter is None or len(key) != 32):
            self.erase("key")
            raise NotEnrolled(
                "the key had no %s beside it, so it was destroyed: counters may have been used before; enrol this node "
                "again: lamppost enrol" % ("counter" if epoch is not None else "epoch")
            )
        if key is None:
            raise NotEnrolled("no key in NVS; enrol this node: lamppost enrol")
        address = self.read_blob("address", 2)
        if address is None or len(address) != 2:
            raise NotEnrolled("no address beside the key in NVS; enrol this node again: lamppost enrol")
        self.key = key
        self.address = address[0] << 8 | address[1]
        self.node_id = str(self.read_blob("id", 128) or b"", "utf-8")
        self.epoch = epoch
        self.next_seq = self.read_u32("seq") or 0
        self.counter_end = self.next_counter = counter
        self.boot = self.read_u32("boot") or 0
        self.load_history()

    def begin_boot(self, above=0):
        """Number this boot: one more than the last, and more than `above` (what the journal has seen)."""
        self.boot = max(self.boot, above) + 1
        self.write_u32("boot", self.boot)

    def resume_counter(self, next_counter):
        """Go on inside the reserved block after deep sleep, at the exact counter that RTC memory kept."""
        if not self.counter_end - COUNTER_BLOCK <= next_counter <= self.counter_end:
            raise ValueError("counter %d does not lie in the block before %d" % (next_counter, self.counter_end))
        self.next_counter = next_counter

    def take_counter(self):
        """Return a frame counter that was never returned before; its block is reserved first. Raises SettingsError."""
        counter = self.next_counter
        if counter >= self.counter_end:
            end = counter + COUNTER_BLOCK
            if end > LAST_COUNTER:
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

    def close(self, epoch, end, *, is_known):
        """Note that `epoch` is closed: no sequence from `end` on was issued; `is_known` if all below were."""
        if self.closed_end(epoch) is not None:
            return
        self.closed.append([epoch, end, _KNOWN if is_known else 0])
        self.closed.sort()
        while len(self.closed) > MAX_CLOSED:
            told = [entry for entry in self.closed if entry[2] & _TOLD]
            self.closed.remove(told[0] if told else self.closed[0])
        self._save_closed()

    def open_epoch(self, epoch):
        """Go on in `epoch`, from sequence 0. The one before must have been closed, so that a cut half-way shows."""
        self.write_u32("seq", 0)
        self.write_u32("epoch", epoch)
        self.epoch, self.next_seq = epoch, 0

    def closed_end(self, epoch):
        """The end that `epoch` was closed with, None if it was not."""
        for entry in self.closed:
            if entry[0] == epoch:
                return entry[1]
        return None

    def untold(self):
        """Closed epochs whose end the gateway has not acknowledged: (epoch, end, is_known), oldest first."""
        return [(epoch, end, bool(flags & _KNOWN)) for epoch, end, flags in self.closed if not flags & _TOLD]

    def mark_told(self, epochs):
        """The gateway has acknowledged how these epochs ended."""
        for entry in self.closed:
            if entry[0] in epochs:
                entry[2] |= _TOLD
        self._save_closed()

    def set_lost(self, lost):
        """Keep (epoch, first, end, reason) of reports given up until the gateway has acknowledged it; None then."""
        self.lost = lost
        if lost is None:
            self.erase("lost")
        else:
            self.write("set_blob", "lost", struct.pack(">IIII", *lost))

    def load_history(self):
        blob = self.read_blob("closed", _BLOB_MAX) or b""
        self.closed = [list(struct.unpack_from(">III", blob, at)) for at in range(0, len(blob) - 11, 12)]
        blob = self.read_blob("lost", 16) or b""
        self.lost = struct.unpack(">IIII", blob) if len(blob) == 16 else None

    def _save_closed(self):
        self.write("set_blob", "closed", b"".join(struct.pack(">III", *entry) for entry in self.closed))

    def read_u32(self, name):
        try:
            return self._nvs.get_i32(name) & 0xFFFFFFFF
        except OSError:
            return None

    def read_blob(self, name, limit):
        buf = bytearray(limit)
        try:
            return bytes(buf[: self._nvs.get_blob(name, buf)])
        except OSError:
            return None

    def write_u32(self, name, value):
        self.write("set_i32", name, value - (1 << 32) if value >> 31 else value)

    def write(self, method, name, value):
        try:
            getattr(self._nvs, method)(name, value)
            self._nvs.commit()
        except OSError as error:
            raise SettingsError("NVS refuses to write %r (%s); the flash may be worn out" % (name, error))

    def erase(self, name):
        try:
            self._nvs.erase_key(name)
            self._nvs.commit()
        except OSError:
            pass  # it was not there
