"""May it: the questions that the ways in ask of the registry and its policy, and one word for each refusal.

Without a registry everything is as the node files and access lists say. With one, whoever it revoked is refused at
once; with a policy, what no rule allows is refused too. Safe to ask from any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import ConfigError
from gateway.identity.names import key_name
from gateway.identity.policy import COMMAND, JOIN, REPORT, Policy, read_policy
from gateway.registry.fold import ACTIVE, Identity
from gateway.registry.registry import Registry
from gateway.registry.statement import Statement

_KEPT = 4096
Now = Callable[[], float]


class Method(Protocol):
    """One way to prove who one is. Given what was shown, who may it be? The caller checks the proof itself."""

    @property
    def name(self) -> str:
        """As in policies."""

    def candidates(self, shown: bytes) -> list[Identity]:
        """Whoever could show this; several if short names collide."""


class EdhocCredential:
    """By the kid of a static key (RFC 9528, credentials by reference): several may share one, each is tried."""

    name = "edhoc"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def candidates(self, shown: bytes) -> list[Identity]:
        """shown: a kid."""
        return self._registry.by_kid(shown)


class CertificateKey:
    """By the key in an X.509 certificate that TLS verified: the same key names the same identity."""

    name = "mtls"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def candidates(self, shown: bytes) -> list[Identity]:
        """shown: the compressed point of the certificate's key."""
        return self._registry.find(key_name(shown))


@dataclass(frozen=True)
class Staleness:
    """How old the authority's last word is, and whether the policy minds."""

    age_s: float | None
    is_stale: bool
    when_stale: str


class Admission:
    """The registry's answers, remembered until it changes. `registry` None: there is none, nothing is refused."""

    def __init__(self, registry: Registry | None, *, now_s: Now, is_time_trusted: Callable[[], bool]) -> None:
        self.registry = registry
        self.methods: dict[str, Method] = {}
        self._now_s = now_s
        self._is_time_trusted = is_time_trusted
        self._known: dict[str, Identity | None] = {}
        self._policy: Policy | None = None
        self._policy_index = -1
        if registry is not None:
            self.methods = {one.name: one for one in (EdhocCredential(registry), CertificateKey(registry))}
            registry.listeners.append(self._changed)

    def refusal(self, subject: str, *, method: str | None, action: str = REPORT, what: str = "") -> str | None:
        """Why `subject` (an id) may not: the reason for a counter; None if it may.

        action, what  JOIN; REPORT and a quantity ("": anything at all); COMMAND and its name
        """
        if self.registry is None:
            return None
        one, policy = self._identity(subject), self.policy()
        if one is None:
            return "not_enrolled" if policy is not None else None
        if one.status != ACTIVE:
            return one.status
        if policy is None:
            return None
        return self._by_policy(one, policy, method, action, what)

    def may_speak(self, subject: str, method: str | None) -> str | None:
        """For every frame and message: whether it is heard at all."""
        return self.refusal(subject, method=method, action=JOIN)

    def may_report(self, subject: str, quantity: str) -> bool:
        """Whether a reading of this quantity may be kept."""
        return self.refusal(subject, method=None, action=REPORT, what=quantity) is None

    def may_receive(self, subject: str, command: str) -> bool:
        """Whether a command may be sent to it."""
        return self.refusal(subject, method=None, action=COMMAND, what=command) is None

    def may_join(self, subject: str, method: str) -> str | None:
        """For a key agreement: as may_speak, and whether joins are admitted with an authority this silent."""
        state = self.staleness()
        if state.is_stale and state.when_stale != "serve":
            return "authority_silent"
        return self.may_speak(subject, method)

    def at_address(self, address: int) -> list[Identity]:
        """Whoever has this short address in frames; addresses collide, the tag decides."""
        return [] if self.registry is None else self.registry.find(f"addr:{address:04x}")

    def of_device(self, device: str) -> Identity | None:
        """The identity behind a third party's device name, which is its label or its id."""
        if self.registry is None:
            return None
        found = self.registry.find(device if device.startswith("urn:") else f"label:{device}")
        return found[0] if len(found) == 1 else None

    def device_refusal(self, device: str, method: str) -> str | None:
        """The same as may_speak for a device by its topic name."""
        if self.registry is None:
            return None
        one = self.of_device(device)
        if one is None:
            return "not_enrolled" if self.policy() is not None else None
        return self.may_speak(one.id, method)

    def policy(self) -> Policy | None:
        """The policy in force. One that this version cannot read allows nothing."""
        if self.registry is None or self.registry.site.policy is None:
            return None
        if self._policy_index != self.registry.site.policy_index:
            try:
                self._policy = read_policy(self.registry.site.policy)
            except ConfigError:
                self._policy = Policy(rules=())
            self._policy_index = self.registry.site.policy_index
        return self._policy

    def staleness(self) -> Staleness:
        """How long the authority is silent. A clock that is not trusted says nothing."""
        policy = self.policy()
        heard_at_s = self.registry.authority_heard_at_s() if self.registry is not None else None
        if heard_at_s is None or not self._is_time_trusted():
            return Staleness(None, False, policy.when_stale if policy else "serve")
        age_s = max(0.0, self._now_s() - heard_at_s)
        limit_s = policy.authority_max_age_s if policy else None
        return Staleness(age_s, limit_s is not None and age_s > limit_s, policy.when_stale if policy else "serve")

    def _by_policy(self, one: Identity, policy: Policy, method: str | None, action: str, what: str) -> str | None:
        state = self.staleness()
        if state.is_stale and state.when_stale == "refuse":
            return "authority_silent"
        if policy.require_endorsement and self._is_time_trusted() and not _is_endorsed(one, self._now_s()):
            return "not_endorsed"
        home = self.registry.site.anchor.site if self.registry is not None else ""
        return policy.refusal(action, what, id=one.id, zone=one.zone, site=one.domain, home=home, method=method)

    def _identity(self, subject: str) -> Identity | None:
        assert self.registry is not None
        found = self._known.get(subject, self)
        if found is not self:
            return found  # type: ignore[return-value]
        with self.registry.lock:  # so that no change comes between asking and remembering
            if len(self._known) >= _KEPT:
                self._known.clear()
            one = self._known[subject] = self.registry.identity(subject)
        return one

    def _changed(self, one: Statement) -> None:
        self._known.clear()


def _is_endorsed(one: Identity, now_s: float) -> bool:
    return one.endorsed is not None and one.endorsed[0] <= now_s < one.endorsed[1]
