"""When a boot began: the gateway tells the time, and the node tells that on, to any gateway. Run by test_rules."""

from drivers.link.ack import pack_ack
from firmware.began import note
from tests.firmware.report_bench import Bench

_BEGAN_S = 1_790_000_000


def told(bench):
    """What the last frame said: FULL, older boot, when that began."""
    body = bench.judge.bodies[-1]
    return body.is_full, body.older_boot, body.began_s


def send(bench):
    bench.measure()
    bench.exchange()
    return told(bench)


def what_the_gateway_told_goes_with_the_next_frame_and_then_no_more():
    bench = Bench()
    bench.judge.began_s = _BEGAN_S
    assert send(bench) == (True, None, None)
    assert send(bench) == (True, None, _BEGAN_S)
    assert [send(bench) for _ in range(3)] == [(False, None, None)] * 3


def it_goes_with_most_frames_until_the_gateway_has_acknowledged_one():
    bench = Bench()
    bench.judge.began_s = _BEGAN_S
    send(bench)
    said = []
    for _ in range(12):
        bench.measure()
        bench.send()
        said.append(told(bench))
    # an older gateway does not know that word; it is to get the report all the same
    assert said == ([(True, None, _BEGAN_S)] * 4 + [(False, None, None)] * 2) * 2
    assert send(bench) == (True, None, _BEGAN_S)
    assert send(bench) == (False, None, None)


def without_a_time_frames_are_as_they_were():
    bench = Bench()
    assert [send(bench) for _ in range(3)] == [(True, None, None), (False, None, None), (False, None, None)]


def a_second_more_or_less_is_the_same_and_two_are_not():
    bench = Bench()
    bench.judge.began_s = _BEGAN_S
    send(bench), send(bench)
    for off_s, is_news in ((1, False), (-1, False), (2, True)):
        bench.measure()
        parsed, _ = bench.send()
        uptime_s = bench.uptime.nearest_s()
        counter = bench.settings.next_counter - 1
        plain = pack_ack(bench.judge.base(1), 0, utc_s=_BEGAN_S + off_s + uptime_s)  # a short ack may tell the time too
        assert bench.reporter.take_downlink(bench.answer(counter, plain, full=parsed.is_full))
        bench.judge.began_s = None
        bench.measure()
        bench.exchange()
        assert told(bench) == ((True, None, _BEGAN_S + 2) if is_news else (False, None, None))


def reports_of_older_boots_say_when_each_of_them_began():
    bench = Bench()
    first = bench.settings.boot
    for boot in range(3):
        if boot != 1:  # nobody told that one
            note(bench.settings, _BEGAN_S + 100_000 * boot)
        bench.measure(2)
        bench.boot()
    bench.measure()
    seen = {}
    while bench.reporter.has_unsent():
        bench.exchange()
        body = bench.judge.bodies[-1]
        seen[body.older_boot] = body.began_s
    assert seen == {first: _BEGAN_S, first + 1: None, first + 2: _BEGAN_S + 200_000, None: None}


def only_the_last_boots_are_remembered():
    bench = Bench()
    first = bench.settings.boot
    for boot in range(6):
        note(bench.settings, _BEGAN_S + boot)
        note(bench.settings, _BEGAN_S + 10 * boot)  # told anew: the same boot
        bench.boot()
    told_s = [bench.settings.began.get(boot) for boot in range(first, first + 7)]
    assert told_s == [None, None, _BEGAN_S + 20, _BEGAN_S + 30, _BEGAN_S + 40, _BEGAN_S + 50, None]


def a_frame_too_short_for_it_goes_without():
    bench = Bench(max_frame=96)
    bench.judge.began_s = _BEGAN_S
    bench.measure(80)
    while bench.reporter.has_unsent():
        frame = bench.reporter.next_frame()
        assert len(frame) <= 96
        assert bench.reporter.take_downlink(bench.judge.take(frame))
    assert len(bench.judge.reports) == 80


def a_bearer_whose_bytes_cost_nothing_always_sends_full_frames():
    bench = Bench(always_full=True)
    bench.judge.began_s = _BEGAN_S
    assert [send(bench) for _ in range(3)] == [(True, None, None), (True, None, _BEGAN_S), (True, None, _BEGAN_S)]
