"""Ten thousand accelerated cycles of the loop's body: sample, journal, report, ack. Runs on MicroPython.

`run(cycles)` prints the live heap after each tenth; with rules if it is given some.
"""

import asyncio
import gc
from collections import namedtuple

from firmware.alarm import Alarms
from firmware.alarm_timed import TimedAlarms
from firmware.archive import Archive
from firmware.config import parse
from firmware.journal_scan import open_journal
from firmware.node import Node
from firmware.recovery import begin_boot, close_what_disagrees
from firmware.report import Reporter
from firmware.rtc import RtcState
from firmware.rules import Rules
from firmware.sample import Sampler
from firmware.uptime import Uptime
from tests.firmware.bench import Clock, Flash, Supply, enrolled, seals, settings_of
from tests.firmware.judge import ROOT, Judge

FIELDS = ("sample_s", "report_s", "retry_s", "retry_max_s", "sleep", "sample_ms", "rekey_frames", "rekey_days")
FIELDS += ("output_safe", "output_longest_s")
Config = namedtuple("Config", FIELDS)


class Sensor:
    def __init__(self):
        self.count = 0

    async def measure(self):
        self.count += 1
        return 2000 + self.count % 500, 5000, 101325 - self.count % 900


class ForgetfulJudge(Judge):
    """Keeps nothing below the base, so that only the node can grow."""

    settled = 0

    def base(self, epoch):
        while (epoch, self.settled) in self.reports:
            self.settled += 1
        return self.settled

    def forget(self):
        for number in list(self.reports):
            if number[1] < self.settled - 100:  # what is sent again must still be compared
                del self.reports[number]
        self.bodies.clear()
        self.nonces.clear()
        self.frames.clear()


class Bearer:
    """Loses every seventh frame."""

    max_frame = 120
    scan_ms = 0

    def __init__(self):
        self.judge = ForgetfulJudge(ROOT)
        self.count = 0

    def wait_s(self):
        return 0

    async def ready(self):
        pass

    async def is_clear(self):
        return True

    async def exchange(self, frame, take, again=None):
        self.count += 1
        return self.count % 7 != 0 and take(self.judge.take(frame))


class Parts:
    pass


def run(cycles, rules=None, alarms=()):
    clock = Clock()
    parts = make_parts(clock)
    if rules:
        set_rules(parts, rules, alarms)
    asyncio.run(_cycle(Node(parts, clock, None), parts.bearer, clock, cycles))
    print("held", parts.archive.count_held(), "counters", parts.reporter.counters["acks"] > cycles // 4)


def set_rules(parts, rules, alarms):
    """As firmware/rule_setup does, of raw configuration."""
    config = parse({"bearer": "lora", "sensors": ["bme280"], "rules": rules, "alarms": alarms})
    parts.alarms = TimedAlarms(config.alarms, parts.uptime)
    parts.rules = Rules(config.rules.windows, config.rules.exceptions, config.rules.held_back_s, 0)


def make_parts(clock):
    """What a Node is made of, on a new flash, with a sensor and a bearer of this test."""
    parts = Parts()
    Flash(Supply()).mount()
    parts.nvs = enrolled()
    parts.settings = settings_of(parts.nvs)
    parts.output = None
    parts.sample_s, parts.report_s = 10, 30
    journal, _ = open_journal("/node/journal", b"ownerown")
    parts.archive = Archive(parts.settings, journal, cap=400)
    close_what_disagrees(parts.settings, journal)
    parts.state = RtcState(lambda data=b"": data)
    begin_boot(parts.settings, journal, parts.state)
    parts.uptime = Uptime(clock, phase_ms=0)
    parts.config = Config(10, 30, 5, 300, "idle", 0, 65_536, 30, None, 3600)
    parts.sampler = Sampler({"bme280": Sensor()}, parts.uptime)
    parts.alarms, parts.rules = Alarms([]), None
    parts.bearer = Bearer()
    parts.reporter = Reporter(
        parts.archive, parts.settings, parts.state, parts.uptime, max_frame=120, **seals(parts.settings)
    )
    return parts


async def _cycle(node, bearer, clock, cycles):
    for cycle in range(1, cycles + 1):
        clock.pass_s(10)
        await node.sample_once()
        if cycle % 3 == 0:
            await node.report_once()
        if cycle % 100 == 0:
            bearer.judge.forget()
        if cycle % (cycles // 10) == 0:
            gc.collect()
            print("heap", gc.mem_alloc())
