"""The clear part of a frame: tables of bytes, refusals, and counters from their low 16 bits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link import frame
from drivers.link.frame import ACK, REPORT, URGENT, FrameError, nearest, parse, reconstruct_counter

TAG = bytes(8)
COUNTERS = st.integers(0, 0xFFFFFFFF)


@pytest.mark.parametrize(
    "header, expected",
    [
        (frame.uplink_header(REPORT, 0xBEEF, 0x12345678), "41beef5678"),
        (frame.uplink_header(URGENT, 0xBEEF, 0x12345678), "42beef5678"),
        (frame.uplink_header(REPORT, 0xBEEF, 0x12345678, epoch=3), "51beef0000000312345678"),
        (frame.downlink_header(0xBEEF, 0x12345678, 0xABCDEF01), "43beef78ef01"),
        (frame.downlink_header(0xBEEF, 0x12345678, 0xABCDEF01, full=True), "53beef78abcdef01"),
    ],
)
def test_header_has_the_bytes_of_the_document(header: bytes, expected: str) -> None:
    assert header.hex() == expected


def test_overhead_is_header_and_tag() -> None:
    assert len(frame.uplink_header(REPORT, 0, 0)) + 8 == frame.UPLINK_OVERHEAD == 13
    assert len(frame.uplink_header(REPORT, 0, 0, epoch=1)) + 8 == frame.FULL_UPLINK_OVERHEAD == 19
    assert len(frame.downlink_header(0, 0, 0)) + 8 == frame.DOWNLINK_OVERHEAD == 14
    assert len(frame.downlink_header(0, 0, 0, full=True)) + 8 == frame.FULL_DOWNLINK_OVERHEAD == 16


@given(st.sampled_from([REPORT, URGENT]), st.integers(0, 0xFFFF), COUNTERS, st.none() | COUNTERS)
def test_uplink_header_is_read_as_written(kind: int, address: int, counter: int, epoch: int | None) -> None:
    header = frame.uplink_header(kind, address, counter, epoch=epoch)
    parsed = frame.parse_uplink(header + TAG)
    assert (parsed.kind, parsed.address, parsed.epoch, parsed.is_full) == (kind, address, epoch, epoch is not None)
    assert parsed.counter == (counter & 0xFFFF if epoch is None else counter)
    assert (parsed.head, parsed.header_len, parsed.answers) == (header[:3], len(header), None)


@given(st.integers(0, 0xFFFF), COUNTERS, COUNTERS, st.booleans())
def test_downlink_header_is_read_as_written(address: int, answers: int, counter: int, full: bool) -> None:
    header = frame.downlink_header(address, answers, counter, full=full)
    parsed = frame.parse_downlink(header + TAG)
    assert (parsed.kind, parsed.address, parsed.epoch, parsed.is_full) == (ACK, address, None, full)
    assert parsed.counter == (counter if full else counter & 0xFFFF)
    assert (parsed.answers, parsed.header_len) == (answers & 0xFF, len(header))


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "truncated"),
        (b"\x41", "truncated"),
        (bytes.fromhex("41beef5678") + bytes(7), "truncated"),  # a tag less one byte
        (bytes.fromhex("51beef0000000312345678") + bytes(7), "truncated"),
        (bytes.fromhex("43beef78ef01") + bytes(7), "truncated"),
        (bytes.fromhex("41beef5678") + bytes(251), "oversized"),
        (b"\x01" + bytes(20), "unknown_version"),  # version 0
        (b"\x81" + bytes(20), "unknown_version"),  # version 2
        (b"\x61" + bytes(20), "unknown_version"),  # reserved bit
        (b"\x40" + bytes(20), "unknown_kind"),  # kind 0 is invalid
        (b"\x4f" + bytes(20), "unknown_kind"),
        (b"\x44" + bytes(20), "unsupported_kind"),  # join
        (b"\x45" + bytes(20), "unsupported_kind"),  # beacon
        (b"\x46" + bytes(20), "unsupported_kind"),  # fragment
        (bytes.fromhex("47beef78ef01") + bytes(7), "truncated"),  # command
    ],
)
def test_unusable_frame_is_refused_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        parse(data)
    assert caught.value.reason == reason


def test_a_frame_of_the_other_direction_is_refused() -> None:
    up, down = frame.uplink_header(REPORT, 1, 1) + TAG, frame.downlink_header(1, 1, 1) + TAG
    for read, data in ((frame.parse_downlink, up), (frame.parse_uplink, down)):
        with pytest.raises(FrameError) as caught:
            read(data)
        assert caught.value.reason == "wrong_direction"


def test_associated_data_holds_what_the_wire_leaves_out() -> None:
    head = bytes.fromhex("41beef")
    assert frame.aad_uplink(head, 3, 0x12345678).hex() == "41beef0000000312345678"
    assert frame.aad_downlink(head, 3, 5, 0x12345678).hex() == "41beef000000030000000512345678"


@pytest.mark.parametrize(
    "low16, highest, counter",
    [
        (0, 0, 0),
        (5, 0, 5),
        (0xFFFF, 0, 0xFFFF),  # there is nothing below 0
        (0xFFFF, 0x10000, 0xFFFF),  # one late
        (0xFC00, 0x10000, 0xFC00),  # 1024 late
        (0xFBFF, 0x10000, 0x1FBFF),  # 1025 late: taken for a new one
        (0x0001, 0xFFFF, 0x10001),
        (0x5678, 0x12345678, 0x12345678),
    ],
)
def test_counter_is_the_first_from_1024_below_the_highest(low16: int, highest: int, counter: int) -> None:
    assert reconstruct_counter(low16, highest) == counter


@given(highest=st.integers(0, 0xF0000000), ahead=st.integers(-1024, 64511))
def test_counter_is_found_64511_ahead_and_1024_behind(highest: int, ahead: int) -> None:
    counter = highest + ahead
    if counter >= 0:
        assert reconstruct_counter(counter & 0xFFFF, highest) == counter


@pytest.mark.parametrize(
    "low16, around, expected",
    [
        (0x0000, 0x8000, 0x0000),  # 32768 behind
        (0xFFFF, 0x8000, 0xFFFF),  # 32767 ahead
        (0x0000, 0x8001, 0x10000),  # 32769 behind would be too far
        (0x8000, 0x0000, 0x8000),  # there is nothing below 0
        (0x8001, 0x0001, 0x8001),
    ],
)
def test_sequence_lies_between_32768_behind_and_32767_ahead(low16: int, around: int, expected: int) -> None:
    assert nearest(low16, around) == expected


@given(around=st.integers(0, 0xF0000000), away=st.integers(-32768, 32767))
def test_sequence_is_found_32768_either_way(around: int, away: int) -> None:
    if around + away >= 0:
        assert nearest((around + away) & 0xFFFF, around) == around + away


@given(low16=st.integers(0, 0xFFFF), around=st.integers(0, 0xFFFFFFFF))
def test_a_sequence_is_never_negative(low16: int, around: int) -> None:
    assert nearest(low16, around) >= 0
