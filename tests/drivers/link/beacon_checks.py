"""What beacons must be on every interpreter: bytes, chain, and whom a node believes. Runs on CPython and MicroPython.

Times are milliseconds of the node's clock. The chain has intervals of 10 s; the node asked at 1,000,000 ms, when the
gateway was 2 s into interval 3.
"""

import hashlib

from drivers.link import beacon as beacons
from drivers.link.beacon_pack import pack_anchor, pack_beacon
from drivers.link.broadcast import Listener
from drivers.link.frame import FrameError

CHAIN = 0xC0DE
LAST = 40
ASKED_MS = 1_000_000
UTC_256 = 1_790_000_000 * 256


def keys_of(seed, last=LAST):
    """Keys of intervals 0 to `last` of the chain that ends in this one."""
    keys = [seed]
    for interval in range(last, 0, -1):
        keys.insert(0, beacons.key_before(CHAIN, interval, keys[0]))
    return keys


KEYS = keys_of(hashlib.sha256(b"chain").digest()[:16])


def local_ms(interval, since_ms=0):
    """When the gateway's clock shows this, by the node's."""
    return ASKED_MS + (interval - 3) * 10_000 + since_ms - 2_000


def sent(interval, *, keys=KEYS, key=None, before=None, more=b"", utc_256=UTC_256):
    """The gateway's beacon of an interval; a forger's with other keys."""
    before = keys[interval - 1] if before is None else before
    key = keys[interval] if key is None else key
    return pack_beacon(CHAIN, interval, key, before, utc_256=utc_256 + 2560 * interval, error_4=4, more=more)


def listener(random_below=lambda limit: 0):
    body = pack_anchor(CHAIN, 3, LAST, 10, 2_000, KEYS[2])
    return Listener(beacons.parse_anchor(body), ASKED_MS, random_below)


def take(node, frame, at_ms):
    """What becomes certain, or the reason of the refusal."""
    try:
        heard = node.take(beacons.parse_beacon(frame), at_ms - 80, at_ms)
    except FrameError as error:
        return error.reason
    return [(one.interval, one.more) for one in heard]


def reason_of(call, octets):
    """Why it is refused, None if it is not."""
    try:
        call(octets)
    except FrameError as error:
        return error.reason
    return None


def check_a_beacon_says_what_was_packed():
    frame = sent(5, more=b"slots")
    assert (len(frame), len(sent(5))) == (40, beacons.SHORTEST)
    assert beacons.is_beacon(frame)
    parsed = beacons.parse_beacon(frame)
    assert (parsed.chain, parsed.interval, parsed.error_4, parsed.more) == (CHAIN, 5, 4, b"slots")
    assert (parsed.utc_256, parsed.key) == (UTC_256 + 12_800, KEYS[4])
    assert beacons.tag_of(parsed.signed, KEYS[5]) == parsed.tag
    unknown = beacons.parse_beacon(pack_beacon(CHAIN, 5, KEYS[5], KEYS[4]))
    assert (unknown.utc_256, unknown.error_4, unknown.more) == (None, beacons.UTC_UNKNOWN, b"")


def check_what_is_no_beacon_is_refused():
    for frame, reason in (
        (sent(5)[:-1], "truncated"),
        (sent(5) + bytes(201), "oversized"),
        (pack_beacon(CHAIN, 0, KEYS[1], KEYS[0]), "out_of_range"),
    ):
        assert take(listener(), frame, local_ms(5)) == reason
    for changes, reason in (
        ((CHAIN, 0, LAST, 10, 0), "out_of_range"),
        ((CHAIN, 41, LAST, 10, 0), "out_of_range"),
        ((CHAIN, 3, LAST, 0, 0), "out_of_range"),
        ((CHAIN, 3, LAST, 10, 11_000), "out_of_range"),
    ):
        assert reason_of(beacons.parse_anchor, pack_anchor(*changes, KEYS[2])) == reason
    longer = beacons.parse_anchor(pack_anchor(CHAIN, 3, LAST, 10, 0, KEYS[2]) + b"later versions")
    assert longer.key == KEYS[2]


def check_a_beacon_is_believed_once_its_key_is_out():
    node = listener()
    assert take(node, sent(4, more=b"a"), local_ms(4, 100)) == []
    assert take(node, sent(5, more=b"b"), local_ms(5, 100)) == [(4, b"a")]
    assert take(node, sent(6), local_ms(6, 100)) == [(5, b"b")]


def check_a_lost_beacon_costs_no_other():
    node = listener()
    assert take(node, sent(4), local_ms(4, 100)) == []
    assert take(node, sent(9), local_ms(9, 100)) == [(4, b"")]
    assert take(node, sent(10), local_ms(10, 100)) == [(9, b"")]


def check_one_that_may_come_after_its_key_is_not_believed():
    """The node reckons with 20 ms of rounding and 200 ppm: 11 ms in 58 s."""
    for since_ms, is_kept in ((9_968, True), (9_969, False), (10_000, False), (25_000, False)):
        node = listener()
        assert take(node, sent(8, more=b"x"), local_ms(8, since_ms)) == ([] if is_kept else "late"), since_ms
        told = take(node, sent(12), local_ms(12, 100))
        assert told == ([(8, b"x")] if is_kept else []), since_ms


def check_what_follows_from_keys_that_are_out_is_not_believed():
    node = listener()
    take(node, sent(4), local_ms(4, 100))
    take(node, sent(5), local_ms(5, 100))  # tells the key of 4
    forged = pack_beacon(CHAIN, 4, KEYS[4], KEYS[3], utc_256=UTC_256 + 256_000)
    assert take(node, forged, local_ms(5, 200)) == "late"
    assert take(node, forged, local_ms(6, 200)) == "late"


def check_what_does_not_lead_to_the_anchor_is_not_believed():
    other = keys_of(bytes(16))
    node = listener()
    assert take(node, sent(4, keys=other), local_ms(4, 100)) == "bad_key"
    assert (
        take(node, sent(4, key=bytes(16)), local_ms(4, 100)) == []
    )  # the key before is the right one: anybody heard it
    assert take(node, sent(4, more=b"true"), local_ms(4, 120)) == []
    assert take(node, sent(5), local_ms(5, 100)) == [(4, b"true")]
    assert take(node, b"\x45\x00\x01" + sent(6)[3:], local_ms(6, 100)) == "not_mine"


def check_what_cannot_have_begun_is_refused():
    node = listener()
    assert take(node, sent(9), local_ms(4, 100)) == "early"
    assert take(node, sent(4), local_ms(3, 9_900)) == "early"
    assert take(node, sent(LAST), local_ms(LAST, 100)) == []
    assert node.is_over(local_ms(LAST + 1))
    assert not listener().is_over(local_ms(LAST, 9_000))


def check_a_repeat_waits_once():
    node = listener()
    assert take(node, sent(4), local_ms(4, 100)) == []
    assert take(node, sent(4), local_ms(4, 200)) == "replayed"
    assert take(node, sent(5), local_ms(5, 100)) == [(4, b"")]
    assert take(node, sent(4), local_ms(5, 200)) == "late"


def check_forgers_cannot_fill_the_memory():
    given_up = []

    def draw(limit):
        given_up.append(limit)
        return limit - 1

    node = listener(draw)
    assert take(node, sent(4, more=b"true"), local_ms(4, 50)) == []
    for at in range(50):
        assert take(node, sent(4, key=bytes([at]) * 16), local_ms(4, 60 + at)) == []
    assert given_up == [5] * 47
    assert take(node, sent(5), local_ms(5, 100)) == [(4, b"true")]


def check_how_late_it_may_be_is_told():
    node = listener()
    for came_ms in (0, 3_000):
        node = listener()
        node.take(beacons.parse_beacon(sent(4)), local_ms(4, came_ms) - 80, local_ms(4, came_ms))
        (heard,) = node.take(beacons.parse_beacon(sent(5)), local_ms(5), local_ms(5, 80))
        assert heard.began_ms == local_ms(4, came_ms) - 80
        assert came_ms <= heard.delay_ms <= came_ms + 25
        assert heard.utc_256 == UTC_256 + 10_240


CHECKS = [
    check_a_beacon_says_what_was_packed,
    check_what_is_no_beacon_is_refused,
    check_a_beacon_is_believed_once_its_key_is_out,
    check_a_lost_beacon_costs_no_other,
    check_one_that_may_come_after_its_key_is_not_believed,
    check_what_follows_from_keys_that_are_out_is_not_believed,
    check_what_does_not_lead_to_the_anchor_is_not_believed,
    check_what_cannot_have_begun_is_refused,
    check_a_repeat_waits_once,
    check_forgers_cannot_fill_the_memory,
    check_how_late_it_may_be_is_told,
]
