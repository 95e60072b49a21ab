"""Records written by columns are the very pack that each of them written alone makes, whatever fits."""

from hypothesis import example, given, settings
from hypothesis import strategies as some

from gateway.city.lines import LIVE, Line
from gateway.city.packing import pack_of
from gateway.outbox.batch import Stored, just_stored
from gateway.reading import STREAMS, report_of
from gateway.senml import PackError, PackWriter

BASE_S = 1_800_000_000.25
TIMES = some.one_of(
    some.integers(0, 5_000).map(lambda ms: BASE_S + ms / 1000),
    some.integers(-5_000, 0).map(lambda ms: BASE_S + ms / 1000),
    some.floats(2.0**28, 2.0**36),
    some.floats(BASE_S - 1, BASE_S + 1),
    some.just(BASE_S),
)
SINGLES = some.tuples(
    some.just("meter 1"),
    some.sampled_from(["temperature", "room/temp"]),
    some.sampled_from(["Cel", "J", None]),
    some.one_of(some.integers(-(2**63), 2**63 - 1), some.floats(), some.sampled_from([21.0, 0.5, -0.0, 1e16])),
    TIMES,
    some.binary(min_size=16, max_size=16),
)


def one_by_one(singles, most_bytes):
    writer = PackWriter("meter 1", "none", lane="live", most_bytes=most_bytes)
    count = 0
    for single in singles:
        try:
            if not writer.add(report_of(single, "none")):
                break
        except PackError as error:
            if not count:
                return repr(error), 0
            break
        count += 1
    return writer.pack(), count


def by_columns(records, most_bytes):
    line = Line("meter 1", STREAMS.index("telemetry"), LIVE)
    line.waiting.extend(records)
    try:
        return pack_of(line, content="json", most_records=1_000, most_bytes=most_bytes)
    except PackError as error:
        return repr(error), 0


@settings(max_examples=3000)
@given(some.lists(SINGLES, min_size=1, max_size=12), some.integers(0, 1_500))
@example([("meter 1", "t", None, 1, at_s, bytes(16)) for at_s in (2.0**36, 2.0**28 + 0.1, 2.0**36)], 10_000)
def test_a_pack_by_columns_is_the_pack_of_its_reports(singles, most_bytes):
    fresh = just_stored(STREAMS.index("telemetry"), 0, singles, "none", BASE_S)
    alone = one_by_one(singles, most_bytes)
    assert by_columns(fresh, most_bytes) == alone
    said = [Stored.of(number, report_of(single, "none")) for number, single in enumerate(singles)]
    mixed = [pair[number % 2] for number, pair in enumerate(zip(fresh, said, strict=True))]
    assert by_columns(mixed, most_bytes) == alone
