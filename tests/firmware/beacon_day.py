"""Days of a node that listens to beacons, with a thief at its side. Runs on MicroPython, in a time of its own.

The thief holds another node's keys, hears everything, and sends when he likes: what he recorded, what follows from keys
that are out, what he makes up. `live(...)` prints the accounts; the judge raises AssertionError at what must never be.
"""

import gc
import os
import random

from drivers.link.ack import pack_ack
from drivers.link.beacon import key_before
from drivers.link.beacon_pack import pack_anchor, pack_beacon
from drivers.link.frame import (
    BEACON,
    aad_downlink,
    aad_uplink,
    downlink_header,
    parse_uplink,
)
from drivers.link.keys import DOWN, UP, derive, nonce
from drivers.link.seal import Ccm, aes_ecb
from firmware import beacons
from firmware.archive import Archive
from firmware.bearer_beacons import BeaconBearer
from firmware.journal_scan import open_journal
from firmware.recovery import begin_boot, close_what_disagrees
from firmware.report import Reporter
from firmware.rtc import RtcState
from firmware.uptime import Uptime
from tests.firmware.bench import Clock, Flash, Supply, enrolled, seals, settings_of
from tests.firmware.judge import ADDRESS, ROOT, Judge

CHAIN, LENGTH_S = 0xBEEF, 64
LENGTH_MS = 1000 * LENGTH_S
UTC_MS = 1_790_000_000_000  # when the world begins
THIEFS_ROOT = b"\x66" * 32
AIRTIME_MS = 80
WINDOW_MS = 330
ERROR_4 = 2
REPORT_EVERY = 5  # intervals
ATTACKS = 4  # of each interval


class Gateway:
    """The judge, and the chain that goes with it; its clock is the true time."""

    def __init__(self, intervals):
        self.judge = Judge(ROOT)
        self.last = intervals
        keys = [os.urandom(16)]
        for interval in range(intervals, 0, -1):
            keys.append(key_before(CHAIN, interval, keys[-1]))
        keys.reverse()
        self.keys = keys

    def beacon(self, interval, now_ms):
        return pack_beacon(
            CHAIN,
            interval,
            self.keys[interval],
            self.keys[interval - 1],
            utc_256=(UTC_MS + now_ms) * 256 // 1000,
            error_4=ERROR_4,
        )

    def answer(self, ask, now_ms):
        """The anchor, sealed for the node that asks."""
        parsed = parse_uplink(ask)
        epoch, counter = parsed.epoch, parsed.counter
        assert parsed.kind == BEACON
        assert (ROOT, epoch, counter) not in self.judge.nonces, f"counter {counter} used twice"
        self.judge.nonces.add((ROOT, epoch, counter))
        key, iv = derive(ROOT, epoch, UP)
        aad = aad_uplink(parsed.head, epoch, counter)
        assert Ccm(aes_ecb(key)).open(nonce(iv, counter), aad, ask[parsed.header_len :]) == b""
        interval = now_ms // LENGTH_MS
        body = pack_anchor(CHAIN, interval, self.last, LENGTH_S, now_ms % LENGTH_MS, self.keys[interval - 1])
        self.judge.down_counter += 1
        return seal_down(ROOT, epoch, self.judge.down_counter, counter, body, kind=BEACON)


def seal_down(root, epoch, counter, answers, body, **kind):
    head = downlink_header(ADDRESS, answers, counter, full=True, **kind)
    key, iv = derive(root, epoch, DOWN)
    return head + Ccm(aes_ecb(key)).seal(nonce(iv, counter), aad_downlink(head[:3], epoch, counter, answers), body)


class Bearer(BeaconBearer):
    """A bearer without a radio."""

    def __init__(self, uptime):
        self._uptime = uptime
        self.counters = {}
        self.at = 0


class Node:
    """The modules of the firmware, on a clock that runs `ppm` fast."""

    def __init__(self, ppm):
        self.ppm = ppm
        self.flash = Flash(Supply())
        self.nvs = enrolled(self.flash._supply)
        self.issued = {}
        self.counters = {}
        self.bearer = None
        self.boot(0)

    def boot(self, now_ms):
        self.note_counters()
        self.clock = Clock()
        self.began_ms = now_ms
        self.flash.mount()
        self.settings = settings_of(self.nvs)
        self.journal, _ = open_journal("/node/journal", b"ownerowe", segment_records=8)
        self.archive = Archive(self.settings, self.journal, cap=400)
        close_what_disagrees(self.settings, self.journal)
        self.state = RtcState(lambda data=b"": data)
        begin_boot(self.settings, self.journal, self.state)
        self.uptime = Uptime(self.clock, phase_ms=0)
        both = seals(self.settings)
        self.reporter = Reporter(self.archive, self.settings, self.state, self.uptime, max_frame=120, **both)
        self.bearer = Bearer(self.uptime)
        self.bearer.keys = self.settings, both["up"], both["down"]
        self.base_us = self.clock.now_us

    def note_counters(self):
        """Add up what the boots have counted."""
        for part in (self.bearer, self.reporter) if self.bearer else ():
            for name, count in part.counters.items():
                self.counters[name] = self.counters.get(name, 0) + count

    def at(self, now_ms):
        """The true time is this."""
        since_ms = now_ms - self.began_ms
        self.clock.now_us = self.base_us + since_ms * 1000 + since_ms * self.ppm // 1000
        self.uptime.seconds()

    def measure(self):
        values = (random.randrange(500),) * 3
        seq = self.archive.add(self.settings.boot, self.uptime.nearest_s(), 2, values)
        self.issued[self.settings.epoch, seq] = (2, values)

    def take(self, frame):
        """As the bearer hands it on. Returns whether it was an answer."""
        if frame[0] in (0x45, 0x55):
            now = self.bearer.now()
            return beacons.take(self.bearer, self.state, frame, now - AIRTIME_MS, now) and frame[0] == 0x55
        return self.reporter.take_downlink(frame)

    def must_ask(self):
        return self.state.is_acked and self.bearer.now() >= self.bearer.at

    def held(self):
        """Numbers of all reports that the node would still send."""
        numbers = set()
        for run in self.journal.runs:
            numbers.update([(run.epoch, entry.seq) for entry in self.archive.unsent(run)])
        return numbers


class World:
    """One node, its gateway and the thief."""

    def __init__(self, seed, intervals, *, ppm):
        random.seed(seed)
        self.gateway = Gateway(intervals)
        self.node = Node(ppm)
        self.recorded = []
        self.lost = set()
        self.now_ms = 0
        self.widest_s = 0
        self.accounts = {
            "attacks": 0,
            "wrong_times": 0,
            "known_times": 0,
            "trimmed_wrongly": 0,
            "asks": 0,
            "taken": 0,
            "brought_late": 0,
        }

    def pass_to(self, now_ms):
        self.now_ms = max(self.now_ms, now_ms)
        self.node.at(self.now_ms)

    def interval(self, interval, *, attacks):
        """What happens in one interval of the chain: beacon, perhaps a report, an ask if the node wants to, attacks."""
        if interval % 16 == 0:
            gc.collect()  # as a node's threshold does: files that a generator held are closed then
        start_ms = interval * LENGTH_MS
        moments = sorted([start_ms + 500 + random.randrange(LENGTH_MS - 5_000) for _ in range(attacks)])
        self._beacon(interval, start_ms + 5 + random.randrange(100), is_jammed=attacks and random.randrange(4) == 0)
        if interval % REPORT_EVERY == 0:
            self._report()
        for moment in moments:
            self.pass_to(moment)
            self._attack(interval)
        self.pass_to(start_ms + LENGTH_MS - 4_000)
        if self.node.must_ask():
            self._ask()
        self._check()

    def _beacon(self, interval, at_ms, *, is_jammed):
        """The genuine one, heard in its window if it comes in it; jammed, the thief has it for later."""
        frame = self.gateway.beacon(interval, at_ms)
        window = self.node.bearer.window()
        self.pass_to(at_ms + AIRTIME_MS)
        if random.randrange(10) and not is_jammed and window is not None:
            opens_ms, listen_ms = window
            began_ms = self.node.bearer.now() - AIRTIME_MS
            if opens_ms <= began_ms <= opens_ms + listen_ms + WINDOW_MS:
                self.node.take(frame)
            else:
                self.node.bearer.fail()
        self.recorded.append(frame)

    def _report(self):
        node = self.node
        for _ in range(1 + random.randrange(3)):
            node.measure()
        for _ in range(2):
            frame = node.reporter.next_frame()
            if frame is None:
                return
            ack = self.gateway.judge.take(frame)
            self.recorded.append(ack)
            self.pass_to(self.now_ms + 2_100)
            self._carry(ack)

    def _ask(self):
        ask = beacons.query(self.node.bearer)
        self.accounts["asks"] += 1
        self.pass_to(self.now_ms + 80 + random.randrange(500))
        answer = self.gateway.answer(ask, self.now_ms)
        self.recorded.append(answer)
        self.pass_to(self.now_ms + 1_600)
        self._carry(answer)

    def _carry(self, answer):
        """To the node, or it is lost: then the thief may bring it later, and it is still the gateway's word."""
        if random.randrange(10):
            assert self.node.take(answer), (self.node.reporter.counters, self.node.bearer.counters)
        else:
            self.lost.add(answer)

    def _attack(self, interval):
        self.accounts["attacks"] += 1
        forged = random.choice(FORGERIES)(self, interval)
        if self.node.take(forged):
            self.accounts["brought_late" if forged in self.lost else "taken"] += 1
            self.lost.discard(forged)

    def _check(self):
        """The time the node holds is right, and what it forgot is at the gateway."""
        told = beacons.utc_s(self.node.bearer)
        if told is not None:
            true_s = (UTC_MS + self.now_ms) // 1000
            self.accounts["known_times"] += 1
            self.accounts["wrong_times"] += not told[0] <= true_s <= told[1]
            self.widest_s = max(self.widest_s, told[1] - told[0])

    def settle(self):
        held, reports = self.node.held(), self.gateway.judge.reports
        for number in self.node.issued:
            self.accounts["trimmed_wrongly"] += number not in held and number not in reports


def _replay(world, interval):
    return random.choice(world.recorded)


def _late_tag(world, interval):
    """A beacon of an interval whose key is out, with another time; its tag is right."""
    keys = world.gateway.keys
    at = 1 + random.randrange(interval - 1)
    return pack_beacon(CHAIN, at, keys[at], keys[at - 1], utc_256=(UTC_MS // 1000 + 99_999) * 256)


def _guess(world, interval):
    """A beacon of now with the key before, which all have heard, and another time; its tag is not."""
    before = world.gateway.keys[interval - 1]
    return pack_beacon(CHAIN, interval, os.urandom(16), before, utc_256=(UTC_MS // 1000 + 99_999) * 256)


def _future(world, interval):
    at = interval + 1 + random.randrange(3)
    return pack_beacon(CHAIN, at, os.urandom(16), world.gateway.keys[interval - 1], utc_256=UTC_MS * 256 // 1000)


def _other_chain(world, interval):
    key = os.urandom(16)
    return pack_beacon(CHAIN, interval, key, key_before(CHAIN, interval, key), utc_256=UTC_MS * 256 // 1000)


def _changed(world, interval):
    frame = bytearray(world.gateway.beacon(interval, interval * LENGTH_MS))
    frame[5 + random.randrange(6)] ^= 1 << random.randrange(8)
    return bytes(frame)


def _delayed(world, interval):
    """The genuine beacon of this interval or of one of the last three, which the node may not have heard."""
    return world.gateway.beacon(max(1, interval - random.randrange(4)), interval * LENGTH_MS + 5)


def _thiefs_ack(world, interval):
    """An ack that would trim everything, under the thief's keys."""
    settings = world.node.settings
    body = pack_ack(settings.next_seq, 0, wide=True)
    counter = world.gateway.judge.down_counter + 1 + random.randrange(100)
    return seal_down(THIEFS_ROOT, settings.epoch, counter, settings.next_counter - 1, body)


def _thiefs_anchor(world, interval):
    settings = world.node.settings
    key = os.urandom(16)
    body = pack_anchor(CHAIN, interval, 0xFFFF, LENGTH_S, 0, key)
    counter = world.gateway.judge.down_counter + 1 + random.randrange(100)
    return seal_down(THIEFS_ROOT, settings.epoch, counter, settings.next_counter - 1, body, kind=BEACON)


def _readdressed(world, interval):
    """A recorded answer that says it answers the latest frame."""
    frame = bytearray(random.choice([one for one in world.recorded[-200:] if one[0] != 0x45] or [b"\x43" + bytes(20)]))
    frame[3] = (world.node.settings.next_counter - 1) & 0xFF
    return bytes(frame)


def _changed_ack(world, interval):
    frame = bytearray(random.choice(world.recorded))
    frame[random.randrange(len(frame))] ^= 1 << random.randrange(8)
    return bytes(frame)


FORGERIES = (
    _replay,
    _replay,
    _late_tag,
    _guess,
    _future,
    _other_chain,
    _changed,
    _delayed,
    _thiefs_ack,
    _thiefs_anchor,
    _readdressed,
    _changed_ack,
)


def live(seed, quiet, attacked, *, ppm=80, boots=2):
    """So many intervals in peace, which the thief records, then so many under attack, with as many boots in between."""
    world = World(seed, quiet + attacked + 2, ppm=ppm)
    for interval in range(1, quiet + 1):
        world.interval(interval, attacks=0)
    for interval in range(quiet + 1, quiet + attacked + 1):
        if (interval - quiet) % (attacked // boots) == attacked // boots // 2:
            world.node.boot(world.now_ms)
        world.interval(interval, attacks=ATTACKS)
    world.settle()
    world.node.note_counters()
    counters, accounts = world.node.counters, world.accounts
    print("seed", seed, accounts, "recorded", len(world.recorded), "doubt at most", world.widest_s, "s")
    print(counters)
    assert (accounts["wrong_times"], accounts["trimmed_wrongly"]) == (0, 0)
    assert accounts["known_times"] > quiet // 2
    assert accounts["taken"] == 0
    assert counters["beacons_verified"] > (quiet + attacked) // 3
