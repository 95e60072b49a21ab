"""A gateway's request to be enrolled: its name and public keys, signed by itself to show that it has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.errors import GatewayError
from gateway.identity.cbor import CborError, decode, encode
from gateway.identity.cose import CoseError, Signer, key_of, parse, sign1

_CONTEXT = b"lamppost gateway request 1"


class RequestError(GatewayError):
    """This is no request, or somebody else's."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a gateway asks to be believed. Keys are COSE_Keys; `edhoc_key` is for key agreement with nodes."""

    writer: str
    key: dict[int, Any]
    edhoc_key: dict[int, Any] | None
    fingerprint: str


def make_request(writer: str, signer: Signer, *, edhoc_key: dict[int, Any] | None = None) -> bytes:
    """Signed by the key it asks for."""
    payload = {1: writer, 2: signer.public.cose_key()} | ({3: edhoc_key} if edhoc_key else {})
    return sign1(signer, encode(payload), external=_CONTEXT)


def read_request(data: bytes) -> Request:
    """Raises RequestError."""
    try:
        envelope = parse(data)
        table = decode(envelope.payload)
        key = key_of(table[2])
        envelope.verify([key], external=_CONTEXT)
        edhoc_key = table.get(3)
        if edhoc_key is not None:
            key_of(edhoc_key)
        return Request(writer=str(table[1]), key=table[2], edhoc_key=edhoc_key, fingerprint=key.fingerprint())
    except (CoseError, CborError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"this is no gateway's request ({error}); make one with `lamppost registry init`") from None
