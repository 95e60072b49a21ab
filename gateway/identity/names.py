"""Names that follow from a public key: the device id, its did:key, the short address.

Source: docs/protocol.md, "Node identity"; RFC 9039 section 4.4 (urn:dev:os); the did:key method of the W3C Credentials
Community Group (multicodec 0x1200, multibase base58btc).
"""

import base64
import hashlib
import re

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

DEVICE_ID = re.compile(r"urn:dev:os:(\d{1,10})-([a-z2-7]{16})")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_P256_CODEC = b"\x80\x24"


def compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    """The compressed point, 33 bytes."""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def device_id(point: bytes, pen: int) -> str:
    """The id of who holds the key with this compressed point."""
    return f"urn:dev:os:{pen}-{base64.b32encode(hashlib.sha256(point).digest()[:10]).decode().lower()}"


def is_named_after(device: str, point: bytes) -> bool:
    """Whether the id is that of this key: needs no network and no registry."""
    found = DEVICE_ID.fullmatch(device)
    return found is not None and device_id(point, int(found[1])) == device


def did_key(point: bytes) -> str:
    """The did:key of a P-256 key."""
    value = int.from_bytes(_P256_CODEC + point, "big")
    text = ""
    while value:
        value, digit = divmod(value, 58)
        text = _BASE58[digit] + text
    return f"did:key:z{text}"
