"""Records written by columns say what each of them written alone says, to the very float, whatever fits."""

import json
from itertools import groupby

from hypothesis import example, given, settings
from hypothesis import strategies as some

from gateway.city.lines import LIVE, Line
from gateway.city.packing import pack_of
from gateway.outbox.stored import Stored, each_of
from gateway.reading import STREAMS, record_id_of, report_of
from gateway.row import Row
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


def one_by_one(singles, most_bytes, content="json"):
    writer = PackWriter("meter 1", "none", lane="live", content=content, most_bytes=most_bytes)
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


def by_columns(records, most_bytes, content="json"):
    line = Line("meter 1", STREAMS.index("telemetry"), LIVE)
    for one in records:
        line.add(one)
    try:
        return pack_of(line, content=content, most_records=1_000, most_bytes=most_bytes)
    except PackError as error:
        return repr(error), 0


def in_rows(singles):
    """As they would be found just after they were stored."""
    found, first = [], 0
    for (node, quantity, unit, _), alike in groupby(singles, key=lambda one: (*one[:3], type(one[3]))):
        values, times, digests = zip(*(one[3:] for one in alike), strict=True)
        row = Row(node, quantity, unit, values, times, b"".join(digests))
        found.append(Stored.in_row(STREAMS.index("telemetry"), first, row, "none", BASE_S))
        first += len(values)
    return found


def said(pack):
    """What each record of it says, with the very number of its time."""
    records, base_s = [], None
    for record in json.loads(pack.payload):
        base_s = record.get("bt", base_s)
        assert record.get("bn", "meter 1_") == "meter 1_"
        records.append((record["n"], record.get("u"), record["v"], base_s + record.get("t", 0)))
    return records


def require_the_same(made, alone, singles, most_bytes):
    """They cut the time in other places, so that one may hold a record more."""
    pack, count = made
    if isinstance(pack, str) or isinstance(alone[0], str):
        assert made == alone
        return
    assert said(pack) == [(quantity, unit, value, at_s) for _, quantity, unit, value, at_s, _ in singles[:count]]
    assert pack.record_ids == [record_id_of("meter 1", one[-1]) for one in singles[:count]]
    assert pack.record_counts == ["1"] * count
    assert abs(count - alone[1]) <= 1
    assert count == 1 or pack.size_bytes <= most_bytes
    assert abs(pack.size_bytes - len(pack.payload) - (alone[0].size_bytes - len(alone[0].payload))) <= 96


@settings(max_examples=3000)
@given(some.lists(SINGLES, min_size=1, max_size=12), some.integers(0, 1_500))
@example([("meter 1", "t", None, 1, at_s, bytes(16)) for at_s in (2.0**36, 2.0**28 + 0.1, 2.0**36)], 10_000)
def test_a_pack_by_columns_says_what_its_reports_say(singles, most_bytes):
    fresh = in_rows(singles)
    alone = one_by_one(singles, most_bytes)
    require_the_same(by_columns(fresh, most_bytes), alone, singles, most_bytes)
    reports = [Stored.of(number, report_of(single, "none")) for number, single in enumerate(singles)]
    mixed = [pair[number % 2] for number, pair in enumerate(zip(each_of(fresh), reports, strict=True))]
    require_the_same(by_columns(mixed, most_bytes), alone, singles, most_bytes)


@settings(max_examples=100)
@given(some.lists(SINGLES, min_size=1, max_size=12), some.integers(0, 1_500))
def test_a_pack_in_cbor_is_the_pack_of_its_reports(singles, most_bytes):
    assert by_columns(in_rows(singles), most_bytes, "cbor") == one_by_one(singles, most_bytes, "cbor")


def test_milliseconds_are_told_in_few_bytes():
    singles = [("meter 1", "t", None, at, float(f"1800000000.{at:03}"), bytes(16)) for at in range(1, 700, 7)]
    pack, count = by_columns(in_rows(singles), 65_536)
    assert count == 100
    assert max(len(str(record["t"])) for record in json.loads(pack.payload)) <= len("0.999")
