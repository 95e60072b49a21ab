"""A node that no file of the gateway's names: the site's registry does, and what it says goes."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from drivers.link.edhoc import kid_of
from firmware.join import Joined
from gateway.audit import AuditLog
from gateway.clock import ClockTrust
from gateway.identity.cose import PublicKey
from gateway.identity.names import device_id
from gateway.registry import statement as st
from gateway.registry.statement import Draft
from gateway.trust import Trust
from provisioning.enrol import Enrolment
from tests.gateway.cores import hear, running_core
from tests.gateway.joining import Bearer, JoiningNode, Site
from tests.gateway.registry.sites import about, carry, town
from tests.gateway.sealed_node import SealedNode


def enrolment_of(node: JoiningNode) -> Draft:
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), node.keys.public)
    fields = {"key": PublicKey.of(point).cose_key(), "kid": kid_of(node.keys.public), "zone": "north", "aliases": {}}
    return Draft(kind=st.ENROL, subject=device_id(node.keys.public, 32473), fields=fields)


async def test_a_node_of_the_registry_joins_reports_and_is_refused_once_revoked(tmp_path: Path) -> None:
    site = Site()
    public = site.endorse(tmp_path / "data")
    node = JoiningNode(site.trust(public))
    with town(tmp_path) as city:
        registry = city.add_gateway("gw-1")
        clock = ClockTrust()
        trust = Trust(registry, AuditLog(tmp_path / "audit", actor="gw-1"), clock)
        async with running_core(tmp_path / "data", trust=trust, clock=clock) as core:
            stranger = Bearer(core)
            assert await node.join(stranger) is None
            assert "join_unknown_node" in stranger.reasons
            enrolment = enrolment_of(node)
            city.say(enrolment)
            carry(city.authority, registry)
            joined = await node.join(Bearer(core))
            assert joined is not None
            speaker = speaking(node, enrolment.subject, joined)
            assert (await hear(core, speaker.report())).accepted
            city.say(about(st.REVOKE, enrolment.subject, reason="stolen"))
            carry(city.authority, registry)
            assert (await hear(core, speaker.report())).reason == "revoked"
            late = Bearer(core)
            assert await node.join(late) is None
            assert "join_revoked" in late.reasons


def speaking(node: JoiningNode, subject: str, joined: Joined) -> SealedNode:
    """The node after its join: reports under the joined key."""
    made = Enrolment(
        id=subject,
        address=f"{node.address:04x}",
        hash="",
        alias="",
        epoch=joined.epoch,
        public_key=node.keys.public.hex(),
        root_key=joined.root,
        private_key_pem="",
        gateway_file=Path(),
    )
    return SealedNode(made)
