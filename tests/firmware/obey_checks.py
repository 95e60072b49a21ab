"""What a node makes of orders: each is done once, whatever is repeated, cut or reset. Run by test_rules."""

import asyncio
import gc
import sys


class Machine:
    """What a node wants of `machine`, and the bench's interpreter lacks."""

    class Pin:
        OUT = 3

        def __init__(self, number, mode, value):
            self._value = value

        def value(self, value=None):
            if value is None:
                return self._value
            self._value = value

    @staticmethod
    def reset():
        raise PowerCut()


sys.modules["machine"] = Machine

from drivers.link import order as orders  # noqa: E402
from drivers.link.frame import COMMAND  # noqa: E402
from drivers.link.order import output_arguments, pace_arguments, pack_command, pack_order  # noqa: E402
from drivers.link.schema import OUTCOME  # noqa: E402
from firmware.archive import Archive  # noqa: E402
from firmware.hardware import open_output  # noqa: E402
from firmware.journal_scan import open_journal  # noqa: E402
from firmware.node import Node  # noqa: E402
from firmware.recovery import begin_boot, close_what_disagrees  # noqa: E402
from firmware.report import Reporter  # noqa: E402
from firmware.rtc import RtcState  # noqa: E402
from firmware.uptime import Uptime  # noqa: E402
from tests.firmware.bench import Clock, Flash, PowerCut, Supply, enrolled, seals, settings_of  # noqa: E402
from tests.firmware.cycles import Config, make_parts  # noqa: E402
from tests.firmware.judge import ROOT, Judge  # noqa: E402

PACE = pack_order(9, 0xBEEF, orders.PACE, pace_arguments(20, 60))


class Street:
    """A node and its gateway. `boot` is what a reset does."""

    def __init__(self):
        self.supply = Supply()
        self.clock = Clock()
        self.parts = make_parts(self.clock)
        self.flash = Flash(self.supply)
        self.parts.nvs = enrolled(self.supply)
        self.judge = self.parts.bearer.judge = Judge(ROOT)
        self.boot()

    def boot(self):
        self.flash = self.flash.survivor()
        self.flash.mount()
        parts = self.parts
        parts.settings = settings_of(parts.nvs)
        journal, _ = open_journal("/node/journal", b"ownerowe")
        parts.archive = Archive(parts.settings, journal, cap=400)
        close_what_disagrees(parts.settings, journal)
        parts.state = RtcState(lambda data=b"": data)
        begin_boot(parts.settings, journal, parts.state)
        parts.uptime = Uptime(self.clock, phase_ms=0)
        pace = parts.nvs.entries.get("pace", bytes(8))  # as start does
        parts.sample_s = int.from_bytes(pace[:4], "big") or parts.config.sample_s
        parts.report_s = int.from_bytes(pace[4:], "big") or parts.config.report_s
        self.made = []
        parts.sampler.measure = self.measure
        parts.reporter = Reporter(
            parts.archive, parts.settings, parts.state, parts.uptime, max_frame=120, **seals(parts.settings)
        )
        self.node = Node(parts, self.clock, None)

    async def measure(self):
        self.made.append(self.clock.now_us)
        await asyncio.sleep(0)
        return {"battery": 3000 + len(self.made)}

    def sample_and_report(self, order=None):
        self.clock.pass_s(10)
        if self.clock.now_us % 256 == 0:
            gc.collect()  # it closes files, and a heap as large as this one is seldom full
        self.judge.order = order
        asyncio.run(self.node.sample_once())
        asyncio.run(self.node.report_once())

    def watch(self, at_s):
        """The node's watch comes round once at this uptime."""
        self.clock.pass_s(at_s - self.parts.uptime.seconds())
        node = Node(self.parts, self, self)
        try:
            asyncio.run(node._watch_for_ever())
        except PowerCut:
            pass

    def feed(self):
        """The watchdog's part."""

    async def sleep_ms(self, duration_ms):
        """The clock's part, of a watch that comes round once."""
        raise PowerCut

    def obey(self, order):
        """Send it with the next answer; what the node then reports of it: (number, tag, outcome, detail)."""
        self.sample_and_report(order)
        self.drain()
        return self.outcomes()[-1]

    def drain(self):
        for _ in range(20):
            if not self.parts.reporter.has_unsent():
                return
            asyncio.run(self.node.report_once())
        assert self.supply.is_cut

    def outcomes(self):
        found = [number for number, (schema, _) in self.judge.reports.items() if schema == OUTCOME]
        return [self.judge.reports[number][1] for number in sorted(found)]


def an_order_is_done_once_and_reported_first():
    street = Street()
    street.sample_and_report(PACE)
    assert (street.parts.sample_s, street.parts.report_s) == (20, 60)
    for _ in range(3):
        street.clock.pass_s(10)
        asyncio.run(street.node.sample_once())
    assert street.node.is_hurried
    asyncio.run(street.node.report_once())
    assert [report.schema for report in street.judge.bodies[-1].reports] == [OUTCOME]  # before older reports
    assert street.outcomes() == [(9, 0xBEEF, orders.DONE, 0)]


def what_comes_again_is_told_again_and_not_done_again():
    street = Street()
    assert street.obey(pack_order(3, 7, orders.REPORT)) == (3, 7, orders.DONE, 0)
    made = len(street.made)
    assert street.obey(pack_order(3, 7, orders.REPORT)) == (3, 7, orders.DONE, 0)
    assert len(street.made) == made + 1  # that of sample_and_report
    street.boot()
    assert street.obey(pack_order(3, 7, orders.REPORT)) == (3, 7, orders.DONE, 0)
    assert len(street.made) == 1


def a_lower_number_or_another_order_of_the_same_is_stale():
    street = Street()
    street.obey(pack_order(30, 7, orders.REPORT))
    made = len(street.made)
    for number, tag in ((30, 8), (29, 7), (1, 1)):
        assert street.obey(pack_order(number, tag, orders.REPORT)) == (number, tag, orders.STALE, 30)
    assert len(street.made) == made + 3
    assert street.obey(pack_order(31, 1, orders.REPORT)) == (31, 1, orders.DONE, 0)


def report_now_samples_and_brings_the_sample():
    street = Street()
    street.clock.pass_s(10)
    asyncio.run(street.node.sample_once())
    street.judge.order = pack_order(1, 1, orders.REPORT)
    asyncio.run(street.node.report_once())
    street.drain()
    assert [report.schema for report in street.judge.bodies[-1].reports] == [7, OUTCOME]


def a_sample_under_way_serves_an_order_too():
    street = Street()

    async def both():
        await asyncio.gather(street.node.sample_once(), street.node.sample_once())

    asyncio.run(both())
    assert len(street.made) == 1


def what_cannot_be_done_is_refused_with_the_reason():
    for octets, reason in (
        (pack_order(1, 1, 99), orders.NO_SUCH_ORDER),
        (pack_order(1, 1, orders.PACE, b"12345"), orders.BAD_ARGUMENTS),
        (pack_order(1, 1, orders.PACE, b"\x00\x00\x01\x00\x00\x00"), orders.BAD_ARGUMENTS),  # every second
        (pack_order(1, 1, orders.PACE, b"\x00\x00\x00\x02\x00\x00"), orders.BAD_ARGUMENTS),  # longer than a day
        (pack_order(1, 1, orders.OUTPUT, output_arguments(0, 10, 1)), orders.NO_OUTPUT),
        (pack_order(1, 1, orders.OUTPUT, b"\x00\x00\x00\x0a\x02"), orders.BAD_ARGUMENTS),
    ):
        assert Street().obey(octets) == (1, 1, orders.REFUSED, reason), octets


def what_is_no_order_is_counted_and_its_ack_still_counts():
    for octets in (b"", b"\x00\x00\x00\x01\x00\x01", b"\xff" * 7):
        street = Street()
        street.sample_and_report(octets)
        assert street.parts.reporter.counters["out_of_range"] == 1
        assert street.parts.archive.count_held() == 0
        assert not street.outcomes()


def an_output_is_on_for_the_time_stated_and_then_safe():
    for on_level, safe in ((1, 0), (0, 0), (1, 1), (0, 1)):
        street = Street()
        street.parts.config = Config(10, 30, 5, 300, "idle", 0, 65_536, 30, safe, 600)
        street.parts.output = output = open_output({"output": {"pin": 6, "on_level": on_level}}, street.parts.config)
        pin, other = output[0], 1 - safe
        safe_level, other_level = (on_level, 1 - on_level) if safe else (1 - on_level, on_level)
        assert street.obey(pack_order(1, 1, orders.OUTPUT, output_arguments(0, 601, other)))[2] == orders.REFUSED
        assert street.obey(pack_order(2, 1, orders.OUTPUT, output_arguments(1, 60, other)))[2] == orders.REFUSED
        assert pin.value() == safe_level
        start_s = street.parts.uptime.seconds()
        assert street.obey(pack_order(3, 1, orders.OUTPUT, output_arguments(0, 60, other)))[2] == orders.DONE
        assert start_s + 60 <= output[2] <= start_s + 80
        street.watch(output[2] - 1)
        assert pin.value() == other_level
        street.watch(output[2])
        assert (pin.value(), output[2]) == (safe_level, None)
        street.obey(pack_order(4, 1, orders.OUTPUT, output_arguments(0, 60, other)))
        assert pin.value() == other_level
        street.obey(pack_order(5, 1, orders.OUTPUT, output_arguments(0, 60, safe)))
        assert pin.value() == safe_level
        street.obey(pack_order(6, 1, orders.OUTPUT, output_arguments(0, 60, other)))
        street.obey(pack_order(7, 1, orders.OUTPUT, output_arguments(0, 0, 0)))
        assert (pin.value(), output[2]) == (safe_level, None)


def an_interval_stays_after_a_reset_until_it_is_as_configured_again():
    street = Street()
    street.obey(PACE)
    street.boot()
    assert (street.parts.sample_s, street.parts.report_s) == (20, 60)
    street.obey(pack_order(10, 1, orders.PACE, pace_arguments(0, 0)))
    street.boot()
    assert (street.parts.sample_s, street.parts.report_s) == (10, 30)


def a_restart_is_on_record_before_it_happens():
    street = Street()
    street.clock.pass_s(10)
    asyncio.run(street.node.sample_once())
    street.judge.order = pack_order(1, 1, orders.RESTART)
    try:
        asyncio.run(street.node.report_once())
        raise AssertionError("no reset")
    except PowerCut:
        pass
    assert street.parts.archive.count_held() == 1
    street.boot()
    assert street.obey(pack_order(1, 1, orders.RESTART)) == (1, 1, orders.DONE, 0)  # the gateway had not heard of it


def a_cut_anywhere_repeats_no_order_and_hides_none():
    counts = []
    for cut in range(1, 40):
        street = Street()
        street.sample_and_report()
        street.supply.cut_after(cut)
        try:
            street.sample_and_report(pack_order(1, 1, orders.REPORT))
            street.drain()
            street.supply.require()
        except (PowerCut, OSError):
            pass
        made = len(street.made)
        was_cut = street.supply.is_cut
        street.supply.restore()
        street.boot()
        outcome = street.obey(pack_order(1, 1, orders.REPORT))  # again, as the gateway does until it knows
        assert outcome[:2] == (1, 1)
        if outcome[2] == orders.UNKNOWN:
            assert len(street.made) == 1, cut  # not done a second time
        assert {outcome[2] for outcome in street.outcomes()} <= {orders.DONE, orders.UNKNOWN}
        counts.append((made, len(street.made), outcome[2]))
        assert made + len(street.made) <= 4, (cut, counts)  # two on schedule before, one after, and one for the order
        if not was_cut:
            break
    assert not was_cut
    assert {outcome for _, _, outcome in counts} == {orders.DONE, orders.UNKNOWN}, counts


def recorded_acks_and_orders_do_nothing():
    play_back(60)


def play_back(count):
    """A day of downlinks against uplinks of every low byte of a counter: nothing is done, nothing is forgotten."""
    street = Street()
    recorded = []
    exchange = street.parts.bearer.exchange

    async def record(frame, take, again=None):
        def take_and_keep(downlink):
            recorded.append(bytes(downlink))
            return take(downlink)

        return await exchange(frame, take_and_keep)

    street.parts.bearer.exchange = record
    for number in range(1, count + 1):
        street.sample_and_report(pack_order(number, 5, orders.REPORT) if number % 3 == 0 else None)
    street.drain()
    assert sum(1 for frame in recorded if frame[0] & 0x0F == COMMAND) >= count // 4
    street.parts.bearer.exchange = exchange
    before = street.outcomes()
    for _ in range(2):
        street.clock.pass_s(10)
        asyncio.run(street.node.sample_once())
        held, made, reporter = street.parts.archive.count_held(), len(street.made), street.parts.reporter
        verified = 0
        for _ in range(256):
            gc.collect()  # a large heap that fills is searched from its low end for each block
            reporter.next_frame()
            low = reporter.sent[-1][0] & 0xFF
            for frame in recorded:
                assert not reporter.take_downlink(frame)
                verified += frame[3] == low
        assert (street.parts.archive.count_held(), len(street.made), reporter.order) == (held, made, None)
        assert verified >= len(recorded)  # each met an uplink that it might have answered
        street.drain()
        street.boot()
    assert street.outcomes() == before
    print("played back", len(recorded), "downlinks against 512 uplinks: 0 trimmed, 0 done")


def an_order_that_another_key_sealed_does_nothing():
    street = Street()
    street.clock.pass_s(10)
    asyncio.run(street.node.sample_once())
    frame = street.parts.reporter.next_frame()
    counter = int.from_bytes(frame[7:11], "big")
    plain = pack_command(PACE, b"\x00\x00\x00\x00\x00")
    forged = street.judge.seal_down(1, counter, plain, full=True, root=b"\x09" * 32, kind=COMMAND)
    assert not street.parts.reporter.take_downlink(forged)
    assert street.parts.reporter.counters["bad_tag"] == 1
    assert street.parts.reporter.order is None
