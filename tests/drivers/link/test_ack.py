"""Acks: bytes, refusals, and what a node may forget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.ack import bitmap, pack_ack, unpack_ack
from drivers.link.frame import FrameError


@pytest.mark.parametrize(
    "body, expected",
    [
        (pack_ack(0x10005, 0b101), "0000050005"),
        (pack_ack(0x10005, 0b101, wide=True), "02000100050005"),
        (pack_ack(7, 0, epoch=2), "010000000200070000"),
        (pack_ack(7, 0xFFFF, wide=True, epoch=2, utc_s=0x65000000), "070000000200000007ffff65000000"),
    ],
)
def test_ack_has_the_bytes_of_the_document(body: bytes, expected: str) -> None:
    assert body.hex() == expected


@given(
    base=st.integers(0, 0xFFFFFFFF),
    bits=st.integers(0, 0xFFFF),
    wide=st.booleans(),
    epoch=st.none() | st.integers(0, 0xFFFFFFFF),
    utc_s=st.none() | st.integers(0, 0xFFFFFFFF),
)
def test_ack_is_read_as_written(base: int, bits: int, wide: bool, epoch: int | None, utc_s: int | None) -> None:
    ack = unpack_ack(pack_ack(base, bits, wide=wide, epoch=epoch, utc_s=utc_s))
    assert (ack.bitmap, ack.epoch, ack.utc_s) == (bits, epoch, utc_s)
    assert ack.resolve(base).base == base


@pytest.mark.parametrize(
    "body, reason",
    [
        ("", "truncated"),
        ("00", "truncated"),
        ("00000500", "truncated"),
        ("000005000500", "oversized"),
        ("0200010005000500", "oversized"),
        ("08000500050000", "unknown_flag"),
        ("80", "unknown_flag"),
    ],
)
def test_unusable_ack_is_refused_by_name(body: str, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        unpack_ack(bytes.fromhex(body))
    assert caught.value.reason == reason


def test_ack_holds_what_lies_below_base_or_has_its_bit() -> None:
    ack = unpack_ack(pack_ack(100, bitmap(100, {101, 103, 116}))).resolve(120)
    assert [seq for seq in range(90, 125) if ack.holds(seq)] == [*range(90, 100), 101, 103, 116]


@pytest.mark.parametrize(
    "base, bits, next_seq, is_beyond",
    [
        (100, 0, 100, False),  # all is on disk
        (101, 0, 100, True),
        (98, 0b1, 100, False),  # 99 is the last one issued
        (98, 0b10, 100, True),  # 100 was never issued
        (0, 0x8000, 17, False),
        (0, 0x8000, 16, True),
        (0, 0, 0, False),
    ],
)
def test_ack_of_sequences_never_issued_is_seen(base: int, bits: int, next_seq: int, is_beyond: bool) -> None:
    assert unpack_ack(pack_ack(base, bits)).resolve(next_seq).is_beyond(next_seq) == is_beyond


@given(next_seq=st.integers(0, 0xF0000000), behind=st.integers(0, 32768))
def test_narrow_base_is_found_32768_behind(next_seq: int, behind: int) -> None:
    if behind <= next_seq:
        base = next_seq - behind
        assert unpack_ack(pack_ack(base, 0)).resolve(next_seq).base == base
