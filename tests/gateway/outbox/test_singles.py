"""Records that wait by columns: the same records, wherever they are cut."""

from hypothesis import given
from hypothesis import strategies as some

from gateway.outbox.singles import Singles
from gateway.outbox.stored import Stored, count_of, each_of
from gateway.reading import STREAMS
from gateway.row import Columns

TELEMETRY = STREAMS.index("telemetry")
SINGLES = some.tuples(
    some.just("meter"),
    some.sampled_from(["temp", "rh"]),
    some.sampled_from(["Cel", None]),
    some.floats(allow_nan=False) | some.integers(-(1 << 53), 1 << 53) | some.sampled_from([0, 0.0, -0.0]),
    some.floats(0, 2e9),
    some.binary(min_size=16, max_size=16),
)


def columns_of(records):
    columns = Columns([], [], [], [], [])
    assert all(one.fill(columns) for one in records)
    return repr([*columns[:4], b"".join(columns.digests)])


@given(some.lists(SINGLES, min_size=1, max_size=20), some.lists(some.integers(1, 20), max_size=4))
def test_parts_say_the_same_and_weigh_as_much(singles, cuts):
    them, expected = Singles(), Columns([], [], [], [], [])
    for at, single in enumerate(singles):
        assert Singles.takes(single)
        them.add((3 * at + 7) * len(STREAMS) + TELEMETRY, single)
        expected.add_single(single)
    whole = Stored.several("meter", "mtls", them)
    ends = sorted({*(min(cut, whole.span) for cut in cuts), whole.span})
    parts = [whole.part(at, end) for at, end in zip([0, *ends], ends, strict=False)]
    assert columns_of(parts) == columns_of([whole]) == repr([*expected[:4], b"".join(expected.digests)])
    assert repr([one.single for one in each_of(parts)]) == repr(singles)
    assert [one.ordinal for one in each_of(parts)] == [3 * at + 7 for at in range(len(singles))]
    assert whole.runs == [(3 * at + 7, 3 * at + 8) for at in range(len(singles))]
    assert {one.assurance for one in each_of(parts)} == {"mtls"}
    assert (sum(one.weight for one in parts), count_of(parts)) == (whole.weight, whole.span)
    assert sum(one.size for one in each_of(parts)) == whole.size


def test_a_whole_number_that_no_float_holds_is_not_taken():
    assert not Singles.takes(("meter", "count", None, (1 << 53) + 1, 0.0, bytes(16)))
