"""Lives of a node under power cuts, erased flash, restored images and erased NVS. Runs on MicroPython.

`live(seed, harm)` prints one line and raises AssertionError if any rule of "Freshness" was broken.
"""

import os
import random
from collections import namedtuple

from firmware.archive import Archive
from firmware.enrol import enrol
from firmware.identity import NotEnrolled
from firmware.journal_scan import open_journal
from firmware.recovery import begin_boot, close_what_disagrees
from firmware.report import Reporter
from firmware.rtc import RtcState
from firmware.turn import turn
from firmware.uptime import Uptime
from tests.firmware.bench import Clock, Flash, PowerCut, Supply, enrolled, seals, settings_of
from tests.firmware.judge import ADDRESS, NODE_ID, ROOT, Judge

HARMS = ("cut", "erased", "restored", "nvs", "all")


class Memory:
    """machine.RTC().memory of a chip that lost its power."""

    def __call__(self, data=None):
        return b"" if data is None else None


class Life:
    """One node, its flash and NVS, and the judge at the other end."""

    def __init__(self, rng, *, cap=48, loss=30):
        self.rng = rng
        self.cap = cap
        self.loss = loss  # of 100 frames, up and down each
        self.supply = Supply()
        self.flash = Flash(self.supply)
        self.nvs = enrolled(self.supply)
        self.judge = Judge(ROOT)
        self.clock = Clock()
        self.issued = {}  # (epoch, seq) -> content, of every add() that returned
        self.images = []
        self.boots = self.turns = 0
        self.parts, self.report_s, self.bearer = self, 300, None  # what turn wants of a node
        self.config = namedtuple("Config", ("rekey_frames", "rekey_days"))(0, 30)
        self.enrolments = 1
        self.enrolled_epoch = 1

    def boot(self):
        """As start does after a power loss."""
        self.boots += 1
        self.flash = self.flash.survivor()
        self.flash.mount()
        self.settings = settings_of(self.nvs)
        self.journal, _ = open_journal("/node/journal", b"ownerowe", segment_records=max(self.cap // 8, 4))
        self.archive = Archive(self.settings, self.journal, cap=self.cap)
        close_what_disagrees(self.settings, self.journal)
        self.state = state = RtcState(Memory())
        begin_boot(self.settings, self.journal, state)
        self.uptime = Uptime(self.clock)
        self.reporter = Reporter(
            self.archive,
            self.settings,
            state,
            self.uptime,
            max_frame=self.rng.choice((96, 120, 255)),
            **seals(self.settings),
        )

    def measure(self):
        self.supply.require()
        self.clock.pass_s(self.rng.randrange(1, 30))
        values = tuple(self.rng.randrange(0, 500) for _ in range(3))
        seq = self.archive.add(self.settings.boot, self.uptime.nearest_s(), 2, values)
        if seq is not None:
            number = (self.settings.epoch, seq)
            assert number not in self.issued, f"{number} issued twice"
            self.issued[number] = (2, values)
            if self.rng.randrange(20) == 0:
                self.reporter.mark_urgent(seq)

    def report(self, *, loss):
        """One frame, and its ack. Returns False if there was nothing to send."""
        self.supply.require()
        frame = self.reporter.next_frame()
        if frame is None:
            return False
        assert len(frame) <= self.reporter._max_frame
        if self.rng.randrange(100) >= loss:
            ack = self.judge.take(frame)
            if self.rng.randrange(100) >= loss:
                assert self.reporter.take_downlink(ack), self.reporter.counters
        return True

    def turn(self):
        """New frame keys, whatever waits."""
        self.supply.require()
        self.state.began_s = 0 if self.rng.randrange(2) else 1_790_000_000
        turn(self)
        self.turns += 1

    def drain(self):
        """Without loss, everything goes out in a bounded number of frames."""
        for _ in range(400):
            if not self.report(loss=0):
                return
        raise AssertionError(f"live-lock: {self.archive.count_held()} still wait, {self.reporter.counters}")

    def harm(self, kind):
        """What happens while the power is off."""
        if kind == "erased":
            self.flash.data[:] = b"\xff" * len(self.flash.data)
        elif kind == "restored" and self.images:
            self.flash.data[:] = self.rng.choice(self.images)
        elif kind == "nvs":
            self.nvs.entries.clear()
            try:
                settings_of(self.nvs)
                raise AssertionError("enrolled without a key")
            except NotEnrolled:
                pass
            self.enrol()

    def enrol(self):
        """A fresh key, and an epoch above what the gateway has seen."""
        self.enrolments += 1
        seen = max([epoch for epoch, _ in self.judge.reports] + [self.judge.session[0] if self.judge.session else 0])
        self.judge.root = bytes([self.enrolments]) * 32
        self.judge.session = None
        self.enrolled_epoch = seen + 16  # the node opens epochs itself: one that nobody heard of must not be met again
        enrol(self.nvs, key=self.judge.root, address=ADDRESS, node_id=NODE_ID, epoch=self.enrolled_epoch)

    def check(self):
        """After all has been drained: each number issued is at the gateway with its content, or declared lost."""
        for number, content in self.issued.items():
            if number in self.judge.reports:
                assert self.judge.reports[number] == content, f"{number} has another content at the gateway"
            else:
                # Once NVS is erased too, nobody can know how the epochs before it ended.
                assert number in self.judge.lost or number[0] < self.enrolled_epoch, f"{number} is lost in silence"
        assert len(os.listdir("/node/journal")) <= 8 + 2, "acknowledged segments stay on flash"


def live(seed, harm, *, deaths=6, loss=30):
    """Deaths and rebirths, then a drain and the accounts."""
    rng = random
    rng.seed(seed)
    life = Life(rng, loss=loss)
    life.boot()
    for _ in range(deaths):
        _until_cut(life)
        kind = rng.choice(HARMS[:-1]) if harm == "all" else harm
        life.harm(kind)
        while not _booted(life):
            pass
    for _ in range(5):
        life.measure()
    life.drain()
    life.measure()
    life.drain()
    life.check()
    print(
        "seed",
        seed,
        harm,
        "boots",
        life.boots,
        "epoch",
        life.settings.epoch,
        "issued",
        len(life.issued),
        "turns",
        life.turns,
    )


def cut_at_each(operations):
    """One life that loses its power at each flash or NVS operation after a start, from the first to this one."""
    random.seed(operations)
    life = Life(random, loss=20)
    life.boot()
    for at in range(1, operations + 1):
        _until_cut(life, at)
        while not _booted(life):
            pass
    life.drain()
    life.check()
    print("cut at each of", operations, "operations, boots", life.boots, "issued", len(life.issued))


def _until_cut(life, at=None):
    """Work until the supply fails in the middle of a flash or NVS operation."""
    life.supply.cut_after(at or life.rng.randrange(1, 200))
    try:
        while True:
            life.measure()
            if life.rng.randrange(3) == 0:
                life.report(loss=life.loss)
            if life.rng.randrange(12) == 0:
                life.turn()
            if life.rng.randrange(25) == 0:
                life.images.append(bytes(life.flash.data))
                del life.images[:-3]
    except (PowerCut, OSError):
        assert life.supply.is_cut
        life.supply.restore()


def _booted(life):
    """One start, which may be cut as well."""
    if life.rng.randrange(2):
        life.supply.cut_after(life.rng.randrange(1, 12))
    try:
        life.boot()
        life.supply.require()
        return True
    except (PowerCut, OSError):
        assert life.supply.is_cut
        return False
    finally:
        life.supply.restore()
