"""The stored form of a report: every report comes back as itself, small or larger than a page."""

from hypothesis import given, settings
from hypothesis import strategies as some

from gateway.outbox import body
from gateway.outbox.entries import Moved
from gateway.outbox.files import Files
from gateway.outbox.log import Log
from gateway.outbox.page import ENTRY_BYTES, PAGE
from gateway.outbox.reader import Reader
from gateway.reading import Pending, Reading, Report, report_of
from gateway.row import Row

NAMES = some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=128)
NUMBERS = some.floats(allow_nan=False, allow_infinity=False)
VALUES = some.one_of(
    some.none(),
    some.booleans(),
    NUMBERS,
    some.integers(-(10**30), 10**30),
    some.text(some.characters(exclude_categories=["Cs"]), max_size=4096),
    some.binary(max_size=4096),
)
READINGS = some.builds(
    Reading,
    quantity=NAMES,
    value=VALUES,
    unit=some.none() | NAMES,
    total=some.none() | NUMBERS,
    at_s=some.none() | NUMBERS,
)


@some.composite
def reports(draw):
    node = draw(NAMES)
    numbers = draw(some.none() | some.tuples(some.integers(0, 2**32 - 1), some.integers(0, 2**32 - 1)))
    ids = [f"{node}/h/{draw(some.binary(min_size=16, max_size=16)).hex()}", draw(NAMES)]
    if numbers:
        ids.append(f"{node}/{numbers[0]}/{numbers[1]}")
    return Report(
        node=node,
        record_id=draw(some.sampled_from(ids)),
        measured_at_s=draw(NUMBERS),
        readings=tuple(draw(some.lists(READINGS, max_size=40))),
        epoch=numbers[0] if numbers else None,
        seq=numbers[1] if numbers else None,
        time_quality=draw(some.sampled_from(body.QUALITIES)),
        time_error_s=draw(some.none() | NUMBERS),
        assurance=draw(some.sampled_from(body.ASSURANCES)),
        kind=draw(some.sampled_from(body.KINDS)),
        subject=draw(some.none() | NAMES),
        pending=draw(some.none() | some.builds(Pending, some.integers(0, 9), not_before_s=some.none() | NUMBERS)),
    )


@settings(max_examples=60)
@given(made=some.lists(reports(), min_size=1, max_size=12))
def test_any_reports_come_back_from_disk_as_they_were(tmp_path_factory, made):
    folder = tmp_path_factory.mktemp("log")
    log = Log(folder, Files(), segment_bytes=1 << 20)
    log.open()
    frame = log.frame()
    for number, report in enumerate(made):
        frame.put_record(report, number % 4, is_produced=False, now_s=1000.0 + number)
    log.commit(frame)
    log.close()
    log.open()
    reader = Reader(log, Moved())
    for stream in range(4):
        expected = made[stream::4]
        found, unreadable = reader.read(stream, [(0, len(expected))], most=100)
        assert [one.report for one in found] == expected
        assert unreadable == []
        assert [round(one.stored_at_s) for one in found] == [1000 + n for n in range(stream, len(made), 4)]
    log.close()


def test_a_third_partys_reading_takes_some_fifty_bytes():
    report = Report(
        node="meter-17",
        record_id="meter-17/h/000102030405060708090a0b0c0d0e0f",
        measured_at_s=1_800_000_000.25,
        readings=(Reading(quantity="temperature", value=21.5, unit="Cel"),),
    )
    assert len(body.encode(report, body.Names(), 250)) + ENTRY_BYTES == 55


def test_a_record_larger_than_a_page_is_cut_and_found_again_after_smaller_ones(tmp_path):
    log = Log(tmp_path, Files(), segment_bytes=256 << 10)
    log.open()
    large = Report(
        node="m",
        record_id="m/c/1",
        measured_at_s=1.0,
        readings=tuple(Reading(quantity=f"q{n % 7}", value="x" * 4000) for n in range(16)),
    )
    many = Report(
        node="m",
        record_id="m/c/2",
        measured_at_s=1.0,
        readings=tuple(Reading(quantity=f"{n:0128}", value=n) for n in range(256)),
    )
    small = Report(node="m", record_id="m/c/3", measured_at_s=1.0, readings=())
    order = [small, large, small, many, large, small]
    frame = log.frame()
    for report in order:
        frame.put_record(report, 2, is_produced=False, now_s=5.0)
    assert log.commit(frame) % PAGE == 0
    found, _ = Reader(log, Moved()).read(2, [(0, 6)], most=10)
    assert [one.report for one in found] == order
    assert Reader(log, Moved()).read(2, [(4, 5)], most=10)[0][0].report == large
    log.close()


@given(
    node=NAMES,
    quantity=NAMES,
    unit=some.none() | NAMES,
    value=NUMBERS | some.integers(-(2**63), 2**63 - 1),
    at_s=NUMBERS,
    digest=some.binary(min_size=16, max_size=16),
    assurance=some.sampled_from(body.ASSURANCES),
)
def test_the_shortest_form_has_the_bytes_of_the_report_and_comes_back(
    node, quantity, unit, value, at_s, digest, assurance
):
    single = (node, quantity, unit, value, at_s, digest)
    names, others = body.Names(), body.Names()
    row = Row(node, quantity, unit, (value,), (at_s,), digest)
    flags = body.flags_of_row(assurance)
    (written,), _ = body.encode_rows([row], (0, 0), names, 7, flags, most=255, room=4_000, each=body.SINGLE_BYTES)
    assert written == body.encode(report_of(single, assurance), others, 7)
    assert names.places == others.places
    assert repr(body.decode_single(written, list(names.places), 0)) == repr(single)
    assert body.decode(written, list(names.places)) == report_of(single, assurance)
