"""Which beacons a node believes: the receiver of TESLA, for one chain. Milliseconds of the node's own clock, integers.

A beacon is kept only if the key of its interval cannot have been disclosed when it came, by the latest that the
gateway's clock may show then; it is believed once that key has come and its tag fits. What a recorder plays back, or a
thief of some node's keys makes of keys that are out, comes too late for that. No I/O. Source: RFC 4082 sections 3.3 to
3.5.
"""

from drivers.constant import const
from drivers.link.beacon import key_before, tag_of
from drivers.link.frame import FrameError

DRIFT_PPM = 200  # of the node's clock against the gateway's, at most
_ROUNDING_MS = const(20)  # both clocks are read in whole steps
_MOST_WAITING = const(4)  # a forger may say something in the gateway's name before its key is out


class Heard:
    """What the gateway said: `interval`, `began_ms` (when it arrived), `delay_ms` (it was sent at most so long before),
    `utc_256`, `error_4`, `more` (as in Beacon).
    """

    __slots__ = ("began_ms", "delay_ms", "error_4", "interval", "more", "utc_256")

    def __init__(self, beacon, began_ms, delay_ms):
        self.interval = beacon.interval
        self.began_ms = began_ms
        self.delay_ms = delay_ms
        self.utc_256 = beacon.utc_256
        self.error_4 = beacon.error_4
        self.more = beacon.more


class Listener:
    """One chain of one gateway, as its anchor and the beacons since have shown it."""

    def __init__(self, anchor, asked_ms, random_below):
        """asked_ms: when the uplink that the anchor answers began; the gateway's clock was not further then than told.

        random_below  a whole number from 0 to n - 1: which of too many candidates is given up
        """
        self.chain = anchor.chain
        self.last = anchor.last
        self.length_ms = 1000 * anchor.interval_s
        self._told_ms = anchor.interval * self.length_ms + anchor.since_ms
        self._asked_ms = asked_ms
        self._random_below = random_below
        self._at = anchor.interval - 1  # the newest interval whose key is known
        self._key = anchor.key
        self._waiting = []  # (beacon, began_ms, delay_ms)

    def latest_ms(self, now_ms):
        """The latest that the chain's clock may show: milliseconds since interval 0 would have begun."""
        elapsed_ms = now_ms - self._asked_ms
        return self._told_ms + elapsed_ms + elapsed_ms * DRIFT_PPM // 1_000_000 + _ROUNDING_MS

    def is_over(self, now_ms):
        """Whether this chain is of no use any more: it ended, or the clock's doubt is half an interval."""
        doubt_ms = (now_ms - self._asked_ms) * DRIFT_PPM // 1_000_000
        return self.latest_ms(now_ms) >= (self.last + 1) * self.length_ms or 2 * doubt_ms > self.length_ms

    def take(self, beacon, began_ms, ended_ms):
        """Take a beacon that came between these moments. Returns a list of Heard: those that are certain now.

        Raises FrameError: not_mine (another chain), early (of an interval to come), bad_key (its key is not of the
        chain), late (its key may have been out when it came), replayed (it waits already).
        """
        if beacon.chain != self.chain:
            raise FrameError("not_mine")
        sent_ms = beacon.interval * self.length_ms
        latest_ms = self.latest_ms(ended_ms)
        if beacon.interval > self.last or sent_ms > latest_ms:
            raise FrameError("early")
        if beacon.interval - 1 >= self._at:
            self._learn(beacon.interval - 1, beacon.key)
        heard = self._settle()
        if beacon.interval > self._at and latest_ms < sent_ms + self.length_ms:
            self._keep(beacon, began_ms, latest_ms - sent_ms)
        elif not heard:
            raise FrameError("late")
        return heard

    def _learn(self, at, key):
        """Know the key of interval `at` from now on. Raises FrameError if it does not lead to the one known before."""
        found = key
        for interval in range(at, self._at, -1):
            found = key_before(self.chain, interval, found)
        if found != self._key:
            raise FrameError("bad_key")
        self._at, self._key = at, key

    def _settle(self):
        """Take out of the waiting beacons those whose key is known; return what of them the gateway really said."""
        heard = []
        for one in self._waiting:
            beacon = one[0]
            if beacon.interval <= self._at and beacon.tag == tag_of(beacon.signed, self._key_of(beacon.interval)):
                heard.append(Heard(*one))
        self._waiting = [one for one in self._waiting if one[0].interval > self._at]
        return heard

    def _key_of(self, interval):
        key = self._key
        for at in range(self._at, interval, -1):
            key = key_before(self.chain, at, key)
        return key

    def _keep(self, beacon, began_ms, delay_ms):
        for one in self._waiting:
            if one[0].tag == beacon.tag and one[0].signed == beacon.signed:
                raise FrameError("replayed")
        self._waiting.append((beacon, began_ms, delay_ms))
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.pop(self._random_below(len(self._waiting)))
