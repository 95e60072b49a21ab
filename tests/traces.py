"""Looks for secrets in whole images: as they are, in hex, and in base64 at any offset, also across line ends."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

_LEAST = 8  # bytes: shorter ones are found by chance


def forms(secret: bytes) -> Iterator[bytes]:
    """Every way in which a secret may be written down."""
    assert len(secret) >= _LEAST, "too short to look for"
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for offset in range(3):  # the characters at both ends also hold bits of what is beside the secret
        encoded = base64.b64encode(bytes(offset) + secret)
        first = -(-offset * 4 // 3)
        last = (offset + len(secret)) * 8 // 6
        yield encoded[first:last]
        yield base64.urlsafe_b64encode(bytes(offset) + secret)[first:last]


def found_in(image: bytes, secrets: Mapping[str, bytes]) -> set[str]:
    """The names of the secrets of which a trace is in the image."""
    texts = image, image.replace(b"\n", b"").replace(b"\r", b"")
    return {name for name, secret in secrets.items() if any(form in text for form in forms(secret) for text in texts)}
