"""Beacons on CPython, on 64-bit MicroPython and on 32 bits."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from drivers.link import beacon
from tests.drivers.link import beacon_checks
from tests.peers.micropython import check_micropython
from tests.peers.wasm32 import check_wasm32, repository_files

ON_A_BOARD = """
from {module} import CHECKS
for check in CHECKS:
    check()
print(len(CHECKS), "checks hold")
"""
ALL_HOLD = f"{len(beacon_checks.CHECKS)} checks hold\n"


@pytest.mark.parametrize("check", beacon_checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_on_cpython(check) -> None:
    check()


def test_on_micropython() -> None:
    assert check_micropython(ON_A_BOARD.format(module="tests.drivers.link.beacon_checks")) == ALL_HOLD


def test_on_32_bits(wasm32) -> None:
    files = repository_files("drivers/link")
    files["/lib/beacon_checks.py"] = Path(beacon_checks.__file__).read_bytes()
    assert check_wasm32(ON_A_BOARD.format(module="beacon_checks"), files, heapsize=1 << 20) == ALL_HOLD


def test_chain_and_tag_are_those_of_the_standard_library() -> None:
    key = bytes(range(16))
    step = hashlib.sha256(b"lamppost v1 chain\x12\x34\x00\x07" + key).digest()[:16]
    assert beacon.key_before(0x1234, 7, key) == step
    of_tags = hmac.digest(key, b"lamppost v1 beacon", "sha256")
    assert beacon.tag_of(b"signed", key) == hmac.digest(of_tags, b"signed", "sha256")[:8]
