"""Names that follow from a public key: the device id, its did:key, the short address.

Source: docs/protocol.md, "Node identity"; RFC 9039 section 4.4 (urn:dev:os); the did:key method of the W3C Credentials
Community Group (multicodec 0x1200, multibase base58btc).
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

DEVICE_ID = re.compile(r"urn:dev:os:(\d{1,10})-([a-z2-7]{16})")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_AS_DIGITS = str.maketrans("abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv")
_P256_CODEC = b"\x80\x24"


def compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    """The compressed point, 33 bytes."""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def point_of(cose_key: Mapping[int, Any]) -> bytes:
    """The compressed point of a COSE_Key of P-256, without asking whether it is on the curve."""
    return bytes((2 | (cose_key[-3][-1] & 1),)) + bytes(cose_key[-2])


def key_name(point: bytes) -> str:
    """What a key is looked up by: half of its hash."""
    return f"key:{hashlib.sha256(point).hexdigest()[:32]}"


def point_of_did(did: str) -> bytes:
    """The compressed point in a did:key of P-256. Raises ValueError."""
    value = 0
    for char in did.removeprefix("did:key:z"):
        value = value * 58 + _BASE58.index(char)
    data = value.to_bytes(35, "big") if value.bit_length() <= 280 else b""
    if not did.startswith("did:key:z") or data[:2] != _P256_CODEC:
        raise ValueError("no did:key of a P-256 key")
    return data[2:]


def device_id(point: bytes, pen: int) -> str:
    """The id of who holds the key with this compressed point."""
    return f"urn:dev:os:{pen}-{base64.b32encode(hashlib.sha256(point).digest()[:10]).decode().lower()}"


def is_named_after(device: str, point: bytes) -> bool:
    """Whether the id is that of this key: needs no network and no registry."""
    found = DEVICE_ID.fullmatch(device)
    if found is None:
        return False
    # The same as device_id(...) == device, in a tenth of the time: base 32 as a number.
    return int(found[2].translate(_AS_DIGITS), 32) == int.from_bytes(hashlib.sha256(point).digest()[:10], "big")


def did_key(point: bytes) -> str:
    """The did:key of a P-256 key."""
    value = int.from_bytes(_P256_CODEC + point, "big")
    text = ""
    while value:
        value, digit = divmod(value, 58)
        text = _BASE58[digit] + text
    return f"did:key:z{text}"
