"""The backlog's pace: never above the cap in any second, nearly at it when there is enough to send, and even."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.city.pace import Pace

CAPS = st.tuples(st.integers(1, 5_000), st.integers(1_000, 2_000_000))
STEPS = st.lists(st.tuples(st.floats(0, 1.5), st.integers(1, 600), st.integers(20, 400)), max_size=200)


def most_in_a_second(sent, column):
    """The largest sum of a column over any window of one second, ends included."""
    return max((sum(one[column] for one in sent if at <= one[0] <= at + 1) for at, *_ in sent), default=0)


@given(CAPS, STEPS)
@settings(max_examples=200)
def test_no_second_holds_more_than_the_cap_whatever_is_wanted_and_when(caps, steps):
    pace = Pace(records_per_s=caps[0], bytes_per_s=caps[1])
    now_s, sent = 0.0, []
    for passed_s, wanted, record_bytes in steps:
        now_s += passed_s
        room_records, room_bytes = pace.room(now_s)
        records = min(wanted, room_records, room_bytes // record_bytes)
        if records:
            pace.spend(now_s, records, records * record_bytes)
            sent.append((now_s, records, records * record_bytes))
    assert most_in_a_second(sent, 1) <= caps[0]
    assert most_in_a_second(sent, 2) <= caps[1]


def greedy(pace, seconds, *, most=500, record_bytes=100):
    """Send whenever a message of `most` records has room, as the forwarder does."""
    now_s, sent = 0.0, []
    while now_s < seconds:
        now_s += pace.wait_s(now_s, most, most * record_bytes // 2) + 1e-6
        room_records, room_bytes = pace.room(now_s)
        records = min(most, room_records, room_bytes // record_bytes)
        assert records > 0, "wait_s promised room"
        pace.spend(now_s, records, records * record_bytes)
        sent.append((now_s, records, records * record_bytes))
    return sent


@pytest.mark.parametrize("records_per_s, bytes_per_s", [(2_000, 0), (0, 100_000), (50, 0), (2_000, 150_000), (1, 0)])
def test_a_queue_drains_within_a_tenth_of_the_cap_and_never_above_it(records_per_s, bytes_per_s):
    sent = greedy(Pace(records_per_s=records_per_s, bytes_per_s=bytes_per_s), 60)
    cap = min(records_per_s or 2**62, (bytes_per_s or 2**62) // 100)
    assert most_in_a_second(sent, 1) <= cap
    assert sum(records for _, records, _ in sent) >= cap * 60 / 1.1


def test_the_share_of_a_second_is_spread_over_it():
    sent = greedy(Pace(records_per_s=2_000), 10)
    for tenth in range(100):
        assert sum(n for at_s, n, _ in sent if tenth / 10 <= at_s < (tenth + 1) / 10) <= 400


def test_a_message_larger_than_the_cap_goes_alone_after_a_second_of_silence():
    pace = Pace(bytes_per_s=1_000)
    pace.spend(10.0, 1, 40)
    assert 1.0 <= pace.wait_whole_s(10.0, 5_000) < 1.1
    at_s = 10.0 + pace.wait_whole_s(10.0, 5_000)
    assert pace.wait_whole_s(at_s, 5_000) == 0
    pace.spend(at_s, 1, 5_000)
    assert pace.room(at_s + 0.5)[1] == 0
    assert pace.wait_s(at_s, 1, 10) >= 1.0


def test_messages_larger_than_what_goes_at_once_still_use_the_whole_cap():
    pace, now_s, sent = Pace(bytes_per_s=100_000), 0.0, []
    while now_s < 30:
        now_s += pace.wait_whole_s(now_s, 8_000) + 1e-6
        pace.spend(now_s, 1, 8_000)
        sent.append((now_s, 1, 8_000))
    assert most_in_a_second(sent, 2) <= 100_000
    assert len(sent) >= 30 * 12 / 1.1


def test_time_that_goes_back_opens_no_room():
    pace = Pace(records_per_s=100)
    pace.spend(100.0, 5, 0)
    assert pace.room(90.0)[0] == 0


def test_without_a_cap_there_is_always_room():
    pace = Pace()
    pace.spend(0.0, 10**9, 10**12)
    assert pace.wait_s(0.0, 10**9, 10**12) == 0
    assert min(pace.room(0.0)) > 10**15
