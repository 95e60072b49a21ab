"""What the measurements stand on: the load sends what it says, the city sees it, and what is missing is missing."""

import time

import pytest

from tools.measure.city import City, packets
from tools.measure.link import Link
from tools.measure.load import READING, Load
from tools.measure.process import use_of
from tools.measure.sink import Sink
from tools.measure.tally import FIRST, Span, Tally, percentile
from tools.rivals.thingsboard import READING as THINGSBOARD_READING

PUBLISH = b"\x32\x07\x00\x01a\x12\x34hi"  # QoS 1, topic a, packet id 0x1234


def wait_until(condition, *, within_s=60):
    give_up_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


@pytest.mark.parametrize(
    "data, expected",
    [
        (PUBLISH, [(b"\x12\x34", 9)]),
        (PUBLISH + PUBLISH, [(b"\x12\x34", 9), (b"\x12\x34", 18)]),
        (PUBLISH[:-1], []),
        (b"\x32", []),
        (b"\x30\x05\x00\x01ahi\xd0\x00", [(b"", 7), (b"", 9)]),  # QoS 0 is not acknowledged, nor is PINGRESP
        (b"\x32\x85\x01\x00\x01a\x00\x01" + bytes(128), [(b"\x00\x01", 136)]),  # a length of two bytes
        (b"\x32\x85", []),
    ],
)
def test_packets_are_found_only_when_whole(data, expected):
    assert list(packets(data)) == expected


@pytest.mark.parametrize("reading", [READING, THINGSBOARD_READING])
def test_a_reading_has_60_bytes(reading):
    assert len(reading % (FIRST, 1_764_110_000, 7)) == 60


def test_only_what_was_acknowledged_and_did_not_arrive_is_missing():
    tally, span = Tally(10), Span(FIRST, FIRST + 4)
    tally.acked_s[0:3] = [1.0, 1.0, 1.0]
    tally.note_arrival(FIRST + 1, 2.0)
    tally.note_arrival(FIRST + 3, 2.0)  # at the city though never acknowledged: no loss
    tally.note_arrival(FIRST + 3, 3.0)
    tally.note_arrival(77, 3.0)  # no serial of ours
    assert tally.missing(span) == 2
    assert tally.acknowledged(span) == 3
    assert (tally.arrived.value, tally.repeats.value) == (2, 1)


def test_rate_counts_from_the_first_sending_to_the_last_but_one_percent_of_arrivals():
    tally, span = Tally(200), Span(FIRST, FIRST + 200)
    tally.sent_s[0:200] = [10.0] * 200
    tally.arrived_s[0:200] = [12.0] * 198 + [500.0] * 2
    assert tally.rate_per_s(span) == pytest.approx(99.0)


def test_percentile_of_nothing_is_no_number():
    assert percentile([], 0.5) != percentile([], 0.5)
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0


def test_every_reading_of_the_load_goes_through_a_broker_and_arrives_once(mosquitto_factory):
    broker = mosquitto_factory("max_queued_messages 0")
    tally = Tally(10_000)
    with City(tally, broker.port, "up/#"), Load(tally) as load:
        first = load.run(broker.port, seconds=30, count=300)
        second = load.run(broker.port, seconds=30, count=200, rate=1_000)
        assert (first, second) == (Span(FIRST, FIRST + 300), Span(FIRST + 300, FIRST + 500))
        wait_until(lambda: not tally.missing(Span(FIRST, FIRST + 500)))
        assert use_of(load.pid).cpu_s > 0
    assert tally.acknowledged(Span(FIRST, FIRST + 500)) == 500
    assert tally.repeats.value == 0
    assert all(latency_s > 0 for latency_s in tally.latencies_s(first))


def test_a_cut_link_loses_nothing_of_a_load_that_sends_again():
    tally = Tally(20_000)
    with Sink(tally) as sink, Link(sink.port) as link, Load(tally) as load:
        load.start(link.port, seconds=60, rate=500, count=400)
        wait_until(lambda: tally.arrived.value > 100)
        link.cut()
        link.mend()
        span = load.finish()
    assert span.end - span.first == 400
    assert tally.acknowledged(span) == 400
    assert tally.missing(span) == 0
