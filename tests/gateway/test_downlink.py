"""Which answer goes when; times in microseconds."""

from collections import Counter

import pytest

from gateway.downlink import Downlink, Schedule

AIRTIME_US = 50_000


@pytest.fixture
def counted() -> Counter[str]:
    return Counter()


@pytest.fixture
def schedule(counted: Counter[str]) -> Schedule:
    return Schedule(lead_us=35_000, latest_us=10_000, count=lambda name: counted.update([name]))


def downlink(due_us: int, name: bytes = b"a", *, is_urgent: bool = False) -> Downlink:
    return Downlink(frame=name, due_us=due_us, airtime_us=AIRTIME_US, is_urgent=is_urgent)


def test_downlink_is_taken_a_lead_before_its_moment(schedule: Schedule) -> None:
    schedule.add(downlink(2_000_000), now_us=0)
    assert schedule.next_us() == 1_965_000
    assert schedule.take(now_us=1_964_999) is None
    taken = schedule.take(now_us=1_965_000)
    assert taken is not None
    assert taken.due_us == 2_000_000
    assert schedule.next_us() is None


def test_verdict_that_comes_too_late_is_counted(schedule: Schedule, counted: Counter[str]) -> None:
    assert not schedule.add(downlink(2_000_000), now_us=1_990_000)
    assert counted == {"lora_acks_skipped_late": 1}


def test_second_of_two_that_overlap_is_skipped(schedule: Schedule, counted: Counter[str]) -> None:
    schedule.add(downlink(2_000_000, b"first"), now_us=0)
    assert not schedule.add(downlink(2_040_000, b"second"), now_us=0)
    assert counted == {"lora_acks_skipped_conflict": 1}


def test_urgent_one_takes_the_place_of_another(schedule: Schedule, counted: Counter[str]) -> None:
    schedule.add(downlink(2_000_000, b"telemetry"), now_us=0)
    assert schedule.add(downlink(2_040_000, b"alarm", is_urgent=True), now_us=0)
    taken = schedule.take(now_us=2_010_000)
    assert taken is not None
    assert taken.frame == b"alarm"
    assert counted == {"lora_acks_skipped_conflict": 1}


def test_of_two_urgent_ones_the_earlier_stays(schedule: Schedule) -> None:
    schedule.add(downlink(2_000_000, b"first", is_urgent=True), now_us=0)
    assert not schedule.add(downlink(2_010_000, b"second", is_urgent=True), now_us=0)
    assert len(schedule) == 1


def test_those_apart_both_go_in_order_of_time(schedule: Schedule) -> None:
    schedule.add(downlink(3_000_000, b"later"), now_us=0)
    schedule.add(downlink(2_000_000, b"sooner"), now_us=0)
    assert [schedule.take(now_us=at).frame for at in (1_970_000, 2_970_000)] == [b"sooner", b"later"]


def test_one_whose_moment_was_missed_is_counted_and_the_next_is_served(
    schedule: Schedule, counted: Counter[str]
) -> None:
    schedule.add(downlink(2_000_000, b"missed"), now_us=0)
    schedule.add(downlink(2_500_000, b"next"), now_us=0)
    assert schedule.take(now_us=2_470_000).frame == b"next"
    assert counted == {"lora_acks_skipped_late": 1}


def test_an_answer_to_a_join_gives_way_to_every_ack(schedule: Schedule, counted: Counter[str]) -> None:
    join = Downlink(frame=b"join", due_us=2_000_000, airtime_us=AIRTIME_US, is_join=True)
    schedule.add(join, now_us=0)
    assert schedule.add(downlink(2_040_000, b"telemetry"), now_us=0)
    assert not schedule.add(join, now_us=0)
    taken = schedule.take(now_us=2_010_000)
    assert taken is not None
    assert taken.frame == b"telemetry"
    assert counted == {"lora_acks_skipped_conflict": 2}
