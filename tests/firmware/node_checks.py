"""The node's schedule, in a time that moves only when told. Run by test_rules."""

import asyncio

from drivers.link.frame import REPORT, URGENT
from firmware.alarm import Alarms
from firmware.bearer_lora import LoraBearer
from firmware.config import parse
from firmware.node import Node
from tests.firmware.bench import Clock
from tests.firmware.cycles import make_parts

ALARM = parse({"bearer": "lora", "sensors": ["bme280"], "alarms": [{"quantity": "pressure", "above": 1}]}).alarms


def a_late_sample_and_the_next_do_not_share_a_second():
    clock = Clock()
    parts = make_parts(clock)
    parts.sample_s = 1
    node = Node(parts, clock, None)
    clock.now_us += 950_000  # something held the sample up
    asyncio.run(node.sample_once())
    first_s = parts.uptime.nearest_s()
    asyncio.run(clock.sleep_ms(parts.uptime.ms_until(parts.state.sample_at_s)))
    assert parts.uptime.nearest_s() > first_s, (first_s, parts.uptime.nearest_s())


class Interrupted(Clock):
    """Somebody does something at a moment of somebody else's sleep."""

    at_us = then = None

    async def sleep_ms(self, duration_ms):
        await super().sleep_ms(duration_ms)
        if self.then is not None and self.now_us >= self.at_us:
            then, self.then = self.then, None
            await then()


class MuteRadio:
    """Nobody is there."""

    tx_done_us = 0

    def __init__(self, clock):
        self._clock = clock
        self.counters = {}
        self.kinds = []  # of the frames that were sent
        self.began_us = []  # when
        self.windows = 0
        self.busy = []  # (from, to): when somebody else is heard

    def use(self, channel):
        pass

    def sleep(self):
        pass

    async def channel_free(self):
        return not any(starts_us <= self._clock.now_us < ends_us for starts_us, ends_us in self.busy)

    async def transmit(self, frame):
        self.kinds.append(frame[0] & 0x0F)
        self.began_us.append(self._clock.now_us)
        await self._clock.sleep_ms(60)
        self.tx_done_us = self._clock.ticks_us()

    async def receive(self, buf, timeout_ms):
        self.windows += 1
        await self._clock.sleep_ms(timeout_ms)


def _about_to_report():
    """A node with one report, whose next whole second is the start of its frame."""
    clock = Interrupted()
    parts = make_parts(clock)
    radio = MuteRadio(clock)
    lora = parse({"bearer": "lora", "sensors": ["bme280"]}).lora
    parts.bearer = LoraBearer(radio, lora, parts.uptime, clock, parts.state)
    node = Node(parts, clock, None)
    asyncio.run(node.sample_once())
    asyncio.run(parts.uptime.wait_for_second())
    return clock, parts, radio, node


def a_report_waits_for_a_second_that_begins_clear():
    for seconds, expected_s in ((0, 1), (1, 2), (3, 4), (20, 8)):  # for ever: it goes all the same
        clock, _, radio, node = _about_to_report()
        now_us = clock.now_us
        radio.busy = [(now_us + s * 1_000_000 - 50_000, now_us + s * 1_000_000 + 50_000) for s in range(1, seconds + 1)]
        asyncio.run(node.report_once())
        assert radio.began_us[0] - now_us == expected_s * 1_000_000, (seconds, radio.began_us[0] - now_us)


def an_alarm_does_not_wait_for_a_clear_second():
    clock, parts, radio, node = _about_to_report()
    parts.alarms = Alarms(ALARM)
    clock.at_us, clock.then = clock.now_us + 1_500_000, node.sample_once
    radio.busy = [(clock.now_us + 900_000, clock.now_us + 8_900_000)]
    asyncio.run(node.report_once())
    assert (radio.kinds[0], radio.began_us[0] <= clock.at_us + 500_000) == (URGENT, True)


def _alarm_raised_after(wait_ms):
    """A node that sent a report; an alarm is raised so long after its frame began. Returns what is there then."""
    clock, parts, radio, node = _about_to_report()
    parts.alarms = Alarms(ALARM)
    raised_us = clock.at_us = clock.now_us + 1_000_000 + wait_ms * 1000
    clock.then = node.sample_once
    asyncio.run(node.report_once())
    return node, radio, (clock.now_us - raised_us) // 1000


def an_alarm_goes_before_the_window_of_a_report_that_is_not_open_yet():
    for wait_ms in (100, 800, 1400):
        node, radio, late_ms = _alarm_raised_after(wait_ms)
        assert (radio.windows, 0 <= late_ms <= 200) == (0, True), (wait_ms, radio.windows, late_ms)
        assert (node.is_hurried, node.parts.state.misses) == (True, 0)  # nobody was asked, so nobody failed to answer
        asyncio.run(node.report_once())
        assert radio.kinds[:2] == [REPORT, URGENT], radio.kinds
        assert radio.windows > 0


def an_alarm_waits_for_a_window_that_is_about_to_open():
    node, radio, late_ms = _alarm_raised_after(1700)
    assert (radio.windows, late_ms <= 900) == (1, True), (radio.windows, late_ms)
    assert node.is_hurried


def an_alarm_goes_in_place_of_a_report_that_has_not_left():
    _, radio, _ = _alarm_raised_after(-500)
    assert radio.kinds[0] == URGENT, radio.kinds
