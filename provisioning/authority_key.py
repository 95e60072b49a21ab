"""Where the authority's key is: in a file under a passphrase, or in a token behind PKCS#11. Neither is ever printed.

Passphrases and PINs come from a prompt or a file, never from the command line, where others could read them.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gateway.database import write_durably
from gateway.errors import ConfigError, GatewayError
from gateway.identity.cose import KeySigner, PublicKey, Signer
from gateway.registry.keys import load_key
from gateway.tls import read_password

WHERE = "authority.json"
KEY_FILE = "authority.key"
RECOVERY_FILE = "recovery.key"
_SHORTEST = 8
_NEW_KEY: dict[str, Callable[[], ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
ALGORITHMS = tuple(_NEW_KEY)


class KeyStoreError(GatewayError):
    """The key cannot be had; the message says what to do."""


def ask_secret(what: str, path: Path | None, *, twice: bool = False) -> bytes:
    """A passphrase or PIN from a file, else from a person. Raises ConfigError, KeyStoreError."""
    if path is not None:
        return read_password(what, path)
    if not sys.stdin.isatty():
        raise KeyStoreError(f"{what}: nobody is here to type it; give a file that holds it")
    given = getpass.getpass(f"{what}: ")
    if twice and getpass.getpass(f"{what} again: ") != given:
        raise KeyStoreError(f"{what}: the two are not the same; try again")
    return given.encode()


def make_file_key(path: Path, passphrase: bytes, *, algorithm: str = "ES256") -> KeySigner:
    """A new key for this algorithm in a file, encrypted. Raises KeyStoreError, ConfigError."""
    if len(passphrase) < _SHORTEST:
        raise ConfigError("passphrase", None, f"is too short; at least {_SHORTEST} characters")
    if path.exists():
        raise KeyStoreError(f"{path} is there already; a key is never overwritten")
    key = _NEW_KEY[algorithm]()
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(passphrase))
    write_durably(path, pem)
    return KeySigner(key)


@contextmanager
def authority_signer(home: Path, secret_file: Path | None) -> Iterator[Signer]:
    """The authority's key, for as long as the context lasts. Raises KeyStoreError, KeyFileError, ConfigError."""
    try:
        where = json.loads((home / WHERE).read_text())
    except (OSError, ValueError):
        raise KeyStoreError(f"{home} is no authority's folder; make one with `lamppost authority init`") from None
    if where["kind"] == "file":
        yield load_key(home / where["file"], passphrase=ask_secret("passphrase of the authority", secret_file))
        return
    with open_token(where["module"], where["token"], ask_secret("PIN of the token", secret_file)) as session:
        yield TokenSigner(session, where["label"])


@contextmanager
def open_token(module: str, token: str, pin: bytes) -> Iterator[Any]:
    """A session with a token. Raises KeyStoreError."""
    try:
        import pkcs11
    except ImportError:
        raise KeyStoreError("this needs python-pkcs11: pip install 'lamppost[pkcs11]'") from None
    try:
        session = pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin.decode())
    except (pkcs11.PKCS11Error, RuntimeError, UnicodeDecodeError) as error:
        raise KeyStoreError(
            f"token {token!r} in {module}: {type(error).__name__} {error}; check module, label and PIN"
        ) from None
    try:
        yield session
    finally:
        session.close()


def make_token_key(session: Any, label: str) -> None:
    """A new P-256 key that never leaves the token. Raises KeyStoreError."""
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    try:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True).generate_keypair(label=label, store=True)
    except pkcs11.PKCS11Error as error:
        raise KeyStoreError(f"the token made no key ({type(error).__name__})") from None


class TokenSigner:
    """Signs in the token: only a digest goes in, only a signature comes out."""

    def __init__(self, session: Any, label: str) -> None:
        import pkcs11

        self._mechanism = pkcs11.Mechanism.ECDSA
        try:
            self._key = session.get_key(label=label, object_class=pkcs11.ObjectClass.PRIVATE_KEY)
            public = session.get_key(label=label, object_class=pkcs11.ObjectClass.PUBLIC_KEY)
        except pkcs11.PKCS11Error as error:
            raise KeyStoreError(f"the token has no single key {label!r} ({type(error).__name__})") from None
        point = bytes(public[pkcs11.Attribute.EC_POINT])[2:]  # a DER octet string around the uncompressed point
        self.public = PublicKey.of(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))

    def sign(self, message: bytes) -> bytes:
        """64 bytes, r and s."""
        return bytes(self._key.sign(hashlib.sha256(message).digest(), mechanism=self._mechanism))
