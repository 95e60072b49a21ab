"""One stretch of weather through a node's sampling, rules, journal and reporter: what goes on the air. On MicroPython.

`run(path)` reads {"config", "series"}: a configuration and the wire integers of one sample a second; prints the length
of each frame and how many reports there were. The gateway answers every frame, so nothing is sent twice.
"""

import asyncio
import json

from firmware.archive import Archive
from firmware.config import parse
from firmware.journal_scan import open_journal
from firmware.node import Node
from firmware.recovery import begin_boot, close_what_disagrees
from firmware.report import Reporter
from firmware.rtc import RtcState
from firmware.rules import Rules
from firmware.uptime import Uptime
from tests.firmware.bench import Clock, Flash, Supply, enrolled, seals, settings_of
from tests.firmware.cycles import Bearer, ForgetfulJudge, Parts
from tests.firmware.judge import ROOT


class Sampler:
    """Says what the weather was at this second."""

    def __init__(self, series, uptime):
        self._series, self._uptime = series, uptime

    async def measure(self):
        return self._series[min(self._uptime.seconds(), len(self._series) - 1)]


class Recorder(Bearer):
    """Keeps the length of each frame, and loses none."""

    def __init__(self):
        self.judge = ForgetfulJudge(ROOT)
        self.lengths = []

    async def exchange(self, frame, take, again=None):
        self.lengths.append(len(frame))
        return take(self.judge.take(frame))


def run(path):
    with open(path) as file:
        case = json.load(file)
    clock, parts = Clock(), Parts()
    Flash(Supply()).mount()
    parts.settings = settings_of(enrolled())
    parts.output = None
    journal, _ = open_journal("/node/journal", b"ownerown")
    parts.archive = Archive(parts.settings, journal, cap=400)
    close_what_disagrees(parts.settings, journal)
    parts.state = RtcState(lambda data=b"": data)
    begin_boot(parts.settings, journal, parts.state)
    parts.uptime = Uptime(clock, phase_ms=0)
    parts.config = config = parse(case["config"])
    parts.sample_s, parts.report_s = config.sample_s, config.report_s
    parts.sampler = Sampler(case["series"], parts.uptime)
    from firmware.alarm import Alarms

    parts.alarms, parts.rules = Alarms(config.alarms), None
    if config.rules is not None:
        parts.rules = Rules(config.rules.windows, config.rules.exceptions, config.rules.held_back_s, 0)
    parts.bearer = Recorder()
    parts.reporter = Reporter(
        parts.archive, parts.settings, parts.state, parts.uptime, max_frame=120, **seals(parts.settings)
    )
    asyncio.run(_live(Node(parts, clock, None), parts, clock, len(case["series"])))
    print(json.dumps({"frames": parts.bearer.lengths, "reports": parts.settings.next_seq}))


async def _live(node, parts, clock, seconds):
    """As the node's own loop does, in a time that passes by itself."""
    state = parts.state
    state.sample_at_s, state.report_at_s = 1, parts.config.report_s
    while parts.uptime.seconds() < seconds:
        if not parts.uptime.ms_until(state.sample_at_s):
            await node.sample_once()
        if node.is_hurried or not parts.uptime.ms_until(state.report_at_s):
            await node.report_once()
        clock.pass_s(max(min(state.sample_at_s, state.report_at_s) - parts.uptime.seconds(), 0))
