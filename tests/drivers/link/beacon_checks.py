"""What beacons must be on every interpreter: bytes, chain, and whom a node believes. Runs on CPython and MicroPython.

Times are milliseconds of the node's clock. The chain has intervals of 10 s; the node asked at 1,000,000 ms, when the
gateway was 2 s into interval 3.
"""

import hashlib

from drivers.link import beacon as beacons
from drivers.link.beacon_pack import SHORTEST, pack_anchor, pack_beacon
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


class Node:
    """Holds a memory; takes beacons of 80 ms."""

    def __init__(self, random_below=lambda limit: 0):
        self.memory = beacons.remember(pack_anchor(CHAIN, 3, LAST, 10, 2_000, KEYS[2]), ASKED_MS)
        self.random_below = random_below

    def take(self, frame, at_ms):
        """(start, delay, UTC, error, more) of what becomes certain."""
        self.memory, heard = beacons.take(self.memory, frame, at_ms - 80, at_ms, self.random_below)
        return heard


def take(node, frame, at_ms):
    """(interval, more) of what becomes certain, or the reason of the refusal."""
    try:
        heard = node.take(frame, at_ms)
    except FrameError as error:
        return error.reason
    return [((utc_256 - UTC_256) // 2560, more) for _, _, utc_256, _, more in heard]


def reason_of(anchor):
    """Why it is refused, None if it is not."""
    try:
        beacons.remember(anchor, ASKED_MS)
    except FrameError as error:
        return error.reason
    return None


def check_a_beacon_says_what_was_packed():
    frame = sent(5, more=b"slots")
    assert (len(frame), len(sent(5)), frame[0]) == (40, SHORTEST, 0x45)
    assert beacons.parse(frame) == (CHAIN, 5, KEYS[4], UTC_256 + 12_800, 4, b"slots")
    assert beacons.tag_of(frame[:-8], KEYS[5]) == frame[-8:]
    assert beacons.parse(pack_beacon(CHAIN, 5, KEYS[5], KEYS[4]))[3:] == (None, 0xFF, b"")


def check_what_is_no_beacon_is_refused():
    for frame, reason in (
        (sent(5)[:-1], "truncated"),
        (sent(5) + bytes(201), "oversized"),
        (pack_beacon(CHAIN, 0, KEYS[1], KEYS[0]), "out_of_range"),
    ):
        assert take(Node(), frame, local_ms(5)) == reason
    for changes, reason in (
        ((CHAIN, 0, LAST, 10, 0), "out_of_range"),
        ((CHAIN, 41, LAST, 10, 0), "out_of_range"),
        ((CHAIN, 3, LAST, 0, 0), "out_of_range"),
        ((CHAIN, 3, LAST, 10, 11_000), "out_of_range"),
    ):
        assert reason_of(pack_anchor(*changes, KEYS[2])) == reason
    assert reason_of(pack_anchor(CHAIN, 3, LAST, 10, 0, KEYS[2])[:-1]) == "truncated"
    told = pack_anchor(CHAIN, 3, LAST, 10, 2_000, KEYS[2])
    assert beacons.remember(told + b"of later versions", ASKED_MS) == Node().memory


def check_a_beacon_is_believed_once_its_key_is_out():
    node = Node()
    assert take(node, sent(4, more=b"a"), local_ms(4, 100)) == []
    assert take(node, sent(5, more=b"b"), local_ms(5, 100)) == [(4, b"a")]
    assert take(node, sent(6), local_ms(6, 100)) == [(5, b"b")]


def check_a_lost_beacon_costs_no_other():
    node = Node()
    assert take(node, sent(4), local_ms(4, 100)) == []
    assert take(node, sent(9), local_ms(9, 100)) == [(4, b"")]
    assert take(node, sent(10), local_ms(10, 100)) == [(9, b"")]


def check_one_that_may_come_after_its_key_is_not_believed():
    """The node reckons with 20 ms of rounding and 200 ppm: 11 ms in 58 s."""
    for since_ms, is_kept in ((9_968, True), (9_969, False), (10_000, False), (25_000, False)):
        node = Node()
        assert take(node, sent(8, more=b"x"), local_ms(8, since_ms)) == ([] if is_kept else "beacon_late"), since_ms
        told = take(node, sent(12), local_ms(12, 100))
        assert told == ([(8, b"x")] if is_kept else []), since_ms


def check_what_follows_from_keys_that_are_out_is_not_believed():
    node = Node()
    take(node, sent(4), local_ms(4, 100))
    take(node, sent(5), local_ms(5, 100))  # tells the key of 4
    forged = pack_beacon(CHAIN, 4, KEYS[4], KEYS[3], utc_256=UTC_256 + 256_000)
    assert take(node, forged, local_ms(5, 200)) == "beacon_late"
    assert take(node, forged, local_ms(6, 200)) == "beacon_late"


def check_what_does_not_lead_to_the_anchor_is_not_believed():
    other = keys_of(bytes(16))
    node = Node()
    assert take(node, sent(4, keys=other), local_ms(4, 100)) == "beacon_bad_key"
    assert (
        take(node, sent(4, key=bytes(16)), local_ms(4, 100)) == []
    )  # the key before is the right one: anybody heard it
    assert take(node, sent(4, more=b"true"), local_ms(4, 120)) == []
    assert take(node, sent(5), local_ms(5, 100)) == [(4, b"true")]
    assert take(node, b"\x45\x00\x01" + sent(6)[3:], local_ms(6, 100)) == "not_mine"


def check_what_cannot_have_begun_is_refused():
    node = Node()
    assert take(node, sent(9), local_ms(4, 100)) == "beacon_early"
    assert take(node, sent(4), local_ms(3, 9_900)) == "beacon_early"
    assert take(node, sent(LAST), local_ms(LAST, 100)) == []


def check_a_repeat_waits_once():
    node = Node()
    assert take(node, sent(4), local_ms(4, 100)) == []
    assert take(node, sent(4), local_ms(4, 200)) == "replayed"
    assert take(node, sent(5), local_ms(5, 100)) == [(4, b"")]
    assert take(node, sent(4), local_ms(5, 200)) == "beacon_late"


def check_forgers_cannot_fill_the_memory():
    given_up = []

    def draw(limit):
        given_up.append(limit)
        return limit - 1

    node = Node(draw)
    assert take(node, sent(4, more=b"true"), local_ms(4, 50)) == []
    for at in range(50):
        assert take(node, sent(4, key=bytes([at]) * 16), local_ms(4, 60 + at)) == []
    assert given_up == [5] * 47
    assert take(node, sent(5), local_ms(5, 100)) == [(4, b"true")]


def check_how_late_it_may_be_is_told():
    for came_ms in (0, 3_000):
        node = Node()
        node.take(sent(4), local_ms(4, came_ms))
        ((start, delay, utc_256, error_4, _),) = node.take(sent(5), local_ms(5, 80))
        assert (start, utc_256, error_4) == (local_ms(4, came_ms) - 80, UTC_256 + 10_240, 4)
        assert came_ms <= delay <= came_ms + 25


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
