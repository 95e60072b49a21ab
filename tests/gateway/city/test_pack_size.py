"""How large a message may become follows what the platform takes, and nothing else."""

from gateway.city.pack_size import PackSize


def sizes(*, per_s, seconds=5.0, rtt_s=0.1):
    """The size after each answer of a platform that takes so many bytes a second in messages of 50,000."""
    size = PackSize(most_records=500, most_bytes=65_536, now_s=100.0)
    found = []
    for at in range(int(per_s * seconds / 50_000)):
        size.acknowledged(50_000, 100.0 + rtt_s + at * 50_000 / per_s)
        found.append((size.records, size.bytes))
    return found


def test_a_platform_that_takes_little_gets_messages_as_configured():
    assert set(sizes(per_s=125_000)) == {(500, 65_536)}  # 1 Mbit/s: a larger one would hold an alarm up for seconds


def test_messages_grow_to_a_quarter_of_what_goes_in_a_second_and_to_three_times_at_most():
    assert all(380 <= records <= 860 and 65_536 <= size <= 110_000 for records, size in sizes(per_s=400_000))
    assert sizes(per_s=400_000)[-1][1] > 90_000
    assert sizes(per_s=10_000_000)[-1] == (1_500, 196_608)


def test_growth_does_not_wait_for_a_second():
    assert sizes(per_s=10_000_000, seconds=0.4)[-1] == (1_500, 196_608)


def test_a_message_is_small_again_once_the_platform_is_slow():
    size = PackSize(most_records=500, most_bytes=65_536, now_s=0.0)
    for at in range(100):
        size.acknowledged(50_000, 0.01 * at)
    assert size.records == 1_500
    for at in range(1, 6):
        size.acknowledged(50_000, 1.0 + at)
    assert (size.records, size.bytes) == (500, 65_536)
