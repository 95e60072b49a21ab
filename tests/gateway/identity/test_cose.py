"""COSE_Sign1 against published examples and two other implementations; and what must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.identity.cbor import CborError, decode, encode
from gateway.identity.cose import EDDSA, ES256, CoseError, KeySigner, PublicKey, key_of, parse, sign1, verify1

VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "vectors" / "cose_sign1_other_implementations.json").read_text()
)
ALGORITHMS = {"ES256": ES256, "EdDSA": EDDSA}
EC_KEY = {
    1: 2,
    3: ES256,
    -1: 1,
    -2: bytes.fromhex("bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff"),
    -3: bytes.fromhex("20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e"),
}
CONTENT = b"This is the content."
# RFC 9052 appendix C.2.1, and sign1-tests/sign-pass-02 of github.com/cose-wg/Examples
RFC_C21 = (
    "d28443a10126a10442313154546869732069732074686520636f6e74656e742e5840"
    "8eb33e4ca31d1c465ab05aac34cc6b23d58fef5c083106c4d25a91aef0b0117e2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b09"
    "16e5a4c345cacb36"
)
PASS_02 = (
    "d28443a10126a10442313154546869732069732074686520636f6e74656e742e5840"
    "eae868ecc176883766c5dc5ba5b8dca25dab3c2e56a551ce5705b793914348e155388b10c4f1b59a6733eab416870a945111a4b2fbdbef33"
    "a77234b1deff2f9b"
)
PASS_02_EXTERNAL = bytes.fromhex("11aa22bb33cc44dd55006699")
FAIL_02 = (  # sign-fail-02: the content was changed after signing
    "d28443a10126a10442313154546869732069732074686520636f6e74656e742f5840"
    "eae868ecc176883766c5dc5ba5b8dca25dab3c2e56a551ce5705b793914348e19f43d6c6ba654472da301b645b293c9ba939295b97c4bdb8"
    "47782bff384c5794"
)


def named(key: dict[int, Any], kid: bytes) -> PublicKey:
    found = key_of(key)
    return PublicKey(found.alg, found.raw, kid)


@pytest.mark.parametrize("message, external", [(RFC_C21, b""), (PASS_02, PASS_02_EXTERNAL)])
def test_published_example_verifies(message: str, external: bytes) -> None:
    assert verify1(bytes.fromhex(message), [named(EC_KEY, b"11")], external=external) == CONTENT


@pytest.mark.parametrize("message, external", [(FAIL_02, b""), (PASS_02, b""), (RFC_C21, b"x")])
def test_published_example_with_a_change_is_refused(message: str, external: bytes) -> None:
    with pytest.raises(CoseError) as caught:
        verify1(bytes.fromhex(message), [named(EC_KEY, b"11")], external=external)
    assert caught.value.reason == "bad_signature"


def test_vectors_cover_both_implementations_and_algorithms() -> None:
    assert {(row["made_by"], row["algorithm"]) for row in VECTORS} == {
        (who, what) for who in ("cwt 3.3.0", "pycose 1.1.0") for what in ALGORITHMS
    }


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: f"{row['made_by']}-{row['algorithm']}")
def test_message_of_another_implementation_verifies(row: dict[str, Any]) -> None:
    x = bytes.fromhex(row["key"]["x"])
    alg = ALGORITHMS[row["algorithm"]]
    key: dict[int, Any] = {1: 1, 3: alg, -1: 6, -2: x}
    if alg == ES256:
        key = {1: 2, 3: alg, -1: 1, -2: x, -3: bytes.fromhex(row["key"]["y"])}
    message, external = bytes.fromhex(row["message"]), bytes.fromhex(row["external"])
    public = named(key, parse(message).kid)
    assert verify1(message, [public], external=external) == bytes.fromhex(row["payload"])


def signers() -> list[KeySigner]:
    return [KeySigner(ec.generate_private_key(ec.SECP256R1())), KeySigner(ed25519.Ed25519PrivateKey.generate())]


@pytest.mark.parametrize("signer", signers(), ids=["ES256", "EdDSA"])
def test_every_changed_bit_is_refused(signer: KeySigner) -> None:
    message = sign1(signer, b"a statement")
    for at in range(len(message) * 8):
        changed = bytearray(message)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(CoseError):
            verify1(bytes(changed), [signer.public])
    assert verify1(message, [signer.public]) == b"a statement"


def test_algorithm_and_key_are_named_in_every_object() -> None:
    for signer in signers():
        found = parse(sign1(signer, b""))
        assert (found.alg, found.kid) == (signer.public.alg, signer.public.kid)
        assert decode(found.protected) == {1: signer.public.alg, 4: signer.public.kid}


def test_key_is_used_for_its_own_algorithm_only() -> None:
    ecdsa, eddsa = signers()
    lying = PublicKey(EDDSA, ecdsa.public.raw, eddsa.public.kid)
    forged = PublicKey(ES256, ecdsa.public.raw, eddsa.public.kid)
    with pytest.raises(CoseError) as caught:
        verify1(sign1(eddsa, b"x"), [forged])
    assert caught.value.reason == "algorithm"
    assert lying.alg != ecdsa.public.alg


def test_key_that_is_not_trusted_is_named() -> None:
    one, other = signers()
    with pytest.raises(CoseError) as caught:
        verify1(sign1(one, b"x"), [other.public])
    assert caught.value.reason == "unknown_key"
    assert one.public.kid.hex() in str(caught.value)


def test_key_goes_through_cose_key_and_back() -> None:
    for signer in signers():
        assert key_of(signer.public.cose_key()) == signer.public


@pytest.mark.parametrize(
    "change",
    [{3: None}, {3: []}, {3: -37}, {-2: b""}, {-2: b"\x00" * 32}, {-1: 2}, {1: 1}, {-4: b"secret"}],
)
def test_cose_key_that_is_none_is_refused(change: dict[int, Any]) -> None:
    with pytest.raises(CoseError) as caught:
        key_of(EC_KEY | change)
    assert caught.value.reason == "key"


@pytest.mark.parametrize(
    "parts, reason",
    [
        ([encode({1: -7}), {}, b""], "format"),
        ([encode({1: -7}), {}, None, b""], "format"),
        ([encode({1: -7, 2: [4]}), {}, b"", b""], "format"),  # critical headers
        ([encode({1: -7}), {1: -8}, b"", b""], "format"),  # the algorithm may not be unprotected
        ([b"", {}, b"", b""], "algorithm"),
        ([encode({1: -37}), {}, b"", b""], "algorithm"),
        ([encode({1: 5, 4: b"k"}), {}, b"", b""], "algorithm"),
        ([encode({1: {}, 4: b"k"}), {}, b"", b""], "algorithm"),  # what no table can be asked for
        ([encode({1: [-7], 4: b"k"}), {}, b"", bytes(64)], "algorithm"),
    ],
)
def test_malformed_object_is_refused(parts: list[Any], reason: str) -> None:
    with pytest.raises(CoseError) as caught:
        parse(encode(cbor2.CBORTag(18, parts)))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "text", ["1801", "0102", "a2010101", "a201010102", "9f01ff", "5f4101ff", "a202010102", "f93c00ff"]
)
def test_cbor_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(CborError):
        decode(bytes.fromhex(text))


@settings(max_examples=300)
@given(st.binary(max_size=120))
def test_no_bytes_make_the_parser_raise_anything_else(data: bytes) -> None:
    for entrance in (parse, lambda data: parse(b"\xd2" + data), lambda data: parse(b"\xd2\x84" + data)):
        with pytest.raises(CoseError):
            entrance(data)
