"""The key of a registry's holder: made on the machine, never leaves it. A gateway signs its own log with it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gateway.database import write_durably
from gateway.errors import GatewayError
from gateway.identity.cose import KeySigner

HOLDER_KEY = "holder.key"


class KeyFileError(GatewayError):
    """The key file cannot be used; the message never holds a key."""


def make_key(path: Path) -> KeySigner:
    """Make a P-256 key in a file that only its owner can read. Raises KeyFileError if one is there."""
    if path.exists():
        raise KeyFileError(f"{path} is there already; a key is never overwritten")
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    try:
        write_durably(path, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written ({error.strerror})") from None
    return KeySigner(key)


def load_key(path: Path, *, passphrase: bytes | None = None) -> KeySigner:
    """Read a PEM key. Raises KeyFileError."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyFileError(f"{path} can be read by others; chmod 600 it, and replace the key if they may have")
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read ({os.strerror(error.errno or 0)})") from None
    except TypeError:
        need = "needs its passphrase" if passphrase is None else "has no passphrase"
        raise KeyFileError(f"{path} {need}") from None
    except ValueError:
        raise KeyFileError(f"{path} cannot be opened: wrong passphrase, or no PEM key") from None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        raise KeyFileError(f"{path} holds no P-256 or Ed25519 key")
    return KeySigner(key)
