"""A node up to its frames on a bench, and a judge: what report_checks and began_checks stand on. For MicroPython."""

from drivers.link import frame as frames
from firmware.archive import Archive
from firmware.journal_scan import open_journal
from firmware.recovery import begin_boot, close_what_disagrees
from firmware.report import Reporter
from firmware.rtc import RtcState
from firmware.uptime import Uptime
from tests.firmware.bench import Clock, Flash, Supply, enrolled, seals, settings_of
from tests.firmware.judge import ROOT, Judge


class Memory:
    """machine.RTC().memory."""

    def __init__(self):
        self.data = b""

    def __call__(self, data=None):
        if data is None:
            return self.data
        self.data = bytes(data)


class Bench:
    """A node up to its frames, and a judge."""

    def __init__(self, *, cap=4000, max_frame=120, segment_records=64, always_full=False):
        self.flash = Flash(Supply())
        self.nvs = enrolled()
        self.clock = Clock()
        self.judge = Judge(ROOT)
        self.cap, self.max_frame, self.segment_records = cap, max_frame, segment_records
        self.always_full = always_full
        self.boot()

    def boot(self):
        self.flash.mount()
        self.settings = settings_of(self.nvs)
        self.journal, _ = open_journal("/node/journal", b"ownerowe", segment_records=self.segment_records)
        self.archive = Archive(self.settings, self.journal, cap=self.cap)
        close_what_disagrees(self.settings, self.journal)
        self.state = RtcState(Memory())
        begin_boot(self.settings, self.journal, self.state)
        self.uptime = Uptime(self.clock, phase_ms=0)
        self.reporter = Reporter(
            self.archive,
            self.settings,
            self.state,
            self.uptime,
            max_frame=self.max_frame,
            always_full=self.always_full,
            **seals(self.settings),
        )

    def measure(self, count=1, *, step_s=10):
        for _ in range(count):
            self.clock.pass_s(step_s)
            values = (2000 + self.clock.now_us % 5000, 5000, 101325 - self.clock.now_us % 7000)
            seq = self.archive.add(self.settings.boot, self.uptime.nearest_s(), 1, values)
        return seq

    def send(self):
        """One frame that arrives; its answer is kept back. Returns (parsed frame, ack)."""
        frame = self.reporter.next_frame()
        return frames.parse(frame), self.judge.take(frame)

    def exchange(self):
        parsed, ack = self.send()
        assert self.reporter.take_downlink(ack), self.reporter.counters
        return parsed

    def answer(self, counter, plain, *, full=True, root=None):
        """An ack of our making."""
        return self.judge.seal_down(self.settings.epoch, counter, plain, full=full, root=root)

    def refuses(self, downlink, reason):
        before = self.reporter.counters.get(reason, 0)
        held = self.archive.count_held()
        assert not self.reporter.take_downlink(downlink)
        assert self.reporter.counters.get(reason, 0) == before + 1, self.reporter.counters
        assert self.archive.count_held() == held
