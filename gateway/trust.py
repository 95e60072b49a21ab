"""Whom this gateway listens to, put together: the site's registry and policy if there are any, and the audit log.

`open_trust` opens data_dir/registry (if it is there) and data_dir/audit. The ways in ask a Trust; a site without a
registry gets one that refuses nobody whom node files and access lists admit.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.audit import AuditLog, Entry
from gateway.clock import ClockTrust
from gateway.errors import ConfigError
from gateway.identity.admission import Admission
from gateway.identity.names import compressed
from gateway.identity.nodes import Node
from gateway.identity.policy import COMMAND
from gateway.reading import Reading, Report
from gateway.registry import opening
from gateway.registry.fold import Identity
from gateway.registry.keeper import Keeper
from gateway.registry.registry import Registry

if TYPE_CHECKING:
    from gateway.core import Core

REGISTRY_DIR, AUDIT_DIR = "registry", "audit"
REFUSALS = (
    "revoked",
    "suspended",
    "transferred",
    "not_enrolled",
    "not_permitted",
    "not_endorsed",
    "downgrade",
    "authority_silent",
)
_MOST_EPOCHS = 100_000
_METHOD_OF_ASSURANCE = {"mtls": "mtls", "password": "password", "none": "none"}
_POINT_LEN = 33  # compressed, P-256: what a node can join with
CertificateDevices = Callable[[bytes, str], tuple[frozenset[str], str | None]]


class Trust:
    """Asked by sessions, devices, listener and core. `count` is set once there are counters."""

    def __init__(self, registry: Registry | None, audit: AuditLog, clock: ClockTrust) -> None:
        self.audit = audit
        self.count: Callable[[str], None] = lambda name: None
        self.admission = Admission(registry, now_s=clock.now_s, is_time_trusted=lambda: clock.is_trusted)
        self._epochs: dict[str, int] = {}
        self.keeper: Keeper | None = None
        self.certificate_devices: CertificateDevices | None = None
        if registry is not None:
            self.keeper = Keeper(registry, self.admission, count=lambda name: self.count(name), audit=audit)
            self.certificate_devices = self._devices_of_certificate

    @property
    def has_registry(self) -> bool:
        """Whether what a device may do can change from one moment to the next."""
        return self.admission.registry is not None

    @classmethod
    def without_registry(cls, clock: ClockTrust) -> Trust:
        """Refuses nobody, and writes nothing down."""
        return cls(None, AuditLog(Path(), actor=""), clock)

    def nodes_at(self, address: int) -> list[Node]:
        """The registry's nodes with this short address: by their public keys, so they have to join."""
        return [_as_node(one) for one in self.admission.at_address(address) if len(one.point) == _POINT_LEN]

    def nodes_with(self, kid: bytes) -> list[Node]:
        """The registry's nodes that may join under this kid."""
        method = self.admission.methods.get("edhoc")
        found = method.candidates(kid) if method is not None else []
        return [_as_node(one) for one in found if len(one.point) == _POINT_LEN]

    def may_speak(self, node: Node) -> str | None:
        """Why a node whose frame is its own is refused; None if it is not."""
        return self.admission.may_speak(node.id, "placed_key" if node.root_key else "edhoc")

    def may_join(self, node: Node) -> str | None:
        """Why a node that proved by EDHOC who it is is refused; None if it is not."""
        return self.admission.may_join(node.id, "edhoc")

    def device_refusal(self, device: str, assurance: str) -> str | None:
        """Why a third party's device is refused; None if it is not."""
        return self.admission.device_refusal(device, _METHOD_OF_ASSURANCE.get(assurance, "none"))

    def command_refusal(self, node: str, command: str, allowed: Sequence[str]) -> str | None:
        """Why a command may not go to this node (an id), None if it may.

        allowed  what gateway.toml lets go where no policy is in force; the policy alone decides where one is
        """
        refused = self.admission.refusal(node, method=None, action=COMMAND, what=command)
        if refused is None and self.admission.policy() is None and command not in allowed:
            return "gateway.toml does not allow it; see command.allow"
        return refused

    def heard(self, node: str, epoch: int, at_s: float) -> None:
        """A frame of this node was accepted."""
        if self._epochs.get(node) != epoch:
            if len(self._epochs) >= _MOST_EPOCHS:
                self._epochs.clear()
            self._epochs[node] = epoch
            self.audit.record("session", node, f"epoch {epoch}", actor=node)
        if self.keeper is not None:
            self.keeper.heard(node, epoch, at_s)

    def departed(self) -> dict[str, float]:
        """Nodes that another gateway has heard since the last call, and when."""
        return {} if self.keeper is None else self.keeper.departed()

    def leaves_join(self) -> bool:
        """Whether to leave a repeated request to join to another gateway: every second time, if there is another."""
        registry = self.admission.registry
        if registry is None:
            return False
        with registry.lock:
            others = sum(not one.is_revoked for one in registry.site.gateways.values()) > 1
        return others and secrets.randbelow(2) == 0

    def joined(self, node: str, epoch: int) -> None:
        """A node proved who it is, and its new key is written down."""
        self.audit.record("joined", node, f"epoch {epoch}", actor=node)

    def not_kept(self) -> None:
        """The commit failed that was just recorded; what happens again is recorded again."""
        self._epochs.clear()
        self.audit.note("not kept", "", "the commit failed that the entries just before speak of")

    def note_refusal(self, reason: str, who: str | None) -> None:
        """A frame or message was refused."""
        self.audit.refused(reason, who)

    @property
    def has_policy(self) -> bool:
        """Whether `permitted` may take something away."""
        return self.admission.policy() is not None

    def permitted(self, report: Report) -> Report:
        """The report with the readings that the policy lets it have."""
        if self.admission.policy() is None:
            return report
        subject = report.node
        if not subject.startswith("urn:"):
            found = self.admission.of_device(subject)
            subject = found.id if found else subject
        allowed = tuple(one for one in report.readings if self.admission.may_report(subject, one.quantity))
        return report if len(allowed) == len(report.readings) else replace(report, readings=allowed)

    def _devices_of_certificate(self, certificate: bytes, name: str) -> tuple[frozenset[str], str | None]:
        """The device names that the holder of this verified certificate may use, or why it is refused."""
        from cryptography import x509  # 2 MB, for gateways whose devices have certificates

        key = x509.load_der_x509_certificate(certificate).public_key()
        found = []
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            found = self.admission.methods["mtls"].candidates(compressed(key))
        if len(found) != 1:
            if self.admission.policy() is None:
                return frozenset((name,)), None if name else "name"
            return frozenset(), "not_enrolled"
        one = found[0]
        reason = self.admission.may_speak(one.id, "mtls")
        names = frozenset(filter(None, (one.aliases.get("label"), one.id)))
        if reason is None and name not in names:
            reason = "name"
        return names, reason


@contextmanager
def open_trust(data_dir: Path, *, gateway_id: str, site: str, clock: ClockTrust) -> Iterator[Trust]:
    """Everything for as long as the gateway runs. Raises ConfigError, RegistryError, KeyFileError, AnchorError."""
    folder = data_dir / REGISTRY_DIR
    if not opening.exists(folder):
        yield _opened(None, data_dir, gateway_id, clock)
        return
    with opening.open_registry(folder) as registry:
        registry.now_s = clock.now_s
        if registry.site.anchor.site != site:
            raise ConfigError("gateway.site", site, f"is not {registry.site.anchor.site}, the site of {folder}")
        yield _opened(registry, data_dir, gateway_id, clock)


def _opened(registry: Registry | None, data_dir: Path, gateway_id: str, clock: ClockTrust) -> Trust:
    audit = AuditLog(data_dir / AUDIT_DIR, actor=gateway_id, signer=registry.holder if registry else None)
    audit.open()
    for notice in registry.notices if registry else ():
        audit.note("registry damaged", "", notice)
    return Trust(registry, audit, clock)


def digest_of_settings(settings: object) -> str:
    """What changes when a setting does; settings hold paths of secrets, no secrets."""
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:16]


def forward_to(core: Core) -> Callable[[Entry], Any] | None:
    """Hands audit entries to the city as events; None for a site without a registry, where nobody asked for them."""
    if core.trust.keeper is None:
        return None

    async def forward(entry: Entry) -> None:
        told = {"what": entry.what, "actor": entry.actor, "device": entry.device, "detail": entry.detail}
        readings = [Reading(quantity="audit/n", value=entry.number)]
        readings += [Reading(quantity=f"audit/{name}", value=value) for name, value in told.items() if value]
        readings.append(Reading(quantity="audit/after", value=entry.previous.hex()))
        await core.intake.submit_own(readings, kind="event", measured_at_s=float(entry.at_s))

    return forward


def _as_node(one: Identity) -> Node:
    return Node(
        id=one.id,
        address=one.address,
        root_key=b"",
        public_key=one.point,
        epoch=max(one.epoch, 1),
        alias=one.aliases.get("label"),
    )
