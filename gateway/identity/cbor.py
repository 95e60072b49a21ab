"""CBOR in one form only: what is signed has exactly one encoding, and anything else is refused.

The form is RFC 8949 section 4.2.1 for what we use: short integers, definite lengths, map keys that are all small
integers or all short texts (for these, bytewise order and cbor2's canonical order are the same).
"""

from typing import Any

import cbor2

from gateway.errors import GatewayError

LARGEST = 1 << 20


class CborError(GatewayError):
    """Not CBOR, or not its deterministic form."""


def encode(value: object) -> bytes:
    """The one encoding of `value`."""
    return bytes(cbor2.dumps(value, canonical=True))


def decode(data: bytes, *, largest: int = LARGEST) -> Any:
    """The value of `data`. Raises CborError unless `data` is all of it and the one encoding of it."""
    if len(data) > largest:
        raise CborError(f"{len(data)} bytes of CBOR; at most {largest} are read")
    try:
        value = cbor2.loads(data)
        same = cbor2.dumps(value, canonical=True) == data
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, ArithmeticError) as error:
        raise CborError(f"not CBOR ({type(error).__name__})") from None
    if not same:
        raise CborError("not the deterministic form of CBOR")
    return value
