"""What is packed comes out again; what is not a report body is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.link.bits import BitWriter
from drivers.link.frame import FrameError
from drivers.link.pack import JOURNAL_DAMAGED, JOURNAL_FULL, MAX_REPORTS, OPERATOR, Report, pack
from drivers.link.reasons import REASONS
from drivers.link.schema import SELF_DESCRIBING, fit, readings
from drivers.link.unpack import unpack
from tests.drivers.link.reports import U32, report_runs

LOST = st.none() | st.tuples(st.integers(0, 1000), st.sampled_from([JOURNAL_FULL, JOURNAL_DAMAGED, OPERATOR]))
OPENED = st.lists(st.tuples(U32, U32, st.booleans()), max_size=3)
CLIMATE = Report(100, 1000, 1, (2150, 5500, 101325))


def described(report: Report) -> list[tuple[str, str, int, int]]:
    return readings(report.schema, report.values)


def same_reports(sent: list[Report], arrived) -> None:
    assert [arrival.seq for arrival in arrived] == [report.seq for report in sent]
    for report, arrival in zip(sent, arrived, strict=True):
        assert (arrival.schema, readings(arrival.schema, arrival.values)) == (report.schema, described(report))


@given(report_runs(), st.integers(0, 300_000), st.integers(0, 16383), LOST, OPENED, st.integers(-30_000, 30_000))
def test_short_frame_of_this_boot_comes_out_as_it_went_in(run, wait_s, distance, lost, opened, elsewhere) -> None:
    uptime_s = run[-1].time_s + wait_s
    floor = run[0].seq - distance
    assume(floor >= (lost[0] if lost else 0))
    body, count = pack(run, uptime_s=uptime_s, floor=floor, max_len=242, floor_lost=lost, epochs_opened=opened)
    highest = run[0].seq + elsewhere
    assume(highest >= 0)
    parsed = unpack(body, full=False).resolve(highest)
    same_reports(run[:count], parsed.reports)
    assert parsed.floor == floor
    assert [arrival.age_s for arrival in parsed.reports] == [uptime_s - report.time_s for report in run[:count]]
    assert all(arrival.uptime_s is None for arrival in parsed.reports)
    assert (parsed.lost, parsed.lost_reason) == (lost or (0, None))
    assert parsed.epochs_opened == tuple(opened)
    assert (parsed.boot, parsed.uptime_s, parsed.epoch, parsed.older_boot) == (None, None, None, None)


@given(report_runs(latest_s=0x7FFFFFFF), st.integers(0, 300_000), U32, U32, st.none() | U32)
def test_full_frame_of_this_boot_comes_out_as_it_went_in(run, wait_s, boot, below, other_epoch) -> None:
    uptime_s = run[-1].time_s + wait_s
    floor = below % (run[0].seq + 1)
    body, count = pack(run, uptime_s=uptime_s, floor=floor, max_len=236, full=True, boot=boot, other_epoch=other_epoch)
    parsed = unpack(body, full=True).resolve(None)
    same_reports(run[:count], parsed.reports)
    assert (parsed.boot, parsed.uptime_s, parsed.floor, parsed.epoch) == (boot, uptime_s, floor, other_epoch)
    assert [arrival.uptime_s for arrival in parsed.reports] == [report.time_s for report in run[:count]]
    assert [arrival.age_s for arrival in parsed.reports] == [uptime_s - report.time_s for report in run[:count]]


@given(report_runs(), U32, U32, st.booleans(), st.integers(0, 16383), st.none() | U32)
def test_reports_of_an_older_boot_carry_its_clock(run, uptime_s, older_boot, full, distance, began_s) -> None:
    floor = max(0, run[0].seq - distance)
    said = {"full": full, "boot": 9, "older_boot": older_boot, "began_s": began_s}
    body, count = pack(run, uptime_s=uptime_s, floor=floor, max_len=236, **said)
    parsed = unpack(body, full=full).resolve(run[0].seq)
    same_reports(run[:count], parsed.reports)
    assert (parsed.older_boot, parsed.age_s, parsed.floor, parsed.began_s) == (older_boot, None, floor, began_s)
    assert [arrival.uptime_s for arrival in parsed.reports] == [report.time_s for report in run[:count]]
    assert all(arrival.age_s is None for arrival in parsed.reports)


@given(report_runs(), st.integers(60, 242))
def test_a_frame_holds_the_longest_start_that_fits(run, max_len: int) -> None:
    uptime_s = run[-1].time_s
    if len(pack(run[:1], uptime_s=uptime_s, floor=run[0].seq, max_len=255)[0]) > max_len:
        with pytest.raises(FrameError, match="oversized"):
            pack(run, uptime_s=uptime_s, floor=run[0].seq, max_len=max_len)
        return
    body, count = pack(iter(run), uptime_s=uptime_s, floor=run[0].seq, max_len=max_len)
    assert len(body) <= max_len
    alone, _ = pack(run[:count], uptime_s=uptime_s, floor=run[0].seq, max_len=max_len)
    assert body == alone  # nothing of the report that did not fit is left behind
    if count < len(run):
        longer, more = pack(run[: count + 1], uptime_s=uptime_s, floor=run[0].seq, max_len=255)
        assert more == count or len(longer) > max_len


def test_a_frame_holds_no_more_than_64_reports() -> None:
    run = [Report(i, i, 4, (0,)) for i in range(100)]
    assert pack(run, uptime_s=100, floor=0, max_len=242)[1] == MAX_REPORTS


@pytest.mark.parametrize(
    "second",
    [
        Report(100, 1060, 1, (0, 0, 101325)),  # the same sequence again
        Report(99, 1060, 1, (0, 0, 101325)),
        Report(230, 1060, 1, (0, 0, 101325)),  # gap of 130
        Report(101, 999, 1, (0, 0, 101325)),  # time goes back
        Report(101, 2001, 1, (0, 0, 101325)),  # younger than the transmission
    ],
)
def test_a_frame_ends_before_a_report_it_cannot_link(second: Report) -> None:
    assert pack([CLIMATE, second], uptime_s=2000, floor=100, max_len=242)[1] == 1


@pytest.mark.parametrize(
    "report, options, reason",
    [
        (CLIMATE, {"max_len": 8}, "oversized"),
        (CLIMATE, {"floor": 101}, "out_of_range"),
        (CLIMATE, {"uptime_s": 999}, "out_of_range"),
        (Report(20_000, 1000, 1, (0, 0, 101325)), {"floor": 3616}, "out_of_range"),  # 16384 above the floor
        (Report(100, 1000, 1, (8501, 0, 101325)), {}, "out_of_range"),
        (Report(100, 1000, 1, (0, 0)), {}, "out_of_range"),
        (Report(100, 1000, 9, (0,)), {}, "out_of_range"),
        (Report(100, 1000, 31, [["n" * 250, "m", 0, 0]]), {}, "out_of_range"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(report: Report, options, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        pack([report], **{"uptime_s": 2000, "floor": 100, "max_len": 242} | options)
    assert caught.value.reason == reason


def test_no_report_is_no_frame() -> None:
    with pytest.raises(ValueError, match="at least one"):
        pack([], uptime_s=0, floor=0, max_len=242)


EDGES_OF_Z = [0, 1, 2, 7, 8, 9, 71, 72, 73, 1095, 1096, 1097, 65535, 131069, 131070]
AGES_S = [0, 127, 128, 4095, 4096, (1 << 18) - 1, 1 << 18, (1 << 32) - 2]
DISTANCES = [0, 1, 15, 16, 1023, 1024, 16383]
STEPS_S = [0, 1, 2, 3, 255, 256, (1 << 20) - 1, 1 << 20, (1 << 31) - 1]


@pytest.mark.parametrize("z", EDGES_OF_Z)
def test_delta_of_every_width_comes_out_as_it_went_in(z: int) -> None:
    """Water jumps from one end of its range, by zig-zag z; the climate beside it stays, or raw would be shorter."""
    change = -((z + 1) // 2) if z & 1 else z // 2
    calm = (2150, 5500, 101325)
    before = (*calm, 32767 if change < 0 else -32768)
    after = (*calm, before[3] + change)
    run = [Report(0, 0, 5, before), Report(1, 0, 5, after), Report(2, 0, 5, after)]
    body, count = pack(run, uptime_s=0, floor=0, max_len=242)
    assert count == 3
    same_reports(run, unpack(body, full=False).resolve(0).reports)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("age_s", AGES_S)
def test_place_at_the_edges_of_its_forms_comes_out_as_it_went_in(age_s: int, distance: int, full: bool) -> None:
    report = Report(20_000, 1, 4, (0,))
    body, _ = pack([report], uptime_s=1 + age_s, floor=20_000 - distance, max_len=242, full=full)
    parsed = unpack(body, full=full).resolve(20_000)
    assert (parsed.age_s, parsed.floor, parsed.floor_distance) == (age_s, 20_000 - distance, distance)


@pytest.mark.parametrize("before_s", STEPS_S)
@pytest.mark.parametrize("step_s", STEPS_S)
def test_step_at_the_edges_of_its_forms_comes_out_as_it_went_in(before_s: int, step_s: int) -> None:
    run = [Report(0, 0, 4, (0,)), Report(1, before_s, 4, (0,)), Report(2, before_s + step_s, 4, (0,))]
    parsed = unpack(pack(run, uptime_s=0, floor=0, max_len=242, older_boot=1)[0], full=False)
    assert [arrival.uptime_s for arrival in parsed.reports] == [0, before_s, before_s + step_s]


def bits(*fields: tuple[int, int]) -> bytes:
    """Fields of (value, width), as one body."""
    out = BitWriter(255)
    for value, width in fields:
        out.write(value, width)
    return out.to_bytes()


CLIMATE_RAW = ((5500 + 6150 * 10001, 27), (71325, 17))
PLACE = ((100, 16), (0b00, 2), (60, 7))  # sequence, at the floor, 60 s old
FIRST = ((0, 1), (1, 5), *PLACE, *CLIMATE_RAW)  # 75 bits
WATER = ((0, 1), (4, 5), *PLACE, (0x8000, 16))  # 47 bits
FULL = ((1, 32), (1000, 32))


@pytest.mark.parametrize(
    "body, full, reason",
    [
        (b"", False, "truncated"),
        (bits(*FIRST)[:-1], False, "truncated"),
        (bits((0, 1), (0, 5), *PLACE), False, "unknown_schema"),
        (bits((0, 1), (9, 5), *PLACE), False, "unknown_schema"),
        (bits((0, 1), (28, 5), *PLACE), False, "unknown_schema"),
        (bits((1, 1), (1, 5), (0x40, 8), *PLACE, *CLIMATE_RAW), False, "unknown_extension"),
        (bits((1, 1), (1, 5), (0x84, 8), *PLACE, *CLIMATE_RAW), False, "unknown_extension"),
        (bits((1, 1), (1, 5), (0, 8), *PLACE, *CLIMATE_RAW), False, "bad_extension"),  # no bit set
        (bits((1, 1), (1, 5), (1, 8), (1, 32), *PLACE, *CLIMATE_RAW), False, "bad_extension"),  # short, other epoch
        (bits((1, 1), (1, 5), (0x12, 8), (0, 32), (0, 32), (0, 32), (1, 16)), False, "bad_extension"),  # two ages
        (bits((1, 1), (1, 5), (8, 8), (0, 4), *PLACE, *CLIMATE_RAW), False, "bad_extension"),  # no epoch opened
        (bits((0, 1), (1, 5), *PLACE, (12501 * 10001, 27), (0, 17)), False, "out_of_range"),
        (bits((0, 1), (1, 5), *PLACE, (0, 27), (80001, 17)), False, "out_of_range"),
        (bits(*FIRST, (0, 1), (1, 1)), False, "bad_padding"),
        (bits(*FIRST) + b"\0", False, "bad_padding"),  # a whole byte of it
        (bits(*WATER, (1, 1), (0b10, 2), (0b00, 2), (0, 1), (0, 16)), False, "bad_time"),  # step of -1 s
        (bits(*WATER, (1, 1), (0b11, 2), (0, 2), (0b10, 2), (61, 8), (0, 17)), False, "bad_time"),  # not measured yet
        (bits(*FULL, (0, 1), (4, 5), (9, 32), (10, 32), (0, 8), (0, 16)), True, "bad_sequence"),  # floor above it
        (bits((1, 32), (9, 32), (0, 1), (4, 5), (9, 32), (9, 32), (10, 8), (0, 16)), True, "bad_time"),  # before boot
        (bits(*WATER, *[((0b10), 2), (0, 1), (0, 16)] * 64), False, "too_many_reports"),
        (bits((0, 1), (1, 5), *PLACE, *CLIMATE_RAW, (0b100, 3), (1, 1), (0b111, 3), (0x3FFFF, 18)), False, "truncated"),
        (bits(*WATER, (0b10, 2), (0, 1)), False, "truncated"),  # a report follows, says the last bit but two
        (bits((0, 1), (4, 5), *PLACE, (0, 16), (0b10, 2), (1, 1), (0, 1), (1, 3)), False, "out_of_range"),  # -32769 mm
        (bits((0, 1), (31, 5), *PLACE, (1, 8), (0x80, 8)), False, "bad_cbor"),  # no value
        (bits((0, 1), (31, 5), *PLACE, (1, 8), (0x00, 8)), False, "bad_cbor"),
        (bits((0, 1), (31, 5), *PLACE, (2, 8), (0x8100, 16)), False, "bad_cbor"),
        (bits((0, 1), (31, 5), *PLACE, (8, 8), (0x81846174616DF500, 64)), False, "bad_cbor"),  # exponent: true
    ],
)
def test_what_is_not_a_body_is_refused_by_name(body: bytes, full: bool, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        unpack(body, full=full)
    assert caught.value.reason == reason
    assert reason in REASONS


def test_floor_below_zero_is_a_bad_sequence() -> None:
    body = bits((0, 1), (4, 5), (5, 16), (0b01, 2), (6, 10), (0, 12), (0, 16))  # 6 above its floor, says number 5
    parsed = unpack(body, full=False)
    with pytest.raises(FrameError) as caught:
        parsed.resolve(0)
    assert caught.value.reason == "bad_sequence"


def test_more_lost_than_ever_issued_is_a_bad_sequence() -> None:
    body, _ = pack([CLIMATE], uptime_s=1000, floor=100, max_len=242, floor_lost=(101, JOURNAL_FULL))
    with pytest.raises(FrameError) as caught:
        unpack(body, full=False).resolve(100)
    assert caught.value.reason == "bad_sequence"


def test_padding_of_seven_bits_is_taken() -> None:
    body = bits((0, 1), (4, 5), (0, 16), (0, 9), (0, 16), (0b100, 3), (0, 16), (0b100, 3), (0, 16))
    assert len(body) * 8 - 85 == 3
    assert len(unpack(body, full=False).reports) == 3
    assert len(unpack(bits(*WATER), full=False).reports) == 1


@pytest.mark.parametrize(
    "mantissas, schema",
    [
        ({"temperature": 2150, "humidity": 5500, "pressure": 101325}, 1),
        ({"pm1": 1, "pm2_5": 2, "pm10": 65535}, 2),
        ({"pm1": 1, "pm2_5": 2, "pm10": 3, "temperature": 0, "humidity": 0, "pressure": 30000}, 3),
        ({"water_level": -5}, 4),
        ({"battery": 3700}, 7),
        ({"battery": -1}, SELF_DESCRIBING),
        ({"temperature": 8501, "humidity": 5500, "pressure": 101325}, SELF_DESCRIBING),
        ({"temperature": 2150}, SELF_DESCRIBING),  # no schema has it alone
    ],
)
def test_readings_go_into_the_schema_that_has_exactly_these_quantities(mantissas, schema: int) -> None:
    chosen, values = fit(mantissas)
    assert chosen == schema
    assert {name: mantissa for name, _, _, mantissa in readings(chosen, values)} == mantissas
    body, _ = pack([Report(0, 0, chosen, values)], uptime_s=0, floor=0, max_len=242)
    assert described(unpack(body, full=False).resolve(0).reports[0]) == readings(chosen, values)
