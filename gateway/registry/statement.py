"""What can be said in the registry: the kinds of statement, the fields of each, who may make it, and its bytes.

A statement is a CBOR map {1: kind, 2: writer, 3: index in the writer's log, 4: when, 5: subject, 6: fields}, signed as
COSE_Sign1. Writer and index are signed too, so that a statement means something in one place of one log only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cbor2

from gateway.errors import GatewayError
from gateway.identity.cbor import CborError, decode, encode
from gateway.identity.cose import ES256, CoseError, Sign1, Signer, key_of, parse, sign1
from gateway.identity.names import is_named_after, point_of

STATEMENT_CONTEXT = b"lamppost statement 1"  # external data: a head never verifies as a statement, nor the reverse
ROTATION_CONTEXT = b"lamppost rotation 1"
AUTHORITY = "authority"
LONGEST_TEXT = 128
LONGEST_PAYLOAD = 8000

SITE_KEY, ENROL, ENDORSE, ROTATE, TRANSFER, SUSPEND, REVOKE, UNREVOKE = 1, 2, 3, 4, 5, 6, 7, 8
GATEWAY, GATEWAY_REVOKE, POLICY, ANCHOR, ANCHOR_REMOVE, RECORD = 9, 10, 11, 12, 13, 14
GATEWAY_MAY = frozenset((SUSPEND, RECORD))
OF_SITE = frozenset((SITE_KEY, GATEWAY, GATEWAY_REVOKE, POLICY, ANCHOR, ANCHOR_REMOVE))
ALIAS_SCHEMES = ("eui64", "label", "onem2m")


class StatementError(GatewayError):
    """The statement means nothing here. `reason` is one word for a counter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a writer wants to say; its log gives it a place."""

    kind: int
    subject: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement in its place. `fields` by name, see FIELDS."""

    kind: int
    writer: str
    index: int
    at_s: int
    subject: str
    fields: Mapping[str, Any]

    @property
    def site(self) -> str:
        """Whose log it is in."""
        return self.writer.partition("/")[0]

    @property
    def is_of_authority(self) -> bool:
        return self.writer.endswith(f"/{AUTHORITY}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable()


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _is_key(value: object) -> bool:
    """The shape of a COSE_Key; whether it is a point on its curve is asked before it is believed (rules.py)."""
    if not isinstance(value, dict):
        return False
    parts = [value.get(-2), value.get(-3)] if value.get(3) == ES256 else [value.get(-2)]
    return all(isinstance(one, bytes) and len(one) == 32 for one in parts)


def _is_kid(value: object) -> bool:
    return isinstance(value, bytes) and 1 <= len(value) <= 16


def _is_proof(value: object) -> bool:
    return isinstance(value, bytes) and len(value) <= 512


def _is_aliases(value: object) -> bool:
    return isinstance(value, dict) and all(name in ALIAS_SCHEMES and _is_text(one) for name, one in value.items())


def _is_lifts(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(name) and _is_number(one) for name, one in value.items())


def _is_map(value: object) -> bool:
    return isinstance(value, dict)


@dataclass(frozen=True)
class _Kind:
    name: str
    required: Mapping[str, tuple[int, Callable[[object], bool]]]
    optional: Mapping[str, tuple[int, Callable[[object], bool]]]


_WHY = {"reason": (1, _is_text)}
KINDS: Mapping[int, _Kind] = {
    SITE_KEY: _Kind("site-key", {"key": (1, _is_key), "recovery": (2, _is_key)}, {}),
    ENROL: _Kind(
        "enrol",
        {"key": (1, _is_key), "kid": (2, _is_kid), "zone": (4, _is_text)},
        {"aliases": (3, _is_aliases), "epoch": (5, _is_number)},
    ),
    ENDORSE: _Kind("endorse", {"from_s": (1, _is_number), "until_s": (2, _is_number)}, {"by": (3, _is_text)}),
    ROTATE: _Kind("rotate", {"key": (1, _is_key), "kid": (2, _is_kid), "proof": (3, _is_proof)}, {}),
    TRANSFER: _Kind("transfer", {}, {"zone": (1, _is_text), "to_site": (2, _is_text), "aliases": (3, _is_aliases)}),
    SUSPEND: _Kind("suspend", {}, _WHY),
    REVOKE: _Kind("revoke", {}, _WHY),
    UNREVOKE: _Kind("unrevoke", {}, {**_WHY, "lifts": (2, _is_lifts)}),
    GATEWAY: _Kind("gateway", {"key": (1, _is_key), "from": (3, _is_number)}, {"edhoc_key": (2, _is_key)}),
    GATEWAY_REVOKE: _Kind("gateway-revoke", {"limit": (2, _is_number)}, _WHY),
    POLICY: _Kind("policy", {"policy": (1, _is_map)}, {}),
    ANCHOR: _Kind("anchor", {"key": (1, _is_key), "recovery": (2, _is_key)}, {}),
    ANCHOR_REMOVE: _Kind("anchor-remove", {}, _WHY),
    RECORD: _Kind("record", {"what": (1, _is_text)}, {"epoch": (2, _is_number), "until_s": (3, _is_number)}),
}


def name_of(kind: int) -> str:
    """For people."""
    return KINDS[kind].name if kind in KINDS else f"kind {kind}"


def sign(signer: Signer, draft: Draft, *, writer: str, index: int, at_s: int) -> bytes:
    """The signed statement. Raises StatementError if the draft has not the fields of its kind."""
    numbers = _numbers(draft.kind)
    for name in draft.fields:
        if name not in numbers:
            raise StatementError("malformed", f"a statement {name_of(draft.kind)} has no field {name}")
    body = {numbers[name][0]: value for name, value in draft.fields.items()}
    payload = encode({1: draft.kind, 2: writer, 3: index, 4: at_s, 5: draft.subject, 6: body})
    read(payload)
    return sign1(signer, payload, external=STATEMENT_CONTEXT)


def open_signed(signed: bytes) -> tuple[Sign1, Statement]:
    """Take a signed statement apart, its signature not yet checked. Raises StatementError."""
    try:
        envelope = parse(signed)
    except CoseError as error:
        raise StatementError("malformed", str(error)) from None
    return envelope, read(envelope.payload)


def read(payload: bytes) -> Statement:
    """The statement of a payload. Raises StatementError "malformed"."""
    try:
        return _statement(decode(payload, largest=LONGEST_PAYLOAD))
    except CborError as error:
        raise StatementError("malformed", f"this is no statement: {error}") from None


def reread(payload: bytes) -> Statement:
    """The same for a payload that was read before: its form is not looked at again."""
    return _statement(cbor2.loads(payload))


def _statement(table: Any) -> Statement:
    try:
        kind, writer, index, at_s, subject, body = (table[key] for key in (1, 2, 3, 4, 5, 6))
    except (KeyError, TypeError):
        raise StatementError("malformed", "this is no statement") from None
    plain = _is_text(writer) and _is_text(subject) and _is_number(index) and _is_number(at_s) and len(table) == 6
    if not plain or writer.count("/") != 1 or not isinstance(kind, int) or not isinstance(body, dict):
        raise StatementError("malformed", "this statement has parts that are not known here")
    return Statement(kind=kind, writer=writer, index=index, at_s=at_s, subject=subject, fields=_fields(kind, body))


def _numbers(kind: int) -> Mapping[str, tuple[int, Callable[[object], bool]]]:
    if kind not in KINDS:
        raise StatementError("malformed", f"statements of kind {kind} are not known here; update lamppost")
    return {**KINDS[kind].required, **KINDS[kind].optional}


def _fields(kind: int, body: Mapping[object, Any]) -> dict[str, Any]:
    numbers = _numbers(kind)
    found = {name: body[number] for name, (number, _) in numbers.items() if number in body}
    missing = [name for name in KINDS[kind].required if name not in found]
    wrong = [name for name, value in found.items() if not numbers[name][1](value)]
    if missing or wrong or len(found) != len(body):
        what = ", ".join([*missing, *wrong]) or "unknown fields"
        raise StatementError("malformed", f"a statement {name_of(kind)} with missing or wrong fields: {what}")
    return found


def check_name(statement: Statement) -> None:
    """An enrolled id must be that of its key. Raises StatementError "name"."""
    key = statement.fields["key"]
    if key.get(3) != ES256 or not is_named_after(statement.subject, point_of(key)):
        raise StatementError("name", f"{statement.subject} is not the name of the key enrolled under it")


def rotation_proof(old: Signer, new_key: dict[int, Any], subject: str) -> bytes:
    """What the holder of the old key signs to pass its name on to a new one."""
    return sign1(old, encode([subject, new_key]), external=ROTATION_CONTEXT)


def check_rotation(statement: Statement, old_key: object) -> None:
    """Whether the old key agreed to the new one. Raises StatementError "rotation"."""
    try:
        envelope = parse(statement.fields["proof"])
        envelope.verify([key_of(old_key)], external=ROTATION_CONTEXT)
    except CoseError as error:
        raise StatementError(
            "rotation", f"the new key of {statement.subject} is not signed by its old one: {error}"
        ) from None
    if envelope.payload != encode([statement.subject, statement.fields["key"]]):
        raise StatementError("rotation", f"the old key of {statement.subject} signed another new key")
