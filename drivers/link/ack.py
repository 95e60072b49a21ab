"""What an ack says: which reports are on the gateway's disk. Plaintext of an ACK frame; docs/protocol.md, "Ack"."""

from drivers.constant import const
from drivers.link.frame import FrameError, nearest

BITMAP_BITS = 16
_HAS_EPOCH = const(1)
_WIDE = const(2)
_HAS_UTC = const(4)
_KNOWN_FLAGS = const(7)


class Ack:
    """Every sequence below `base` is on disk or declared lost; bit i of `bitmap` says so of base + 1 + i.

    epoch   None: that of the session
    base    low 16 bits until resolve(), unless is_wide
    utc_s   seconds since 1970; None if the gateway does not trust its clock
    """

    __slots__ = ("base", "bitmap", "epoch", "is_wide", "utc_s")

    def resolve(self, next_seq):
        """Make base whole, given the next sequence the node will issue in that epoch. Returns self."""
        if not self.is_wide:
            self.base = nearest(self.base, next_seq)
            self.is_wide = True
        return self

    def is_beyond(self, next_seq):
        """True if the (resolved) ack speaks of sequences never issued: refuse it."""
        return self.base + (self._reach() if self.bitmap else 0) > next_seq

    def holds(self, seq):
        """True if the (resolved) ack says that the node may forget `seq`."""
        above = seq - self.base - 1
        return above < -1 or (0 <= above < BITMAP_BITS and bool(self.bitmap >> above & 1))

    def _reach(self):
        """Return by how much the end (one past the highest sequence named) lies above base."""
        bits = self.bitmap
        reach = 1
        while bits:
            bits >>= 1
            reach += 1
        return reach


def pack_ack(base, bitmap, *, wide=False, epoch=None, utc_s=None):
    """Return the plaintext. `base` is the whole one; `wide` sends all of it, as an ack to a FULL frame must."""
    flags = (_HAS_EPOCH if epoch is not None else 0) | (_WIDE if wide else 0) | (_HAS_UTC if utc_s is not None else 0)
    out = bytes([flags])
    if epoch is not None:
        out += epoch.to_bytes(4, "big")
    out += base.to_bytes(4, "big") if wide else (base & 0xFFFF).to_bytes(2, "big")
    out += bitmap.to_bytes(2, "big")
    return out if utc_s is None else out + utc_s.to_bytes(4, "big")


def unpack_ack(body):
    """Return an Ack. Raises FrameError: truncated, oversized, unknown_flag."""
    if not body:
        raise FrameError("truncated")
    flags = body[0]
    if flags & ~_KNOWN_FLAGS:
        raise FrameError("unknown_flag")
    wide = bool(flags & _WIDE)
    size = 1 + (4 if flags & _HAS_EPOCH else 0) + (4 if wide else 2) + 2 + (4 if flags & _HAS_UTC else 0)
    if len(body) != size:
        raise FrameError("truncated" if len(body) < size else "oversized")
    ack = Ack()
    ack.is_wide = wide
    at = 1
    ack.epoch = None
    if flags & _HAS_EPOCH:
        ack.epoch = int.from_bytes(body[1:5], "big")
        at = 5
    end = at + (4 if wide else 2)
    ack.base = int.from_bytes(body[at:end], "big")
    ack.bitmap = int.from_bytes(body[end : end + 2], "big")
    ack.utc_s = int.from_bytes(body[end + 2 :], "big") if flags & _HAS_UTC else None
    return ack


def bitmap(base, stored):
    """Return the bitmap above `base`; `stored` answers `in` for every sequence that is on disk or declared lost."""
    bits = 0
    for i in range(BITMAP_BITS):
        if base + 1 + i in stored:
            bits |= 1 << i
    return bits
