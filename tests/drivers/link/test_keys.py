"""HKDF against RFC 5869 and the key schedule against another implementation, on CPython and a real MicroPython."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from drivers.link.keys import DOWN, UP, derive, hkdf_expand, hkdf_extract, nonce
from tests.peers.micropython import check_micropython
from tests.peers.wasm32 import ROOT, check_wasm32, repository_files

VECTORS = json.loads((ROOT / "tests/vectors/rfc5869_hkdf.json").read_text())["vectors"]
ON_A_BOARD = f"""
from drivers.link.keys import hkdf_expand, hkdf_extract
for v in {VECTORS!r}:
    salt, ikm, info = [bytes.fromhex(v[name]) for name in ("salt", "ikm", "info")]
    assert hkdf_extract(salt, ikm).hex() == v["prk"], v["case"]
    assert hkdf_expand(bytes.fromhex(v["prk"]), info, v["length"]).hex() == v["okm"], v["case"]
print("ok")
"""


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["case"])
def test_hkdf_matches_rfc_5869(vector) -> None:
    salt, secret, info = (bytes.fromhex(vector[name]) for name in ("salt", "ikm", "info"))
    assert hkdf_extract(salt, secret).hex() == vector["prk"]
    assert hkdf_expand(bytes.fromhex(vector["prk"]), info, vector["length"]).hex() == vector["okm"]


def test_hkdf_matches_rfc_5869_on_micropython() -> None:
    assert check_micropython(ON_A_BOARD) == "ok\n"


def test_hkdf_matches_rfc_5869_on_32_bits(wasm32) -> None:
    assert check_wasm32(ON_A_BOARD, repository_files("drivers/link")) == "ok\n"


@pytest.mark.parametrize("direction", [UP, DOWN])
@pytest.mark.parametrize("epoch", [1, 2, 0xFFFFFFFF])
def test_frame_key_is_hkdf_of_root_direction_and_epoch(direction: bytes, epoch: int) -> None:
    root = bytes(range(32))
    label = b"lamppost v1 " + direction + b" frame" + epoch.to_bytes(4, "big")
    material = HKDF(SHA256(), 29, None, label).derive(root)
    assert derive(root, epoch, direction) == (material[:16], material[16:])


def test_no_two_directions_epochs_or_purposes_share_a_key() -> None:
    root = bytes(32)
    keys = {derive(root, epoch, way, purpose) for epoch in (1, 2) for way in (UP, DOWN) for purpose in (b"frame", b"x")}
    assert len(keys) == 8


@pytest.mark.parametrize(
    "counter, expected",
    [
        (0, "ffffffffffffffffffffffffff"),
        (1, "fffffffffffffffffffffffffe"),
        (0x01020304, "fffffffffffffffffffefdfcfb"),
        (0xFFFFFFFF, "ffffffffffffffffff00000000"),
    ],
)
def test_nonce_is_iv_with_the_counter_in_its_last_four_bytes(counter: int, expected: str) -> None:
    assert nonce(b"\xff" * 13, counter).hex() == expected
