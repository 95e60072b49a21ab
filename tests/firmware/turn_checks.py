"""New frame keys by count and by age: no reading waits, none is lost, no counter serves twice. Run by test_rules."""

import asyncio

from drivers.link.ack import pack_ack
from tests.firmware.bench import PowerCut
from tests.firmware.cycles import Config
from tests.firmware.obey_checks import Street

_START_S = 1_790_000_000
_DAY_S = 86_400


class Turning(Street):
    """A node whose keys serve for so many frames and days, and whose gateway knows the time."""

    def __init__(self, frames=300, days=30, began_s=None, report_s=30):
        self.sealed = set()  # (key, epoch, counter), of frames that never arrived too
        super().__init__()
        self.judge.began_s = began_s
        self.parts.config = Config(10, report_s, 5, 300, "idle", 0, frames, days, None, 3600)
        self.boot()

    def boot(self):
        super().boot()
        reporter, settings = self.parts.reporter, self.parts.settings
        seal = reporter.next_frame

        def next_frame(uptime_s=None):
            frame = seal(uptime_s)
            if frame is not None:
                number = (settings.key, settings.epoch, settings.next_counter - 1)
                assert number not in self.sealed, number
                self.sealed.add(number)
            return frame

        reporter.next_frame = next_frame

    def serve(self, count):
        for _ in range(count):
            self.sample_and_report()

    def epochs(self):
        """Of the frames that arrived, in their order."""
        found = []
        for epoch in [epoch for _, epoch, _ in self.judge.frames]:
            if epoch not in found[-1:]:
                found.append(epoch)
        return found

    def check(self):
        """Every reading that was made is at the gateway, and no epoch ended with one missing."""
        assert not self.judge.lost, self.judge.lost
        assert len([1 for schema, _ in self.judge.reports.values() if schema == 7]) == self.total
        for epoch, (end, is_known) in self.judge.endings.items():
            assert is_known
            assert self.judge.base(epoch) == end

    async def measure(self):
        self.total = getattr(self, "total", 0) + 1
        return await super().measure()


def keys_turn_by_count_when_all_is_sent():
    street = Turning(frames=64)
    street.parts.bearer.keys = None  # a bearer that asks for beacons
    street.serve(150)
    street.drain()
    assert street.parts.bearer.keys == (street.parts.settings, street.parts.reporter.up, street.parts.reporter.down)
    assert street.parts.settings.epoch == 3
    assert street.epochs() == [1, 2, 3]
    street.check()
    assert sorted(street.judge.endings) == [1, 2]
    firsts = [body for body in street.judge.bodies if body.epochs_opened]
    assert all(body.is_full for body in firsts)
    assert all(body.reports[0].age_s <= 10 for body in firsts)  # one that was lost on the way waited for the next


def what_waits_holds_new_keys_up_to_twice_the_count():
    street = Turning(frames=64)
    exchange = street.parts.bearer.exchange

    async def deaf(frame, take, again=None):
        return False

    street.parts.bearer.exchange = deaf
    street.serve(80)
    assert street.parts.settings.epoch == 1
    street.parts.bearer.exchange = exchange
    street.node._has_backlog = lambda: False
    while street.parts.settings.next_counter < 2 * 64 + 1:
        street.clock.pass_s(10)
        asyncio.run(street.node.sample_once())
        asyncio.run(street.node.sample_once())  # never all sent
        street.parts.reporter.has_unsent = lambda: True
        asyncio.run(street.node.report_once())
    assert street.parts.settings.epoch == 2
    del street.parts.reporter.has_unsent
    street.drain()
    street.serve(1)
    street.drain()
    assert street.parts.archive.count_held() == 0


def keys_turn_by_age_in_one_boot_and_over_many():
    street = Turning(days=2, began_s=_START_S, report_s=43_200)  # keys are looked at twice a day
    street.serve(2)
    assert street.parts.settings.turned[1] >= _START_S - 60
    street.clock.pass_s(2 * _DAY_S - 100)
    street.serve(1)
    assert street.parts.settings.epoch == 1
    street.clock.pass_s(100)
    street.serve(1)
    assert street.parts.settings.epoch == 2
    for days in (3, 4, 5):  # a boot each day
        street.judge.began_s = _START_S + days * _DAY_S
        street.boot()
        street.serve(1)
        street.drain()
    assert street.parts.settings.epoch == 3
    street.serve(1)
    street.drain()
    street.check()


def a_gateway_that_does_not_know_the_time_ages_no_key():
    street = Turning(days=1, report_s=43_200)
    street.serve(1)
    street.clock.pass_s(40 * _DAY_S)
    street.serve(1)
    assert street.parts.settings.epoch == 1
    assert street.parts.settings.turned == (0, 0)


def an_answer_under_the_old_keys_is_not_taken():
    street = Turning(frames=64)
    street.serve(55)
    street.clock.pass_s(10)
    asyncio.run(street.node.sample_once())
    counter = street.parts.settings.next_counter
    street.parts.reporter.next_frame()
    late = street.judge.seal_down(1, counter, pack_ack(street.parts.settings.next_seq, 0), full=False)
    while street.parts.settings.epoch == 1:
        asyncio.run(street.node.report_once())
        street.clock.pass_s(10)
        asyncio.run(street.node.sample_once())
    assert not street.parts.reporter.take_downlink(late)
    assert street.parts.reporter.counters["unasked"] == 1


def a_cut_at_any_write_of_a_turn_repeats_no_counter_and_loses_nothing():
    cut = 0
    was_cut = True
    epochs = set()
    while was_cut:
        cut += 1
        street = Turning(frames=1 << 20, began_s=_START_S)
        street.serve(2)
        street.parts.config = Config(10, 30, 5, 300, "idle", 0, 1, 30, None, 3600)
        street.parts.settings.look_at = 0
        street.supply.cut_after(cut)
        try:
            street.serve(1)
            street.supply.require()
        except (PowerCut, OSError):
            pass
        was_cut = street.supply.is_cut
        street.supply.restore()
        street.parts.config = Config(10, 30, 5, 300, "idle", 0, 1 << 20, 30, None, 3600)
        street.boot()
        epochs.add(street.parts.settings.epoch)
        street.serve(2)
        street.drain()
        assert street.parts.archive.count_held() == 0
        for epoch, (end, _) in street.judge.endings.items():
            assert street.judge.base(epoch) == end, cut
    assert cut > 8
    assert epochs == {1, 2}, epochs
    print("cut at each of", cut - 1, "writes: 0 (key, nonce) repeated, 0 readings lost")
