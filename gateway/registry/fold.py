"""What all that was said about one identity amounts to: a pure function of the set of statements, in any order.

The authority's statements count in the order of its log. A gateway's suspension holds until the authority lifts it,
naming how far it had read that gateway's log; what the gateway says after that stands again. A revocation beats all.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.identity.cbor import encode
from gateway.identity.names import did_key, key_name, point_of
from gateway.registry import statement as st
from gateway.registry.statement import Statement, reread

ACTIVE, SUSPENDED, TRANSFERRED, REVOKED = "active", "suspended", "transferred", "revoked"
_SEVERITY = (ACTIVE, SUSPENDED, TRANSFERRED, REVOKED)
Limits = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One identity object: who it is, which key speaks for it, and whether it may.

    domain        the site that enrolled it
    aliases       its other names, by scheme: eui64, label, onem2m
    endorsed      (from_s, until_s) of the last endorsement, None without one
    old_keys      keys that were rotated out, oldest first
    """

    id: str
    domain: str
    status: str
    why: str
    key: Mapping[int, Any]
    kid: bytes
    zone: str
    aliases: Mapping[str, str]
    epoch: int
    endorsed: tuple[int, int] | None = None
    old_keys: Sequence[Mapping[int, Any]] = field(default_factory=tuple)

    @property
    def point(self) -> bytes:
        """The compressed public point."""
        return point_of(self.key)

    def names(self) -> list[str]:
        """What it is found by, beside its id and its did:key."""
        found = [f"{scheme}:{value}" for scheme, value in sorted(self.aliases.items())]
        return [*found, f"kid:{self.kid.hex()}", key_name(self.point), f"addr:{self.address:04x}"]

    @property
    def address(self) -> int:
        """The short address in frames: the first two bytes of the hash that the id shows. It stays when keys rotate."""
        return int.from_bytes(base64.b32decode(self.id[-16:].upper())[:2], "big")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.id,
            "did": did_key(self.point),
            "domain": self.domain,
            "status": self.status,
            "why": self.why,
            "public_key": self.point.hex(),
            "kid": self.kid.hex(),
            "zone": self.zone,
            "aliases": dict(self.aliases),
            "epoch": self.epoch,
            "endorsed": list(self.endorsed) if self.endorsed else None,
            "rotations": len(self.old_keys),
        }


class _View:
    """What one authority says: status, and the object if it enrolled it."""

    def __init__(self) -> None:
        self.status, self.why = ACTIVE, ""
        self.object: dict[str, Any] | None = None
        self.lifts: dict[str, int] = {}

    def take(self, one: Statement) -> None:
        if one.kind == st.ENROL:
            self._enrol(one)
        elif one.kind == st.SUSPEND and self.status == ACTIVE:
            self.status, self.why = SUSPENDED, one.fields.get("reason", "")
        elif one.kind == st.REVOKE:
            self.status, self.why = REVOKED, one.fields.get("reason", "")
        elif one.kind == st.UNREVOKE:
            self.status, self.why = ACTIVE, ""
            for writer, size in one.fields.get("lifts", {}).items():
                self.lifts[writer] = max(size, self.lifts.get(writer, 0))
        elif one.kind == st.TRANSFER and "to_site" in one.fields and self.status != REVOKED:
            self.status, self.why = TRANSFERRED, f"to {one.fields['to_site']}"
        elif self.object is not None:
            self._change(self.object, one)

    def _enrol(self, one: Statement) -> None:
        known = self.object or {"key": one.fields["key"], "kid": one.fields["kid"], "old_keys": (), "endorsed": None}
        told = {"zone": one.fields["zone"], "aliases": one.fields.get("aliases", {})}
        self.object = {**known, **told, "epoch": one.fields.get("epoch", 1)}

    def _change(self, known: dict[str, Any], one: Statement) -> None:
        if one.kind == st.ENDORSE:
            known["endorsed"] = (one.fields["from_s"], one.fields["until_s"])
        elif one.kind == st.ROTATE:
            known["old_keys"] = (*known["old_keys"], known["key"])
            known |= {"key": one.fields["key"], "kid": one.fields["kid"]}
        elif one.kind == st.TRANSFER:
            known |= {name: one.fields[name] for name in ("zone", "aliases") if name in one.fields}


def evaluate(
    subject: str, facts: Iterable[bytes], local: Iterable[bytes] = (), *, domain: str, limits: Limits
) -> Identity | None:
    """The identity, or None if `domain` never enrolled it.

    facts   payloads of the statements about it in the logs of its own site
    local   the same of this site, if it is a visitor here
    limits  how many entries of each revoked gateway's log count
    """
    said = sorted((reread(one) for one in {*facts, *local}), key=lambda one: (one.writer, one.index))
    views: dict[str, _View] = {}
    for one in said:
        if one.is_of_authority:
            views.setdefault(one.site, _View()).take(one)
    home = views.get(domain)
    if home is None or home.object is None:
        return None
    told = [(view.status, view.why) for site, view in views.items() if site == domain or view.status != TRANSFERRED]
    status, why = max(told, key=lambda two: _SEVERITY.index(two[0]))
    for one in said:
        if status == ACTIVE and one.kind == st.SUSPEND and not one.is_of_authority:
            lifted = max(view.lifts.get(one.writer, 0) for view in views.values())
            if lifted <= one.index < limits.get(one.writer, one.index + 1):
                status, why = SUSPENDED, f"{one.fields.get('reason', '')} ({one.writer})".strip()
    return Identity(id=subject, domain=domain, status=status, why=why, **home.object)


def suspensions(facts: Iterable[bytes]) -> dict[str, int]:
    """Up to where each gateway's suspensions of this subject are known: what an un-revocation lifts."""
    found: dict[str, int] = {}
    for one in map(reread, facts):
        if one.kind == st.SUSPEND and not one.is_of_authority:
            found[one.writer] = max(found.get(one.writer, 0), one.index + 1)
    return found


def row_digest(subject: str, facts: Iterable[bytes], *, domain: str, limits: Limits) -> bytes:
    """What this subject contributes to the state digest: its object and every statement that counts."""
    counted = [one for one in facts if _counts(reread(one), limits)]
    found = evaluate(subject, counted, domain=domain, limits=limits)
    state = [found.status, found.kid, found.zone, dict(found.aliases), found.epoch] if found else []
    return hashlib.sha256(encode([domain, subject, state, sorted(counted)])).digest()


def _counts(one: Statement, limits: Limits) -> bool:
    return one.index < limits.get(one.writer, one.index + 1)
