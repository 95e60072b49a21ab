"""Who may write in the registry: the site's keys, its gateways, its policy, and the sites it trusts.

Small, so it is all in memory. Folded from the authority's log alone, in the order of that log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.errors import GatewayError
from gateway.identity.cbor import CborError, decode, encode
from gateway.identity.cose import CoseError, PublicKey, key_of
from gateway.registry import statement as st
from gateway.registry.statement import AUTHORITY, Statement


class AnchorError(GatewayError):
    """This is no anchor file."""


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """What has to be believed to believe a site: its name, its first key, the key that may replace a lost one."""

    site: str
    key: PublicKey
    recovery: PublicKey

    def encode(self) -> bytes:
        """For a file; it holds nothing secret."""
        return encode({1: 1, 2: self.site, 3: self.key.cose_key(), 4: self.recovery.cose_key()})


def read_anchor(data: bytes) -> Anchor:
    """The anchor in a file. Raises AnchorError."""
    try:
        table = decode(data, largest=4096)
        if table[1] != 1 or len(table) != 4 or not isinstance(table[2], str) or not table[2]:
            raise AnchorError("this is no anchor of a kind known here")
        return Anchor(site=table[2], key=key_of(table[3]), recovery=key_of(table[4]))
    except (CborError, CoseError, KeyError, TypeError):
        raise AnchorError("this is no anchor file; get one with `lamppost authority export --anchor`") from None


@dataclass
class Gateway:
    """One gateway as its site sees it. `keys`: (first index, key), rising. `limit`: entries that count, if revoked."""

    writer: str
    keys: list[tuple[int, PublicKey]]
    edhoc_key: Mapping[int, Any] | None = None
    limit: int | None = None
    why: str = ""

    @property
    def is_revoked(self) -> bool:
        return self.limit is not None


@dataclass
class _Trust:
    """One authority: (first index, key, recovery key), rising."""

    keys: list[tuple[int, PublicKey, PublicKey]]
    is_active: bool = True


@dataclass
class Site:
    """The state that decides who may write. `take` must get the home authority's statements in order."""

    anchor: Anchor
    gateways: dict[str, Gateway] = field(default_factory=dict)
    policy: Mapping[str, Any] | None = None
    policy_index: int = -1

    def __post_init__(self) -> None:
        self._trusts = {self.anchor.site: _trust_of(self.anchor)}

    @property
    def authority(self) -> str:
        """The home authority as a writer."""
        return f"{self.anchor.site}/{AUTHORITY}"

    @property
    def limits(self) -> dict[str, int]:
        """How many entries of each revoked gateway count."""
        return {one.writer: one.limit for one in self.gateways.values() if one.limit is not None}

    @property
    def domains(self) -> list[str]:
        """The sites whose word holds here now: this one first."""
        others = sorted(site for site, trust in self._trusts.items() if trust.is_active and site != self.anchor.site)
        return [self.anchor.site, *others]

    def is_known(self, writer: str) -> bool:
        """Whether a log of this writer may be kept here at all."""
        site, _, name = writer.partition("/")
        if name == AUTHORITY:
            return site in self._trusts and self._trusts[site].is_active
        return writer in self.gateways

    def keys_at(self, writer: str, index: int) -> list[PublicKey]:
        """The keys that may sign entry `index` of this log; an authority's recovery key is the last. Empty: unknown.

        What was written counts also for a gateway that was revoked and an anchor that was removed: whether it is still
        listened to is `is_known` and `limits`.
        """
        site, _, name = writer.partition("/")
        if name == AUTHORITY:
            trust = self._trusts.get(site)
            found = [one for one in trust.keys if one[0] <= index] if trust else []
            return [*found[-1][1:]] if found else []
        gateway = self.gateways.get(writer)
        return [key for first, key in gateway.keys if first <= index][-1:] if gateway else []

    def copy(self) -> Site:
        """Another one that grows apart: to try statements out before they are believed."""
        made = Site(self.anchor, {name: replace(one, keys=list(one.keys)) for name, one in self.gateways.items()})
        made.policy, made.policy_index = self.policy, self.policy_index
        made._trusts = {site: _Trust(list(one.keys), one.is_active) for site, one in self._trusts.items()}
        return made

    def head_keys(self, writer: str, size: int) -> list[PublicKey]:
        """The keys that may sign the head of a log of `size` entries."""
        return self.keys_at(writer, max(0, size if writer.endswith(f"/{AUTHORITY}") else size - 1))

    def take(self, one: Statement) -> None:
        """Apply a statement that was checked."""
        if one.kind == st.SITE_KEY:
            keys = (one.index + 1, key_of(one.fields["key"]), key_of(one.fields["recovery"]))
            trust = self._trusts[one.site]
            if all(known[0] != keys[0] for known in trust.keys):  # a log may be read twice
                trust.keys.append(keys)
        if one.site != self.anchor.site:
            return
        if one.kind == st.GATEWAY:
            known = self.gateways.get(one.subject)
            keys_of_it = [*(known.keys if known else []), (one.fields["from"], key_of(one.fields["key"]))]
            self.gateways[one.subject] = Gateway(one.subject, keys_of_it, one.fields.get("edhoc_key"))
        elif one.kind == st.GATEWAY_REVOKE and one.subject in self.gateways:
            gateway = self.gateways[one.subject]
            gateway.limit, gateway.why = one.fields["limit"], one.fields.get("reason", "")
        elif one.kind == st.POLICY:
            self.policy, self.policy_index = one.fields["policy"], one.index
        elif one.kind == st.ANCHOR:
            imported = Anchor(site=one.subject, key=key_of(one.fields["key"]), recovery=key_of(one.fields["recovery"]))
            known_trust = self._trusts.get(one.subject)
            if known_trust is None or known_trust.keys[0] != _trust_of(imported).keys[0]:
                self._trusts[one.subject] = _trust_of(imported)
            self._trusts[one.subject].is_active = True
        elif one.kind == st.ANCHOR_REMOVE and one.subject in self._trusts:
            self._trusts[one.subject].is_active = False

    def digest_parts(self) -> list[object]:
        """What the site's own state contributes to the state digest."""
        gateways = [[one.writer, one.limit, [[at, key.kid] for at, key in one.keys]] for one in self.gateways.values()]
        trusts = [[site, self._trusts[site].is_active, len(self._trusts[site].keys)] for site in sorted(self._trusts)]
        return [self.anchor.site, sorted(gateways, key=repr), self.policy_index, trusts]


def _trust_of(anchor: Anchor) -> _Trust:
    return _Trust([(0, anchor.key, anchor.recovery)])
