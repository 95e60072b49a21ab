"""What a node makes of its gateway's beacons: whom to believe, what time it is. Loaded while there is one to look at.

The anchor of the chain is asked for in a sealed frame and told in a sealed answer, once in a boot and again when the
chain ends or falls silent. A beacon that nothing vouches for yet may move the next receive window; only one that is
certain tells the time, as an interval that holds the truth. No reading is ever stamped with it: the gateway does that.
Times are milliseconds of uptime; `bearer` is a BeaconBearer, which keeps everything. docs/protocol.md, "Beacons".
"""

from drivers.constant import const
from drivers.link import beacon
from drivers.link.frame import BEACON, FrameError, aad_downlink, aad_uplink, uplink_header
from drivers.link.seal import nonce
from firmware.bearer_beacons import random_below

_ANSWER = const(0x55)
_HEADER_LEN = const(8)
_FIRST_WAIT_MS = const(60_000)
_LONGEST_WAIT_MS = const(86_400_000)
_ANSWERED_WITHIN_MS = const(3_000)  # the anchor is made at most so long after the uplink began
_DRIFT = const(5_000)  # 1 in so many, as in drivers.link.beacon
_LATE_MS = const(300)  # a beacon of a busy gateway, at most
_VAGUE_MS = const(5_000)  # of doubt about the gateway's clock: an anchor is renewed every seven hours
_USELESS_MS = const(3_600_000)


def query(bearer):
    """Seal the frame that asks for an anchor, about to be sent. Raises SettingsError."""
    settings, (box, iv), _ = bearer.keys
    counter = settings.take_counter()
    now = bearer.now()
    bearer.sent = counter, now
    bearer.wait = min(2 * bearer.wait, _LONGEST_WAIT_MS) or _FIRST_WAIT_MS
    bearer.at = now + bearer.wait // 2 + random_below(bearer.wait)
    head = uplink_header(BEACON, settings.address, counter, epoch=settings.epoch)
    return head + box.seal(nonce(iv, counter), aad_uplink(head[:3], settings.epoch, counter), b"")


def take(bearer, state, frame, start, end):
    """Take a beacon, or what answers a query, that came between these moments.

    state    the RtcState
    Returns  whether it is our gateway's, as far as can be told yet; if not, a counter has moved
    """
    try:
        if frame[0] == _ANSWER:
            _take_anchor(bearer, *_open(bearer, state, frame))
        else:
            _take_beacon(bearer, frame, start, end)
    except FrameError as error:
        bearer.count(error.reason)
        return False
    return True


def _open(bearer, state, frame):
    """(plaintext, when the query began). Raises FrameError."""
    settings, _, (box, iv) = bearer.keys
    if len(frame) <= _HEADER_LEN:
        raise FrameError("truncated")
    if frame[1] << 8 | frame[2] != settings.address:
        raise FrameError("not_mine")
    if bearer.sent is None or frame[3] != bearer.sent[0] & 0xFF:
        raise FrameError("unasked")
    asked, began = bearer.sent
    counter = int.from_bytes(frame[4:_HEADER_LEN], "big")
    if counter < state.down_next:
        raise FrameError("replayed")
    aad = aad_downlink(frame[:3], settings.epoch, counter, asked)
    body = box.open(nonce(iv, counter), aad, frame[_HEADER_LEN:])
    state.down_next = counter + 1
    bearer.sent = None
    return body, began


def _take_anchor(bearer, body, began):
    bearer.memory = memory = beacon.remember(body, began)
    length_ms, told_ms = memory[2:4]
    vague_ms = min(length_ms // 2, _VAGUE_MS) * _DRIFT
    bearer.at = began + vague_ms - random_below(min(10 * length_ms, vague_ms // 2))
    bearer.wait = bearer.failures = 0
    bearer.started = began - told_ms, _ANSWERED_WITHIN_MS, began
    bearer.next = told_ms // length_ms + 1


def _take_beacon(bearer, frame, start, end):
    bearer.count("beacons")
    if bearer.memory is None:
        raise FrameError("beacon_without_anchor")
    bearer.memory, heard = beacon.take(bearer.memory, frame, start, end, random_below)
    interval = frame[3] << 8 | frame[4]
    bearer.next = interval + 1
    began, width, at = bearer.started
    off = start - interval * bearer.memory[2] - began
    doubt = (end - at) // _DRIFT + _LATE_MS
    if -doubt <= off <= width + doubt:  # else somebody held it back: no reason to listen when he likes
        bearer.failures = 0
        bearer.started = began + off, 0, end
    for began, delay, utc_256, error_4, _ in heard:
        bearer.count("beacons_verified")
        if utc_256 is not None:
            utc_ms = utc_256 * 1000 // 256
            _learn(bearer, began, utc_ms - 250 * error_4, utc_ms + 250 * error_4 + delay + 5)


def _learn(bearer, began, earliest, latest):
    """Know the time by a certain beacon, the better if it was known before; the gateway's latest word counts."""
    if bearer.time is None:
        print("lamppost: a beacon tells the time, to %d ms" % (latest - earliest))
    else:
        before = _at(bearer, began)
        if earliest <= before[1] and before[0] <= latest:
            earliest, latest = max(earliest, before[0]), min(latest, before[1])
    bearer.time = began, earliest, latest


def utc_s(bearer):
    """(earliest, latest) seconds since 1970 that it may be now; None if no beacon told, or the doubt is an hour."""
    if bearer.time is None:
        return None
    earliest, latest = _at(bearer, bearer.now())
    return None if latest - earliest > _USELESS_MS else (earliest // 1000, latest // 1000 + 1)


def _at(bearer, now):
    """(earliest, latest) UTC in ms at an uptime."""
    began, earliest, latest = bearer.time
    passed = now - began
    drift = abs(passed) // _DRIFT + 1
    return earliest + passed - drift, latest + passed + drift
