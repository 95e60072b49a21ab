"""A node that no file of the gateway's names: the site's registry does, and what it says goes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from drivers.link.edhoc import kid_of
from firmware.join import Joined
from gateway.audit import AuditLog, read_entries, verify
from gateway.clock import ClockTrust
from gateway.identity.cose import PublicKey
from gateway.identity.names import device_id
from gateway.registry import statement as st
from gateway.registry.statement import Draft
from gateway.trust import Trust
from provisioning.enrol import Enrolment
from tests.gateway.cores import NOW_S, FailingDisk, hear, running_core
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


async def test_a_node_that_moves_and_comes_back_is_no_clone_and_a_copy_of_it_is(tmp_path: Path) -> None:
    site, now_s, counted = Site(), [NOW_S], list[str]()
    node = JoiningNode(site.trust())
    async with AsyncExitStack() as stack:
        city = stack.enter_context(town(tmp_path))
        city.say(enrolment_of(node))
        gateways = []
        for name in ("gw-1", "gw-2"):
            site.endorse(tmp_path / name)
            registry = city.add_gateway(name)
            registry.now_s = lambda: now_s[0]
            trust = Trust(registry, AuditLog(tmp_path / name / "audit", actor=name), ClockTrust())
            trust.count = counted.append
            gateways.append((await stack.enter_async_context(running_core(tmp_path / name, trust=trust)), trust))

        async def speak(at: int, speaker: SealedNode) -> None:
            """The node is heard here, ten minutes later; what both wrote down meets."""
            now_s[0] += 600
            core, trust = gateways[at]
            assert (await hear(core, speaker.report(), at_s=now_s[0])).accepted
            assert trust.keeper is not None
            trust.keeper._work()
            carry(city.gateways["gw-1"], city.gateways["gw-2"])
            carry(city.gateways["gw-2"], city.gateways["gw-1"])

        epochs, epoch = [], 0
        for at in (0, 1, 0, 1):
            bearer = Bearer(gateways[at][0])
            joined = await node.join(bearer, epoch=epoch) or await node.join(bearer, epoch=epoch)
            assert joined is not None
            epoch = joined.epoch
            epochs.append(epoch)
            speaker = speaking(node, enrolment_of(node).subject, joined)
            await speak(at, speaker)
        assert epochs == [1, 2, 3, 4]
        assert "clone_alarms" not in counted
        copy = JoiningNode(site.trust(), keys=node.keys)
        bearer = Bearer(gateways[0][0])
        thief = await copy.join(bearer, epoch=1) or await copy.join(bearer, epoch=1)
        assert thief is not None  # it has the key; that it is there twice shows once the node itself speaks again
        await speak(0, speaking(node, enrolment_of(node).subject, thief))
        await speak(1, speaker)
        assert "clone_alarms" in counted


async def test_a_join_and_a_session_are_in_the_audit_log_before_they_count(tmp_path: Path) -> None:
    """Nobody flushes the log here: a kill right after the answer costs no entry of what was answered."""
    site, disk = Site(), FailingDisk()
    node = JoiningNode(site.trust(site.endorse(tmp_path / "data")))
    with town(tmp_path) as city:
        registry = city.add_gateway("gw-1", tmp_path / "data" / "registry")
        city.say(enrolment_of(node))
        carry(city.authority, registry)
        trust = Trust(registry, AuditLog(tmp_path / "audit", actor="gw-1"), ClockTrust())
        trust.audit.open()

        def entries() -> list[tuple[str, str]]:
            return [(one.what, one.detail) for one in read_entries(tmp_path / "audit")]

        async with running_core(tmp_path / "data", trust=trust, files=disk) as core:
            joined = await node.join(Bearer(core))
            assert joined is not None
            assert entries()[-1] == ("joined", "epoch 1")
            speaker = speaking(node, enrolment_of(node).subject, joined)
            frame = speaker.report()
            disk.fails = True
            assert (await hear(core, frame)).retry
            disk.fails = False
            assert entries()[-1] == ("session", "epoch 1")
            assert (await hear(core, speaker.report())).accepted
            assert (await hear(core, frame)).accepted
            trust.audit.flush()
            assert [what for what, _ in entries()][-3:] == ["session", "not kept", "session"]
        assert verify(tmp_path / "audit", None) == (len(entries()), [])


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
