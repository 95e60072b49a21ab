"""Writes beacons and anchors, as a gateway does; a node only reads them (beacon). No I/O, no clock, keeps no key."""

from drivers.link.beacon import tag_of
from drivers.link.frame import BEACON, VERSION, FrameError

KEY_LEN = 16
SHORTEST = 35  # bytes of a beacon with nothing more in it
MORE_MAX = 200  # bytes that it has for what later versions add
UTC_UNKNOWN = 0xFF


def pack_beacon(chain, interval, key, key_of_before, *, utc_256=None, error_4=0, more=b""):
    """Return a beacon. `utc_256` is that of the start of its transmission; `key` is not in it, `key_of_before` is."""
    if len(more) > MORE_MAX:
        raise FrameError("oversized")
    signed = bytes([VERSION << 6 | BEACON]) + chain.to_bytes(2, "big") + interval.to_bytes(2, "big")
    if utc_256 is None:
        signed += bytes(5) + bytes([UTC_UNKNOWN])
    else:
        signed += utc_256.to_bytes(5, "big") + bytes([min(error_4, UTC_UNKNOWN - 1)])
    signed += more + key_of_before
    return signed + tag_of(signed, key)


def pack_anchor(chain, interval, last, interval_s, since_ms, key):
    """The plaintext of the answer to a node that asks. `key`: of the interval before `interval`."""
    head = b"".join([number.to_bytes(2, "big") for number in (chain, interval, last, interval_s)])
    return head + since_ms.to_bytes(3, "big") + key
