"""Entries, lists and keys as `cryptography` signs them, read by a node on each interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from drivers.link.edhoc import kid_of
from provisioning.gateway_list import (
    MAX_REVOKED,
    SiteError,
    sign_gateway_entry,
    sign_gateway_list,
    sign_next_key,
    trust_of,
)
from provisioning.identity import public_point
from tests.drivers.link import site_checks
from tests.drivers.link.test_edhoc import base_table
from tests.peers.micropython import check_micropython
from tests.peers.wasm32 import check_wasm32, repository_files

SITE, NEXT, FOREIGN, ONE, TWO = (ec.generate_private_key(ec.SECP256R1()) for _ in range(5))
ONE_KEY, TWO_KEY = public_point(ONE), public_point(TWO)
OBJECTS = {
    name: octets.hex()
    for name, octets in {
        "site_key": public_point(SITE),
        "one_key": ONE_KEY,
        "two_key": TWO_KEY,
        "one_kid": kid_of(ONE_KEY),
        "two_kid": kid_of(TWO_KEY),
        "one": sign_gateway_entry(SITE, version=1, public_key=ONE_KEY),
        "two": sign_gateway_entry(SITE, version=1, public_key=TWO_KEY),
        "foreign": sign_gateway_entry(FOREIGN, version=1, public_key=ONE_KEY),
        "list_1": sign_gateway_list(SITE, version=1),
        "list_2_without_one": sign_gateway_list(SITE, version=2, revoked=[ONE_KEY]),
        "list_3_from_3": sign_gateway_list(SITE, version=3, floor=3),
        "one_again_3": sign_gateway_entry(SITE, version=3, public_key=ONE_KEY),
        "key_2": sign_next_key(SITE, generation=2, public_key=public_point(NEXT)),
        "two_by_key_2": sign_gateway_entry(NEXT, version=2, public_key=TWO_KEY),
    }.items()
}
ON_A_BOARD = """
from {module} import CHECKS
for check in CHECKS:
    check({objects!r})
print(len(CHECKS), "checks hold")
"""


@pytest.mark.parametrize("check", site_checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_on_cpython(check) -> None:
    check(OBJECTS)


def test_on_micropython() -> None:
    script = ON_A_BOARD.format(module="tests.drivers.link.site_checks", objects=OBJECTS)
    assert check_micropython(script) == f"{len(site_checks.CHECKS)} checks hold\n"


def test_on_32_bits(wasm32) -> None:
    files = repository_files("drivers/link")
    files["/lib/site_checks.py"] = Path(site_checks.__file__).read_bytes()
    files |= base_table()
    script = ON_A_BOARD.format(module="site_checks", objects=OBJECTS)
    assert check_wasm32(script, files, heapsize=16 << 20) == f"{len(site_checks.CHECKS)} checks hold\n"


def test_an_entry_is_102_bytes_and_a_list_69_and_4_per_gateway() -> None:
    assert len(OBJECTS["one"]) // 2 == 102
    assert len(OBJECTS["list_1"]) // 2 == 69
    assert len(OBJECTS["list_2_without_one"]) // 2 == 73


@pytest.mark.parametrize(
    "make",
    [
        lambda: sign_gateway_entry(SITE, version=0, public_key=ONE_KEY),
        lambda: sign_gateway_entry(SITE, version=65_536, public_key=ONE_KEY),
        lambda: sign_gateway_entry(SITE, version=1, public_key=ONE_KEY[1:]),
        lambda: sign_gateway_list(SITE, version=2, floor=3),
        lambda: sign_gateway_list(SITE, version=2, revoked=[bytes([i]) * 33 for i in range(MAX_REVOKED + 1)]),
        lambda: sign_next_key(SITE, generation=256, public_key=ONE_KEY),
        lambda: trust_of(SITE, signed=[bytes.fromhex(OBJECTS["foreign"])]),
    ],
)
def test_what_no_node_would_take_is_not_signed(make) -> None:
    with pytest.raises(SiteError):
        make()


def test_a_node_is_provisioned_with_what_it_need_not_hear_by_radio() -> None:
    given = [bytes.fromhex(OBJECTS[name]) for name in ("list_1", "one", "two")]
    trust = site_checks.trust_from(trust_of(SITE, signed=given))
    assert (trust.version, len(trust.known)) == (1, 2)
