"""Third parties' SenML, read strictly: JSON or CBOR in, resolved records out, everything else refused under a name.

Base fields are applied, times made absolute where they are, secondary units turned into primary ones. A relative time
without a base says nothing that lasts and counts as none. Limits keep hostile input small. Source: RFC 8428 sections 4
to 6 and 12, RFC 8798.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import cbor2

from gateway.errors import GatewayError
from gateway.reading import Value
from gateway.senml_units import in_primary, primary_of

MAX_BYTES = 65_536
_MAX_RECORDS = 256
MAX_NAME = 128
_MAX_TEXT = 4096
_MAX_DEPTH = 4
_VERSION = 10  # RFC 8428 section 4.4
EARLIEST_S = 2**28  # times from here on are seconds since 1970; RFC 8428 section 4.5.3
LARGEST = 1e300  # so that no sum with a base field is infinite
LATEST_S = 2**36  # the year 4147; later ones are mistakes, and a float would lose the fraction
NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9:./_]*")
_VALUES = ("v", "vs", "vb", "vd")
_NUMBERS = ("bt", "bv", "bs", "v", "s", "t", "ut")
_TEXTS = ("bn", "bu", "n", "u", "vs")
_FIELDS = {-1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs"} | dict(
    enumerate(("n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"))
)


_BUILT_IN_TAGS = (0, 1, 2, 3, 5, 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000, 55799)


class SenmlError(GatewayError):
    """A message is not SenML, or not SenML that we take; `reason` is the counter's name after "senml_"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(kw_only=True, slots=True, unsafe_hash=True)  # not frozen: one is made per record
class Resolved:
    """One record with its base fields applied. The full name is base_name + name."""

    base_name: str
    name: str
    value: Value
    unit: str | None
    total: float | None
    time_s: float | None


def decode(payload: bytes, content_type: str | None = None) -> list[Resolved]:
    """Read one pack.

    content_type  as MQTT 5 says it; None: JSON if it begins like JSON, else CBOR
    Raises        SenmlError
    """
    if len(payload) > MAX_BYTES:
        raise SenmlError("oversized")
    pack = _parse_json(payload) if _is_json(payload, content_type) else _parse_cbor(payload)
    if not isinstance(pack, list) or not pack:
        raise SenmlError("not_a_pack")
    if len(pack) > _MAX_RECORDS:
        raise SenmlError("too_many_records")
    resolved = list(_resolve(pack))
    if not resolved:
        raise SenmlError("no_values")
    return resolved


def _is_json(payload: bytes, content_type: str | None) -> bool:
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind in ("application/senml+json", "application/json"):
        return True
    if kind in ("application/senml+cbor", "application/cbor"):
        return False
    if kind:
        raise SenmlError("content_type")
    return payload.lstrip()[:1] == b"["


def _parse_json(payload: bytes) -> Any:
    try:
        return json.loads(payload.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise SenmlError("malformed") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a label comes twice")
    return table


def _no_constant(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are not JSON


def _parse_cbor(payload: bytes) -> Any:
    stream = io.BytesIO(payload)
    try:
        pack = cbor2.CBORDecoder(
            stream,
            max_depth=_MAX_DEPTH,
            allow_duplicate_keys=False,
            semantic_decoders=dict.fromkeys(_BUILT_IN_TAGS, _no_tag),
            tag_hook=_no_tag,
        ).decode()
    except (cbor2.CBORError, ValueError):
        raise SenmlError("malformed") from None
    if stream.tell() != len(payload):
        raise SenmlError("malformed")
    if not isinstance(pack, list):
        return pack
    return [_labelled(record) if isinstance(record, dict) else record for record in pack]


def _no_tag(*_: object) -> object:
    """Tags make dates, patterns and references; only 4, a decimal fraction, is a SenML number (RFC 8428 section 6)."""
    raise ValueError("a tag")


def _labelled(record: dict[Any, Any]) -> dict[str, Any]:
    """Integer labels by their names; text labels are for extensions."""
    named: dict[str, Any] = {}
    for label, value in record.items():
        if isinstance(label, bool) or not isinstance(label, (int, str)):
            raise SenmlError("malformed")
        name = _FIELDS.get(label, f"{label}") if isinstance(label, int) else label
        if name in named:
            raise SenmlError("malformed")
        named[name] = float(value) if isinstance(value, Decimal) else value
    return named


def _resolve(pack: list[Any]) -> Iterator[Resolved]:
    base: dict[str, Any] = {"bn": "", "bt": 0.0, "bu": None, "bv": 0.0, "bs": 0.0}
    version: int | None = None
    for record in pack:
        if not isinstance(record, dict):
            raise SenmlError("not_a_record")
        _check_types(record)
        version = _check_version(record, version)
        base.update({name: record[name] for name in ("bn", "bt", "bu", "bv", "bs") if name in record})
        fields = [name for name in _VALUES if name in record]
        if len(fields) > 1:
            raise SenmlError("two_values")
        if fields or "s" in record:
            yield _resolved(record, base, fields[0] if fields else None)
        elif not any(name in record for name in base):
            raise SenmlError("no_value")


def _check_types(record: dict[str, Any]) -> None:
    for name, value in record.items():
        if name in _NUMBERS:
            if not _is_number(value):
                raise SenmlError("wrong_type")
        elif name in _TEXTS:
            if not isinstance(value, str) or len(value) > (_MAX_TEXT if name == "vs" else MAX_NAME):
                raise SenmlError("wrong_type")
            if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
                raise SenmlError("malformed")  # half a character: JSON can spell it, UTF-8 cannot
        elif (name == "vb" and not isinstance(value, bool)) or (name == "vd" and not isinstance(value, (str, bytes))):
            raise SenmlError("wrong_type")
        elif name.endswith("_"):
            raise SenmlError("must_understand")  # RFC 8428 section 4.4


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= LARGEST  # False for NaN too


def _check_version(record: dict[str, Any], version: int | None) -> int | None:
    if "bver" not in record:
        return version
    found = record["bver"]
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= _VERSION:
        raise SenmlError("version")
    if version is not None and found != version:
        raise SenmlError("version")
    return found


def _resolved(record: dict[str, Any], base: dict[str, Any], field: str | None) -> Resolved:
    name = record.get("n", "")
    if not NAME.fullmatch(base["bn"] + name):
        raise SenmlError("bad_name")
    unit = record.get("u", base["bu"])
    primary = None if unit is None else primary_of(unit)
    if primary is None and unit is not None:
        raise SenmlError("unknown_unit")
    value = _value(record, base, field)
    total = record["s"] + base["bs"] if "s" in record else None
    if unit is not None and field == "v":
        value = in_primary(value, unit)
    if unit is not None and total is not None:
        total = in_primary(total, unit, is_difference=True)
    if any(isinstance(number, float) and not math.isfinite(number) for number in (value, total)):
        raise SenmlError("wrong_type")
    return Resolved(
        base_name=base["bn"], name=name, value=value, unit=primary, total=total, time_s=_time_s(record, base)
    )


def _value(record: dict[str, Any], base: dict[str, Any], field: str | None) -> Any:
    if field is None:
        return None
    if field == "v":
        return record["v"] + base["bv"] if base["bv"] else record["v"]
    if field == "vd":
        return _data(record["vd"])
    return record[field]


def _data(value: str | bytes) -> bytes:
    """Bytes in CBOR; base64url without padding in JSON."""
    if isinstance(value, str):
        try:
            value = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise SenmlError("wrong_type") from None
    if len(value) > _MAX_TEXT:
        raise SenmlError("wrong_type")
    return value


def _time_s(record: dict[str, Any], base: dict[str, Any]) -> float | None:
    time_s = float(base["bt"] + record.get("t", 0))
    if time_s < EARLIEST_S:
        return None
    if time_s > LATEST_S:
        raise SenmlError("bad_time")
    return time_s
