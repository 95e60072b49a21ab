"""The small CBOR against RFC 8949 appendix A: what is in the subset is read and written, the rest refused."""

from __future__ import annotations

import json

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.cbor import decode, encode
from drivers.link.frame import FrameError
from tests.peers.micropython import check_micropython
from tests.peers.wasm32 import ROOT, check_wasm32, repository_files

VECTORS = json.loads((ROOT / "tests/vectors/rfc8949_appendix_a.json").read_text())["vectors"]


def is_in_subset(vector) -> bool:
    """Not: indefinite lengths ("roundtrip" is false for these), tags (0xc0 on), floats, simple values but three."""
    first = int(vector["hex"][:2], 16)
    return vector["roundtrip"] and (first < 0xC0 or first in (0xF4, 0xF5, 0xF6))


TAKEN = [vector for vector in VECTORS if is_in_subset(vector)]
REFUSED = [vector["hex"] for vector in VECTORS if not is_in_subset(vector)]


def meaning_of(vector):
    """The value of a vector, by the reference decoder where JSON has no such value (byte strings, integer keys)."""
    return cbor2.loads(bytes.fromhex(vector["hex"]))


ON_A_BOARD = f"""
from drivers.link.cbor import decode, encode
from drivers.link.frame import FrameError
for text in {[vector["hex"] for vector in TAKEN]!r}:
    again = encode(decode(bytes.fromhex(text))).hex()
    assert len(again) == len(text) and (again == text or text[:2] in ("a5", "a2")), (text, again)  # maps have no order
for text in {REFUSED!r}:
    try:
        decode(bytes.fromhex(text))
    except FrameError as error:
        assert error.reason == "bad_cbor"
    else:
        raise AssertionError(text)
print("ok")
"""


def test_the_appendix_is_split_where_the_subset_ends() -> None:
    assert (len(TAKEN), len(REFUSED)) == (37, 45)


@pytest.mark.parametrize("vector", TAKEN, ids=lambda vector: vector["hex"][:20])
def test_example_is_read_and_written_as_the_standard_has_it(vector) -> None:
    encoded = bytes.fromhex(vector["hex"])
    assert decode(encoded) == meaning_of(vector)
    assert encode(decode(encoded)) == encoded


@pytest.mark.parametrize("encoded", REFUSED)
def test_example_outside_the_subset_is_bad_cbor(encoded: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode(bytes.fromhex(encoded))
    assert caught.value.reason == "bad_cbor"


def test_micropython_reads_and_writes_the_same() -> None:
    assert check_micropython(ON_A_BOARD) == "ok\n"


def test_32_bits_read_and_write_the_same(wasm32) -> None:
    assert check_wasm32(ON_A_BOARD, repository_files("drivers/link")) == "ok\n"


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "18",  # length byte missing
        "6261",  # text of two bytes, one there
        "61ff",  # text that is not UTF-8
        "9bffffffffffffffff",  # array of 2^64 - 1 items: refused before memory is asked for
        "bb00000000ffffffff",
        "0000",  # a second value
        "81" * 9 + "00",  # nested too deep
        "a2010101",  # map cut
        "a201010102",  # key twice
        "a18000",  # array as a key
        "1c",  # reserved length
    ],
)
def test_malformed_bytes_are_bad_cbor(encoded: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode(bytes.fromhex(encoded))
    assert caught.value.reason == "bad_cbor"


@pytest.mark.parametrize("value", [1.5, 1 << 64, -(1 << 64) - 1, object(), [object()], {1: 2.0}])
def test_what_the_subset_lacks_is_not_written(value) -> None:
    with pytest.raises(FrameError):
        encode(value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1) | st.binary(max_size=30) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5) | st.integers(0, 99), inner, max_size=5)
    ),
    max_leaves=12,
)


def depth_of(value) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 1


@given(VALUES.filter(lambda value: depth_of(value) <= 7))
def test_any_value_of_the_subset_is_what_cbor2_writes(value) -> None:
    assert encode(value) == cbor2.dumps(value)
    assert decode(encode(value)) == value
