"""What a node makes of its gateway's beacons: when to listen, whom to believe, what time it is. Loaded if configured.

The anchor of the chain is asked for in a sealed frame and told in a sealed answer, once in a boot and again when the
chain ends or falls silent. A beacon that nothing vouches for yet may move the next receive window; only one that is
certain tells the time, as an interval that holds the truth. No reading is ever stamped with it: the gateway does that.
Times are milliseconds of uptime. docs/protocol.md, "Beacons".
"""

import os

from drivers.constant import const
from drivers.link.beacon import parse_anchor, parse_beacon
from drivers.link.broadcast import DRIFT_PPM, Listener
from drivers.link.frame import BEACON, FULL, VERSION, FrameError, aad_downlink, aad_uplink, uplink_header
from drivers.link.seal import nonce

ASK = VERSION << 6 | FULL | BEACON  # first byte of the sealed ones
_HEADER_LEN = const(8)
_FIRST_ASK_MS = const(30_000)
_FIRST_PAUSE_MS = const(60_000)
_LONGEST_PAUSE_MS = const(86_400_000)
_ANSWERED_WITHIN_MS = const(3_000)  # the anchor is made at most so long after the uplink began
_EARLY_MS = const(30)  # a window opens so long before its beacon: two clocks, the chip's start
_LATE_MS = const(250)  # and stays open so long after: a busy gateway
_MOST_MISSED = const(4)
_USELESS_MS = const(3_600_000)
_VAGUE_MS = const(5_000)  # of doubt about the gateway's clock: an anchor is renewed every seven hours


class Beacons:
    """One boot's view of the beacons of its gateway."""

    def __init__(self, settings, state, uptime, *, up, down):
        """state: the RtcState; up, down: (Ccm, iv) of the epoch's frame keys."""
        self._settings = settings
        self._state = state
        self._uptime = uptime
        self._up, self._up_iv = up
        self._down, self._down_iv = down
        self._listener = None
        self._asked = None  # counter and beginning of an ask that was not answered
        self._ask_at_ms = self.now_ms() + _random_below(_FIRST_ASK_MS)
        self._pause_ms = _FIRST_PAUSE_MS
        self._zero_ms = 0  # when interval 0 began, at the earliest by what is told or heard, and how much later at most
        self._spread_ms = 0
        self._zero_at_ms = 0  # when that was found
        self._missed = 0  # windows in a row in which nothing of the chain came
        self._next = 0  # the interval whose beacon is waited for
        self._time = None  # (uptime in ms, earliest and latest UTC then in ms)
        self.counters = {"beacons": 0, "beacons_verified": 0}  # and the reasons of those refused

    def now_ms(self):
        seconds, ms = self._uptime.split()
        return 1000 * seconds + ms

    def utc_s(self):
        """(earliest, latest) seconds since 1970 that it may be now; None if no beacon told, or the doubt is an hour."""
        if self._time is None:
            return None
        earliest_ms, latest_ms = self._at(self.now_ms())
        if latest_ms - earliest_ms > _USELESS_MS:
            return None
        return earliest_ms // 1000, latest_ms // 1000 + 1

    # Asking

    def must_ask(self):
        """Whether to ask for an anchor now: the gateway knows this boot, and the one we have, if any, grows vague."""
        now_ms = self.now_ms()
        listener = self._listener
        if listener is not None and (self._missed > _MOST_MISSED or listener.is_over(now_ms)):
            self._listener = None  # others lost it too: they must not all ask at once
            self._ask_at_ms = now_ms + _random_below(10 * listener.length_ms)
        return bool(self._state.is_acked) and now_ms >= self._ask_at_ms

    def ask(self):
        """Seal the frame that asks, about to be sent. Raises SettingsError."""
        settings = self._settings
        counter = settings.take_counter()
        now_ms = self.now_ms()
        self._asked = counter, now_ms
        self._ask_at_ms = now_ms + self._pause_ms // 2 + _random_below(self._pause_ms)
        self._pause_ms = min(2 * self._pause_ms, _LONGEST_PAUSE_MS)
        head = uplink_header(BEACON, settings.address, counter, epoch=settings.epoch)
        aad = aad_uplink(head[:3], settings.epoch, counter)
        return head + self._up.seal(nonce(self._up_iv, counter), aad, b"")

    def take_answer(self, frame):
        """Take what came down after an ask. Returns whether it was its answer; else a counter has moved."""
        try:
            self._begin(*self._open(frame))
        except FrameError as error:
            self._count(error.reason)
            return False
        return True

    def _open(self, frame):
        """(Anchor, when the ask began). Raises FrameError."""
        settings, state = self._settings, self._state
        if len(frame) <= _HEADER_LEN or frame[0] != ASK:
            raise FrameError("unsupported_kind")
        if frame[1] << 8 | frame[2] != settings.address:
            raise FrameError("not_mine")
        if self._asked is None or frame[3] != self._asked[0] & 0xFF:
            raise FrameError("unasked")
        asked, asked_ms = self._asked
        counter = int.from_bytes(frame[4:_HEADER_LEN], "big")
        if counter < state.down_next:
            raise FrameError("replayed")
        aad = aad_downlink(frame[:3], settings.epoch, counter, asked)
        body = self._down.open(nonce(self._down_iv, counter), aad, frame[_HEADER_LEN:])
        state.down_next = counter + 1
        self._asked = None
        return parse_anchor(body), asked_ms

    def _begin(self, anchor, asked_ms):
        listener = self._listener = Listener(anchor, asked_ms, _random_below)
        doubt_ms = min(listener.length_ms // 2, _VAGUE_MS)
        self._ask_at_ms = asked_ms + doubt_ms * 1_000_000 // DRIFT_PPM - _random_below(10 * listener.length_ms)
        self._pause_ms = _FIRST_PAUSE_MS
        self._missed = 0
        told_ms = anchor.interval * listener.length_ms + anchor.since_ms
        self._zero_ms, self._spread_ms, self._zero_at_ms = asked_ms - told_ms, _ANSWERED_WITHIN_MS, asked_ms
        self._next = anchor.interval + 1

    # Listening

    def window(self):
        """(uptime at which to listen, for how long) for the next beacon; None while there is no chain."""
        if self._listener is None:
            return None
        now_ms = self.now_ms()
        while True:
            doubt_ms = (now_ms - self._zero_at_ms) * DRIFT_PPM // 1_000_000 + _EARLY_MS
            opens_ms = self._zero_ms + self._next * self._listener.length_ms - doubt_ms
            if opens_ms >= now_ms:
                return opens_ms, self._spread_ms + 2 * doubt_ms + _LATE_MS
            self._next += 1  # busy with something else meanwhile

    def missed(self):
        """The window is over and nothing of our chain came."""
        self._next += 1
        self._missed += 1
        wider_ms = _EARLY_MS << self._missed
        self._zero_ms -= wider_ms
        self._spread_ms += 2 * wider_ms

    def take_beacon(self, frame, airtime_ms):
        """Take a beacon whose last byte has just come. Returns whether it is of the chain, as far as can be told."""
        ended_ms = self.now_ms()
        self.counters["beacons"] += 1
        try:
            if self._listener is None:
                raise FrameError("no_anchor")
            beacon = parse_beacon(frame)
            heard = self._listener.take(beacon, ended_ms - airtime_ms, ended_ms)
        except FrameError as error:
            self._count(error.reason)
            return False
        self._missed = 0
        self._zero_ms = ended_ms - airtime_ms - beacon.interval * self._listener.length_ms
        self._spread_ms, self._zero_at_ms = 0, ended_ms
        self._next = beacon.interval + 1
        for one in heard:
            self._learn(one)
        return True

    def _learn(self, heard):
        """Know the time by a certain beacon, the better if it was known before; the gateway's latest word counts."""
        self.counters["beacons_verified"] += 1
        if heard.utc_256 is None:
            return
        earliest_ms = heard.utc_256 * 1000 // 256 - 250 * heard.error_4
        latest_ms = heard.utc_256 * 1000 // 256 + 250 * heard.error_4 + heard.delay_ms + 5
        if self._time is None:
            print("lamppost: a beacon tells the time, to %d ms" % (latest_ms - earliest_ms))
        else:
            before_ms = self._at(heard.began_ms)
            if earliest_ms <= before_ms[1] and before_ms[0] <= latest_ms:
                earliest_ms, latest_ms = max(earliest_ms, before_ms[0]), min(latest_ms, before_ms[1])
        self._time = heard.began_ms, earliest_ms, latest_ms

    def _at(self, now_ms):
        """(earliest, latest) UTC in ms at an uptime."""
        at_ms, earliest_ms, latest_ms = self._time
        passed_ms = now_ms - at_ms
        drift_ms = abs(passed_ms) * DRIFT_PPM // 1_000_000 + 1
        return earliest_ms + passed_ms - drift_ms, latest_ms + passed_ms + drift_ms

    def _count(self, reason):
        self.counters[reason] = self.counters.get(reason, 0) + 1


def _random_below(limit):
    return int.from_bytes(os.urandom(4), "big") % limit
