"""Beacons: what a gateway says to all its nodes at once, and the hash chain that shows who said it (TESLA).

A gateway divides its time into intervals. A beacon is tagged under the key of its interval and discloses the key of the
one before, so that whoever hears a beacon in its own interval can tell later that only the gateway can have made it.
No I/O, no clock; when a node believes one is broadcast's, writing them is beacon_pack's. docs/protocol.md, "Beacons".
Source: RFC 4082.
"""

import hashlib

from drivers.constant import const
from drivers.link.frame import BEACON, MAX_FRAME, VERSION, FrameError
from drivers.link.keys import hmac_sha256

KEY_LEN = 16
TAG_LEN = 8
MORE_MAX = 200  # bytes that a beacon has for what later versions add
UTC_UNKNOWN = 0xFF
_HEAD_LEN = const(11)
SHORTEST = 35  # bytes of a beacon with nothing more in it
_ANCHOR_LEN = const(27)
_STEP = b"lamppost v1 chain"
_TAG = b"lamppost v1 beacon"


class Beacon:
    """`chain`, `interval` (1 and up), `utc_256` (1/256 s since 1970, None if not known), `error_4` (quarters of a
    second by which that may be wrong), `more` (bytes), `key` (of the interval before), `signed`, `tag`.
    """

    __slots__ = ("chain", "error_4", "interval", "key", "more", "signed", "tag", "utc_256")


class Anchor:
    """What a node is told, sealed for it alone: `chain`, `interval` now, `last` of the chain, `interval_s`, `since_ms`
    (how long the interval has lasted), `key` (of the interval before).
    """

    __slots__ = ("chain", "interval", "interval_s", "key", "last", "since_ms")


def is_beacon(frame):
    """Whether these bytes are meant for this module: a BEACON that is not sealed."""
    return len(frame) > 0 and frame[0] == VERSION << 6 | BEACON


def key_before(chain, interval, key):
    """The key of the interval before `interval`, whose key is given."""
    return hashlib.sha256(_STEP + chain.to_bytes(2, "big") + interval.to_bytes(2, "big") + key).digest()[:KEY_LEN]


def tag_of(signed, key):
    """The tag over everything before it, by the key of the beacon's interval (which itself never tags anything)."""
    return hmac_sha256(hmac_sha256(key, _TAG), signed)[:TAG_LEN]


def parse_beacon(frame):
    """Read a frame of which is_beacon is true. Whose it is, is not known yet. Raises FrameError."""
    if len(frame) < SHORTEST:
        raise FrameError("truncated")
    if len(frame) > MAX_FRAME or len(frame) > SHORTEST + MORE_MAX:
        raise FrameError("oversized")
    beacon = Beacon()
    beacon.chain = frame[1] << 8 | frame[2]
    beacon.interval = frame[3] << 8 | frame[4]
    beacon.error_4 = frame[10]
    beacon.utc_256 = None if frame[10] == UTC_UNKNOWN else int.from_bytes(frame[5:10], "big")
    beacon.more = bytes(frame[_HEAD_LEN : -KEY_LEN - TAG_LEN])
    beacon.key = bytes(frame[-KEY_LEN - TAG_LEN : -TAG_LEN])
    beacon.signed = bytes(frame[:-TAG_LEN])
    beacon.tag = bytes(frame[-TAG_LEN:])
    if beacon.interval == 0:
        raise FrameError("out_of_range")
    return beacon


def parse_anchor(body):
    """Read an anchor; what later versions put behind it is left out. Raises FrameError."""
    if len(body) < _ANCHOR_LEN:
        raise FrameError("truncated")
    anchor = Anchor()
    anchor.chain, anchor.interval, anchor.last, anchor.interval_s = [
        body[at] << 8 | body[at + 1] for at in range(0, 8, 2)
    ]
    anchor.since_ms = int.from_bytes(body[8:11], "big")
    anchor.key = bytes(body[11:_ANCHOR_LEN])
    is_right = 0 < anchor.interval <= anchor.last and 0 < anchor.interval_s
    if not is_right or anchor.since_ms >= 1000 * anchor.interval_s + 1000:
        raise FrameError("out_of_range")
    return anchor
