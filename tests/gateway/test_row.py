"""Records in rows: the same bytes on disk as one by one, and cut anywhere they stay the same records."""

from hypothesis import given, settings
from hypothesis import strategies as some

from gateway.outbox.frame import Frame
from gateway.outbox.stored import Stored, count_of, each_of
from gateway.reading import STREAMS
from gateway.row import Row

TELEMETRY = STREAMS.index("telemetry")
NOW_S = 1_800_000_000.0


@some.composite
def rows(draw):
    """One row; many that are long make several pages, and long names fill a page early."""
    count = draw(some.integers(1, 300))
    values = draw(some.sampled_from([[1] * count, [0.5] * count, list(range(count))]))
    digests = b"".join(at.to_bytes(16, "big") for at in range(count))
    times = [NOW_S + at / 8 for at in range(count)]
    node = draw(some.sampled_from(["meter-1", "meter-2", "m" * 128]))
    quantity = draw(some.sampled_from(["temp", "q" * 128]))
    return Row(node, quantity, draw(some.sampled_from(["Cel", None])), values, times, digests)


@settings(max_examples=60, deadline=None)
@given(some.lists(rows(), min_size=1, max_size=6), some.sampled_from(["none", "mtls"]))
def test_a_row_has_the_bytes_of_its_records(found, assurance):
    together, alone = Frame([0, 0, 7, 0]), Frame([0, 0, 7, 0])
    size = together.put_rows(found, TELEMETRY, assurance, now_s=NOW_S)
    reports = [report for row in found for report in row.reports(assurance)]
    assert size == sum(alone.put_record(one, TELEMETRY, is_produced=False, now_s=NOW_S) for one in reports)
    assert together.next == alone.next
    assert together.to_bytes(3, 99) == alone.to_bytes(3, 99)


@given(rows(), some.lists(some.integers(0, 300), max_size=5))
def test_parts_are_the_same_records_and_weigh_as_much(row, cuts):
    whole = Stored.in_row(TELEMETRY, 5, row, "none", NOW_S)
    ends = sorted({*(min(cut, whole.span) for cut in cuts if cut), whole.span})
    parts = [whole.part(at, end) for at, end in zip([0, *ends], ends, strict=False)]
    assert each_of(parts) == each_of([whole])
    assert [one.report for one in each_of([whole])] == list(row.reports("none"))
    assert count_of(parts) == whole.span == parts[-1].run[1] - 5
    assert sum(one.weight for one in parts) == whole.weight
    assert sum(one.size for one in parts) == whole.size
