"""COSE_Sign1 with ES256 and EdDSA: what the site's authority and its gateways sign, and how it is checked.

Every object names its algorithm and its key (kid) in the protected header, so that an algorithm can be replaced one
object at a time. Bytes in, bytes out; where keys live is the caller's business. Source: RFC 9052 (structures), RFC 9053
(algorithms -7 and -8), RFC 9679 (thumbprint of a key).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeGuard

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from gateway.errors import GatewayError
from gateway.identity.cbor import CborError, decode, encode

ES256, EDDSA = -7, -8
NAMES = {ES256: "ES256", EDDSA: "EdDSA"}
_SIGN1_TAG = 18
_ALG, _KID = 1, 4  # header parameters
_KTY, _KEY_KID, _KEY_ALG, _CRV, _X, _Y = 1, 2, 3, -1, -2, -3  # COSE_Key parameters
_OKP, _EC2, _P256, _ED25519 = 1, 2, 1, 6
_SIG_LEN = 64
_ECDSA = ec.ECDSA(hashes.SHA256())
_PREFIX = b"\x84\x6aSignature1"


class CoseError(GatewayError):
    """The object cannot be trusted. `reason` is one word for a counter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Signer(Protocol):
    """A private key, wherever it is: in memory, in a file under a passphrase, in a token."""

    @property
    def public(self) -> PublicKey: ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes: r and s, or R and S."""


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies, with the one algorithm it is for."""

    alg: int
    raw: Any  # of the cryptography package
    kid: bytes

    @classmethod
    def of(cls, raw: Any) -> PublicKey:
        """From a key of the cryptography package; its kid is the beginning of its thumbprint."""
        if isinstance(raw, ec.EllipticCurvePublicKey) and isinstance(raw.curve, ec.SECP256R1):
            alg = ES256
        elif isinstance(raw, ed25519.Ed25519PublicKey):
            alg = EDDSA
        else:
            raise CoseError("key", "only P-256 and Ed25519 keys are known here")
        return cls(alg, raw, thumbprint(raw)[:8])

    def cose_key(self) -> dict[int, Any]:
        """The COSE_Key, with its algorithm."""
        return {**_bare_key(self.raw), _KEY_ALG: self.alg}

    def fingerprint(self) -> str:
        """For people: the whole thumbprint in hex, in groups of four."""
        text = thumbprint(self.raw).hex()
        return " ".join(text[at : at + 4] for at in range(0, len(text), 4))

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key made `signature` over `message`."""
        if len(signature) != _SIG_LEN:
            return False
        try:
            if self.alg == ES256:
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                self.raw.verify(encode_dss_signature(r, s), message, _ECDSA)
            else:
                self.raw.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class KeySigner:
    """A private key in memory."""

    def __init__(self, raw: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
        self._raw = raw
        self.public = PublicKey.of(raw.public_key())

    def sign(self, message: bytes) -> bytes:
        """64 bytes, as COSE wants them."""
        if isinstance(self._raw, ed25519.Ed25519PrivateKey):
            return self._raw.sign(message)
        r, s = decode_dss_signature(self._raw.sign(message, _ECDSA))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass(frozen=True)
class Sign1:
    """A COSE_Sign1 taken apart; nothing in it is to be believed before `verify`."""

    alg: int
    kid: bytes
    payload: bytes
    protected: bytes
    signature: bytes

    def verify(self, keys: Iterable[PublicKey], *, external: bytes = b"") -> PublicKey:
        """The key of `keys` that signed it. Raises CoseError "unknown_key", "algorithm" or "bad_signature"."""
        named = [key for key in keys if not self.kid or key.kid == self.kid]
        if not named:
            raise CoseError("unknown_key", f"signed with key {self.kid.hex() or '(none named)'}, which is not trusted")
        fitting = [key for key in named if key.alg == self.alg]
        if not fitting:
            raise CoseError("algorithm", f"signed with {name_of(self.alg)}, but that key is not for it")
        message = to_be_signed(self.protected, external, self.payload)
        for key in fitting:
            if key.verifies(self.signature, message):
                return key
        raise CoseError("bad_signature", "the signature does not fit the content")


def sign1(signer: Signer, payload: bytes, *, external: bytes = b"") -> bytes:
    """Sign `payload`: a tagged COSE_Sign1 with algorithm and kid protected."""
    public = signer.public
    protected = encode({_ALG: public.alg, _KID: public.kid})
    signature = signer.sign(to_be_signed(protected, external, payload))
    return encode(cbor2.CBORTag(_SIGN1_TAG, [protected, {}, payload, signature]))


def parse(data: bytes) -> Sign1:
    """Take a COSE_Sign1 apart. Raises CoseError "format", or "algorithm" for one we do not know.

    Objects of others may carry the kid unprotected (as RFC 9052's own examples do); the algorithm never.
    """
    usual = _usual(data)
    if usual is not None:
        return usual
    try:
        tagged = decode(data)
        if not isinstance(tagged, cbor2.CBORTag) or tagged.tag != _SIGN1_TAG:
            raise CoseError("format", "this is no COSE_Sign1")
        protected, unprotected, payload, signature = tagged.value
        header = decode(protected) if protected else {}
        kid = header.get(_KID, unprotected.get(_KID, b""))
        alg = header.get(_ALG)
        known = header.keys() <= {_ALG, _KID} and unprotected.keys() <= {_KID}
        is_right = all(isinstance(one, bytes) for one in (protected, payload, signature, kid))
    except (CborError, TypeError, ValueError, AttributeError) as error:
        raise CoseError("format", f"this is no COSE_Sign1 ({error})") from None
    if not known or not is_right:
        raise CoseError("format", "this COSE_Sign1 has headers or parts that are not known here")
    if not _is_known(alg):
        raise CoseError("algorithm", f"algorithm {name_of(alg)} is not known here")
    return Sign1(alg, kid, payload, protected, signature)


def _usual(data: bytes) -> Sign1 | None:
    """The shape that sign1 makes, read by hand: a registry is verified by the hundred thousand. None: look closer."""
    if data[:2] != b"\xd2\x84" or len(data) > 1 << 16:
        return None
    protected, at = _take_bytes(data, 2)
    payload, at = _take_bytes(data, at + 1) if data[at : at + 1] == b"\xa0" else (None, 0)
    signature, at = _take_bytes(data, at) if payload is not None else (None, 0)
    if protected is None or payload is None or signature is None or at != len(data):
        return None
    header = _usual_header(protected)
    return Sign1(*header, payload, protected, signature) if header else None


@lru_cache(maxsize=64)
def _usual_header(protected: bytes) -> tuple[int, bytes] | None:
    try:
        header = decode(protected)
    except CborError:
        return None
    if not isinstance(header, dict) or header.keys() != {_ALG, _KID} or not _is_known(header[_ALG]):
        return None
    kid = header[_KID]
    return (header[_ALG], kid) if isinstance(kid, bytes) else None


def _is_known(alg: object) -> TypeGuard[int]:
    """Anything may stand there, also what no table can be asked for."""
    return isinstance(alg, int) and not isinstance(alg, bool) and alg in NAMES


def _take_bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    """A CBOR byte string in its shortest form, and where it ends."""
    first = data[at] if at < len(data) else 0
    if 0x40 <= first < 0x58:
        start, length = at + 1, first - 0x40
    elif first == 0x58 and at + 1 < len(data) and data[at + 1] >= 24:
        start, length = at + 2, data[at + 1]
    elif first == 0x59 and at + 2 < len(data) and data[at + 1]:
        start, length = at + 3, int.from_bytes(data[at + 1 : at + 3], "big")
    else:
        return None, at
    return (data[start : start + length], start + length) if start + length <= len(data) else (None, at)


def verify1(data: bytes, keys: Iterable[PublicKey], *, external: bytes = b"") -> bytes:
    """The payload of a COSE_Sign1 that one of `keys` signed. Raises CoseError."""
    found = parse(data)
    found.verify(keys, external=external)
    return found.payload


def to_be_signed(protected: bytes, external: bytes, payload: bytes) -> bytes:
    """The Sig_structure of RFC 9052 section 4.4."""
    return b"".join((_PREFIX, _bytes(protected), _bytes(external), _bytes(payload)))


def key_of(cose_key: object) -> PublicKey:
    """From a COSE_Key, which must name its algorithm. Raises CoseError "key"."""
    if not isinstance(cose_key, dict):
        raise CoseError("key", "this is no COSE_Key")
    alg = cose_key.get(_KEY_ALG)
    shapes: dict[object, tuple[set[int], Callable[[dict[int, Any]], Any]]] = {
        ES256: ({_KTY, _KEY_ALG, _CRV, _X, _Y}, _p256),
        EDDSA: ({_KTY, _KEY_ALG, _CRV, _X}, _ed25519),
    }
    if not _is_known(alg) or cose_key.keys() - {_KEY_KID} != shapes[alg][0]:
        raise CoseError("key", f"a COSE_Key for algorithm {name_of(alg)} is not known here, or has other parts")
    try:
        return PublicKey.of(shapes[alg][1](cose_key))
    except (ValueError, TypeError):
        raise CoseError("key", "the COSE_Key is no point on its curve") from None


def thumbprint(raw: Any) -> bytes:
    """SHA-256 over the required parts of the COSE_Key (RFC 9679)."""
    return hashlib.sha256(encode(_bare_key(raw))).digest()


def name_of(alg: object) -> str:
    """For messages."""
    return NAMES.get(alg, repr(alg)) if isinstance(alg, int) else repr(alg)


def _bare_key(raw: Any) -> dict[int, Any]:
    if isinstance(raw, ed25519.Ed25519PublicKey):
        form = serialization.PublicFormat.Raw
        return {_KTY: _OKP, _CRV: _ED25519, _X: raw.public_bytes(serialization.Encoding.Raw, form)}
    numbers = raw.public_numbers()
    return {_KTY: _EC2, _CRV: _P256, _X: numbers.x.to_bytes(32, "big"), _Y: numbers.y.to_bytes(32, "big")}


def _p256(cose_key: dict[int, Any]) -> ec.EllipticCurvePublicKey:
    x, y = cose_key[_X], cose_key[_Y]
    if cose_key[_KTY] != _EC2 or cose_key[_CRV] != _P256 or len(x) != 32 or len(y) != 32:
        raise ValueError
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)


def _ed25519(cose_key: dict[int, Any]) -> ed25519.Ed25519PublicKey:
    if cose_key[_KTY] != _OKP or cose_key[_CRV] != _ED25519:
        raise ValueError
    return ed25519.Ed25519PublicKey.from_public_bytes(cose_key[_X])


def _bytes(value: bytes) -> bytes:
    """A CBOR byte string; written by hand because millions of them are made when a registry is verified."""
    length = len(value)
    if length < 24:
        return bytes((0x40 | length,)) + value
    if length < 0x100:
        return bytes((0x58, length)) + value
    if length < 0x10000:
        return b"\x59" + length.to_bytes(2, "big") + value
    return b"\x5a" + length.to_bytes(4, "big") + value
