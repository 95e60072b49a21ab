"""A report body is a string of bits, most significant first. This writes them; the gateway's reader is in unpack."""

from drivers.link.frame import FrameError


class BitWriter:
    """Writes into one buffer of fixed size. A field that does not fit raises FrameError("oversized")."""

    def __init__(self, max_len):
        self._buf = bytearray(max_len)
        self._limit = max_len * 8
        self.position = 0  # bits written

    def write(self, value, width):
        """Append the low `width` bits of `value`, in pieces of a byte: no big integers on a 32-bit board."""
        at = self.position
        if at + width > self._limit:
            raise FrameError("oversized")
        self.position = at + width
        buf = self._buf
        while width:
            free = 8 - (at & 7)
            taken = free if free < width else width
            width -= taken
            buf[at >> 3] |= ((value >> width) & ((1 << taken) - 1)) << (free - taken)
            at += taken

    def rewind(self, position):
        """Forget everything from bit `position` on."""
        keep = (position + 7) >> 3
        for i in range(keep, (self.position + 7) >> 3):
            self._buf[i] = 0
        if position & 7:
            self._buf[keep - 1] &= (0xFF00 >> (position & 7)) & 0xFF
        self.position = position

    def to_bytes(self):
        """Return what was written, padded with zero bits to the byte."""
        return bytes(self._buf[: (self.position + 7) >> 3])
