"""Beacons: what a gateway says to all its nodes at once, and which of them a node believes (TESLA, RFC 4082).

A beacon is tagged under the key of its interval and discloses the key of the interval before. It is kept only if its
own key cannot have been disclosed when it came, by the latest that the gateway may have in its clock then, and it is
believed once that key has come and its tag fits. What a recorder plays back, or a thief of some node's keys makes of
keys that are out, comes too late for that.

What a node knows of a chain is a tuple, its `memory`: this module is there only while a beacon is looked at, and has as
few names as it can. Times are milliseconds of the node's own clock. No I/O. docs/protocol.md, "Beacons".
"""

import hashlib

from drivers.constant import const
from drivers.link.frame import MAX_FRAME, FrameError
from drivers.link.keys import hmac_sha256

_KEY_LEN = const(16)
_TAG_LEN = const(8)
_HEAD_LEN = const(11)
_SHORTEST = const(35)
_MORE_MAX = const(200)
_ANCHOR_LEN = const(27)
_UTC_UNKNOWN = const(0xFF)
_DRIFT = const(5_000)  # the node's clock and the gateway's part by 1 in so many at most: 200 ppm
_ROUNDING_MS = const(20)  # both clocks are read in whole steps
_MOST_WAITING = const(4)  # a forger may say something in the gateway's name before its key is out

# A node's memory of a chain.
_CHAIN = const(0)
_LAST = const(1)  # interval of the chain
_LENGTH = const(2)  # of an interval, in ms
_TOLD = const(3)  # what the chain's clock showed, in ms since interval 0 began ...
_ASKED = const(4)  # ... at this moment at the latest
_AT = const(5)  # the newest interval whose key is known
_KEY = const(6)
_WAITING = const(7)  # (frame, began, delay) of beacons whose key is not out


def key_before(chain, interval, key):
    """The key of the interval before `interval`, whose key is given."""
    link = b"lamppost v1 chain" + chain.to_bytes(2, "big") + interval.to_bytes(2, "big")
    return hashlib.sha256(link + key).digest()[:_KEY_LEN]


def tag_of(signed, key):
    """The tag over all before it, by the key of the beacon's interval (which itself never tags anything)."""
    return hmac_sha256(hmac_sha256(key, b"lamppost v1 beacon"), signed)[:_TAG_LEN]


def parse(frame):
    """Read a beacon; whose it is, is not known yet. Returns a tuple:

    chain; interval, from 1; key of the interval before; UTC in 1/256 s since 1970, None if the gateway does not know
    it; quarters of a second by which that may be wrong; what later versions add.  Raises FrameError.
    """
    size = len(frame)
    if size < _SHORTEST:
        raise FrameError("truncated")
    if size > MAX_FRAME or size > _SHORTEST + _MORE_MAX:
        raise FrameError("oversized")
    interval = frame[3] << 8 | frame[4]
    if not interval:
        raise FrameError("out_of_range")
    end = size - _KEY_LEN - _TAG_LEN
    utc_256 = None if frame[10] == _UTC_UNKNOWN else int.from_bytes(frame[5:10], "big")
    key = bytes(frame[end : end + _KEY_LEN])
    return frame[1] << 8 | frame[2], interval, key, utc_256, frame[10], bytes(frame[_HEAD_LEN:end])


def remember(anchor, asked):
    """A node's memory of a chain, from the plaintext that told it; what later versions put behind is left out.

    asked   when the uplink that it answers began: the gateway's clock was not further then than the anchor says
    Raises  FrameError
    """
    if len(anchor) < _ANCHOR_LEN:
        raise FrameError("truncated")
    chain, interval, last, length_s = [anchor[at] << 8 | anchor[at + 1] for at in range(0, 8, 2)]
    since_ms = int.from_bytes(anchor[8:11], "big")
    length_ms = 1000 * length_s
    if not 0 < interval <= last or not length_s or since_ms >= length_ms + 1000:
        raise FrameError("out_of_range")
    key = bytes(anchor[11:_ANCHOR_LEN])
    return chain, last, length_ms, interval * length_ms + since_ms, asked, interval - 1, key, ()


def latest_ms(memory, now_ms):
    """The latest that the chain's clock may show: milliseconds since interval 0 began."""
    passed_ms = now_ms - memory[_ASKED]
    return memory[_TOLD] + passed_ms + passed_ms // _DRIFT + _ROUNDING_MS


def take(memory, frame, start, end, random_below):
    """Take a beacon that came between these moments. Returns (memory, heard).

    heard         a list of (start, delay, UTC, error, more) of the beacons that are certain now: they were sent at most
                  `delay` ms before `start`; the rest as in parse
    random_below  a whole number from 0 to n - 1: which of too many candidates is given up
    Raises        FrameError: as parse; not_mine, another chain; beacon_early, of an interval to come; beacon_bad_key,
                  its key is not of the chain; beacon_late, its own may have been out; replayed, it waits already
    """
    chain, interval, key = parse(frame)[:3]
    if chain != memory[_CHAIN]:
        raise FrameError("not_mine")
    sent_ms = interval * memory[_LENGTH]
    by_ms = latest_ms(memory, end)
    if interval > memory[_LAST] or sent_ms > by_ms:
        raise FrameError("beacon_early")
    if interval > memory[_AT]:
        memory = _learn(memory, interval - 1, key)
    waiting, heard = _settle(memory)
    if interval > memory[_AT] and by_ms < sent_ms + memory[_LENGTH]:
        _keep(waiting, (frame, start, by_ms - sent_ms), random_below)
    elif not heard:
        raise FrameError("beacon_late")
    return memory[:_WAITING] + (tuple(waiting),), heard


def _learn(memory, interval, key):
    """Know the key of `interval` from now on. Raises FrameError if it does not lead to the one known before."""
    if _walk(memory[_CHAIN], key, interval, memory[_AT]) != memory[_KEY]:
        raise FrameError("beacon_bad_key")
    return memory[:_AT] + (interval, key, memory[_WAITING])


def _walk(chain, key, interval, target):
    """The key of an earlier interval."""
    for at in range(interval, target, -1):
        key = key_before(chain, at, key)
    return key


def _settle(memory):
    """(beacons that wait on, what the others say if the gateway really said it)."""
    waiting, heard = [], []
    for one in memory[_WAITING]:
        frame, start, delay = one
        chain, interval, _, utc_256, error, more = parse(frame)
        if interval > memory[_AT]:
            waiting.append(one)
        elif frame[-_TAG_LEN:] == tag_of(frame[:-_TAG_LEN], _walk(chain, memory[_KEY], memory[_AT], interval)):
            heard.append((start, delay, utc_256, error, more))
    return waiting, heard


def _keep(waiting, new, random_below):
    if new[0] in [one[0] for one in waiting]:
        raise FrameError("replayed")
    waiting.append(new)
    if len(waiting) > _MOST_WAITING:
        waiting.pop(random_below(len(waiting)))
