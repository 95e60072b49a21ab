"""A node's names, all derived from its public key: hash, device id and short address.

Source: docs/protocol.md, "Node identity"; RFC 9039 section 4.4 (urn:dev:os); SEC 1 section 2.3.3 (compressed points).
"""

import base64
import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

DEFAULT_PEN = 32473  # IANA's private enterprise number for examples (RFC 5612)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a public key says about its node."""

    public_key: bytes  # compressed point, 33 bytes
    pen: int

    @property
    def hash(self) -> bytes:
        """SHA-256 of the compressed point."""
        return hashlib.sha256(self.public_key).digest()

    @property
    def id(self) -> str:
        """The device id, e.g. "urn:dev:os:32473-q7c2f0zkmb4xwy2d"."""
        return f"urn:dev:os:{self.pen}-{base64.b32encode(self.hash[:10]).decode().lower()}"

    @property
    def address(self) -> bytes:
        """The two bytes that name the node in a frame; neighbours may share them."""
        return self.hash[:2]


def make_private_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def public_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The compressed public point, 33 bytes."""
    form = serialization.PublicFormat.CompressedPoint
    return key.public_key().public_bytes(serialization.Encoding.X962, form)


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The private key as unencrypted PKCS#8 PEM: for a file of mode 0600 only."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
