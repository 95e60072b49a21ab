"""Multiples of the generator of P-256: its comb of six teeth, 43 bits apart, for key pairs and signatures.

The table lies in p256_base.bin beside this module and is read an entry at a time: in a node's heap it would take 4 KiB
that a join needs. Entry n (from 1) is 64 bytes, x and y, of the sum of G x 2^(43 x tooth) over the bits set in n; a
test computes it anew.
"""

from drivers.constant import const
from drivers.link import p256
from drivers.link.p256 import Comb, total, unpacked

_SPACING = const(43)
_TEETH = const(6)
_ENTRY_LEN = const(64)
_TABLE = __file__.rsplit("/", 1)[0] + "/p256_base.bin"


def public(private):
    """Return the public point of a private scalar."""
    with Base() as base:
        return total(_SPACING, base.comb(private))


def is_signed(public, digest, signature):
    """As p256.is_signed."""
    with Base() as base:
        return p256.is_signed(public, digest, signature, base.comb)


class Base:
    """The table, open while it is used: a context manager."""

    def __enter__(self):
        self._table = open(_TABLE, "rb")
        return self

    def __exit__(self, *_):
        self._table.close()

    def comb(self, factor):
        """What feeds factor x G to the ladder."""
        return Comb(self.entry, _SPACING, _TEETH, factor)

    def entry(self, teeth):
        """The point for a set of teeth."""
        self._table.seek(_ENTRY_LEN * (teeth - 1))
        return unpacked(self._table.read(_ENTRY_LEN))
