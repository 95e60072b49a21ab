"""AES-CCM against RFC 3610 and OpenSSL, with each AES that it meets: cryptolib, OpenSSL's, and the test's plain one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.frame import FrameError
from drivers.link.seal import Ccm
from tests.drivers.link.boxes import openssl_ccm, openssl_ecb
from tests.drivers.link.plain_aes import aes_ecb as plain_ecb
from tests.peers.micropython import check_micropython
from tests.peers.wasm32 import ROOT, check_wasm32, repository_files

VECTORS = [
    vector
    for vector in json.loads((ROOT / "tests/vectors/rfc3610_ccm.json").read_text())["vectors"]
    if vector["M"] == 8 and vector["L"] == 2
]
ON_A_BOARD = """
from drivers.link.seal import Ccm
from drivers.link.frame import FrameError
{aes}
vectors = {vectors!r}
for v in vectors:
    key, nonce, aad, msg, sealed = [bytes.fromhex(v[name]) for name in ("key", "nonce", "aad", "msg", "ct_tag")]
    box = Ccm(aes_ecb(key))
    assert box.seal(nonce, aad, msg) == sealed, v["packet"]
    assert box.open(nonce, aad, sealed) == msg, v["packet"]
    try:
        box.open(nonce, aad, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    except FrameError as error:
        assert error.reason == "bad_tag"
    else:
        raise AssertionError("a wrong tag was taken")
print(len(vectors), "vectors hold")
"""


def test_all_twelve_vectors_with_eight_byte_tags_are_used() -> None:
    assert [vector["packet"] for vector in VECTORS] == [1, 2, 3, 4, 5, 6, 13, 14, 15, 16, 17, 18]


@pytest.mark.parametrize("ecb", [openssl_ecb, plain_ecb])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"packet{vector['packet']}")
def test_ccm_matches_rfc_3610(vector, ecb) -> None:
    box = Ccm(ecb(bytes.fromhex(vector["key"])))
    nonce, aad, message, sealed = (bytes.fromhex(vector[name]) for name in ("nonce", "aad", "msg", "ct_tag"))
    assert box.seal(nonce, aad, message) == sealed
    assert box.open(nonce, aad, sealed) == message


def test_ccm_matches_rfc_3610_on_cryptolib_of_a_real_micropython() -> None:
    script = ON_A_BOARD.format(aes="from drivers.link.seal import aes_ecb", vectors=VECTORS)
    assert check_micropython(script) == "12 vectors hold\n"


def test_ccm_matches_rfc_3610_on_32_bits(wasm32) -> None:
    files = repository_files("drivers/link")
    files["/lib/plain_aes.py"] = Path(__file__).with_name("plain_aes.py").read_bytes()
    script = ON_A_BOARD.format(aes="from plain_aes import aes_ecb", vectors=VECTORS)
    assert check_wasm32(script, files) == "12 vectors hold\n"


def test_plain_aes_matches_fips_197() -> None:
    """FIPS 197 appendix C.1."""
    out = bytearray(16)
    plain_ecb(bytes(range(16)))(bytes.fromhex("00112233445566778899aabbccddeeff"), out)
    assert out.hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


@given(
    key=st.binary(min_size=16, max_size=16),
    nonce=st.binary(min_size=13, max_size=13),
    aad=st.binary(max_size=40),
    message=st.binary(max_size=242),
)
def test_ccm_makes_the_bytes_of_openssl(key: bytes, nonce: bytes, aad: bytes, message: bytes) -> None:
    box = Ccm(openssl_ecb(key))
    sealed = openssl_ccm(key).encrypt(nonce, message, aad)
    assert box.seal(nonce, aad, message) == sealed
    assert box.open(nonce, aad, sealed) == message


@given(
    message=st.binary(max_size=60),
    at=st.integers(0),
    bit=st.integers(0, 7),
    part=st.sampled_from(["sealed", "nonce", "aad"]),
)
def test_one_changed_bit_anywhere_is_a_bad_tag(message: bytes, at: int, bit: int, part: str) -> None:
    box = Ccm(openssl_ecb(bytes(16)))
    what = {"nonce": bytearray(range(13)), "aad": bytearray(b"head and counter")}
    what["sealed"] = bytearray(box.seal(what["nonce"], what["aad"], message))
    what[part][at % len(what[part])] ^= 1 << bit
    with pytest.raises(FrameError) as caught:
        box.open(what["nonce"], what["aad"], what["sealed"])
    assert caught.value.reason == "bad_tag"


@pytest.mark.parametrize("size", range(8))
def test_less_than_a_tag_is_truncated(size: int) -> None:
    with pytest.raises(FrameError) as caught:
        Ccm(openssl_ecb(bytes(16))).open(bytes(13), b"", bytes(size))
    assert caught.value.reason == "truncated"
