"""What the registry says of an identity, who may say what, and what is refused by name."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from gateway.identity.cose import EDDSA, ES256, KeySigner, parse
from gateway.identity.names import did_key
from gateway.registry import opening
from gateway.registry import statement as st
from gateway.registry.registry import RegistryBusy, RegistryError
from gateway.registry.statement import Draft
from gateway.registry.verifying import verify
from tests.gateway.registry.sites import Person, Town, about, carry, forged, new_key, town


@pytest.fixture
def oslo(tmp_path: Path):  # type: ignore[no-untyped-def]
    with town(tmp_path) as made:
        yield made


def test_enrolled_node_is_found_by_every_name(oslo: Town) -> None:
    node = Person()
    oslo.say(node.enrol(label="lamp-17", eui64="70b3d57ed0000001", onem2m="Clamp17"))
    found = oslo.authority.identity(node.id)
    assert found is not None
    assert (found.status, found.zone, found.point) == ("active", "north", node.point)
    for name in (
        node.id,
        "label:lamp-17",
        "eui64:70b3d57ed0000001",
        "onem2m:Clamp17",
        did_key(node.point),
        *found.names(),
    ):
        assert [one.id for one in oslo.authority.find(name)] == [node.id]
    assert oslo.authority.find("label:lamp-18") == []


def test_id_is_that_of_its_key_or_it_is_not_enrolled(oslo: Town) -> None:
    node, other = Person(), Person()
    with pytest.raises(RegistryError, match="not the name of the key"):
        oslo.say(Draft(kind=st.ENROL, subject=other.id, fields=node.enrol().fields))
    assert oslo.authority.identity(other.id) is None


def test_kids_that_collide_are_all_found(oslo: Town) -> None:
    nodes = [Person() for _ in range(3)]
    for node in nodes:
        node.kid = b"\x01"
    oslo.say(*(node.enrol() for node in nodes))
    assert {one.id for one in oslo.authority.by_kid(b"\x01")} == {node.id for node in nodes}


def test_rotated_key_keeps_the_name_and_needs_the_old_key(oslo: Town) -> None:
    node, new = Person(), new_key()
    oslo.say(node.enrol(label="lamp-1"))
    with pytest.raises(RegistryError, match="not signed by its old one"):
        oslo.say(node.rotate(new, signed_by=new))
    oslo.say(node.rotate(new))
    found = oslo.authority.identity(node.id)
    assert found is not None
    assert found.key == new.public.cose_key()
    assert [dict(old) for old in found.old_keys] == [node.key.public.cose_key()]
    assert oslo.authority.by_kid(node.kid) == []
    with pytest.raises(RegistryError, match="not signed by its old one"):
        oslo.say(node.rotate(new_key()))  # the first key is the old one no more


@pytest.mark.parametrize(
    "said, status",
    [
        ([st.SUSPEND], "suspended"),
        ([st.REVOKE], "revoked"),
        ([st.REVOKE, st.SUSPEND], "revoked"),
        ([st.SUSPEND, st.REVOKE], "revoked"),
        ([st.REVOKE, st.UNREVOKE], "active"),
        ([st.SUSPEND, st.UNREVOKE, st.REVOKE], "revoked"),
    ],
)
def test_status_by_what_the_authority_said(oslo: Town, said: list[int], status: str) -> None:
    node = Person()
    oslo.say(node.enrol(), *(about(kind, node.id) for kind in said))
    found = oslo.authority.identity(node.id)
    assert found is not None
    assert found.status == status


def test_enrolling_again_does_not_lift_a_revocation(oslo: Town) -> None:
    node = Person()
    oslo.say(node.enrol(), about(st.REVOKE, node.id), node.enrol(zone="south"))
    found = oslo.authority.identity(node.id)
    assert found is not None
    assert (found.status, found.zone) == ("revoked", "south")


def test_gateway_suspends_and_only_the_authority_lifts_it(oslo: Town) -> None:
    node, gateway = Person(), oslo.add_gateway("gw-1")
    oslo.say(node.enrol())
    carry(oslo.authority, gateway)
    gateway.append([about(st.SUSPEND, node.id, reason="stolen")], gateway.holder)
    found = gateway.identity(node.id)
    assert found is not None
    assert (found.status, found.why) == ("suspended", "stolen (oslo/gw-1)")
    with pytest.raises(RegistryError, match="only the authority may"):
        gateway.append([about(st.UNREVOKE, node.id)], gateway.holder)
    carry(gateway, oslo.authority)
    oslo.say(about(st.UNREVOKE, node.id, lifts=oslo.authority.lifts_of(node.id)))
    carry(oslo.authority, gateway)
    assert status(gateway, node) == "active"
    gateway.append([about(st.SUSPEND, node.id)], gateway.holder)  # said after the authority had read up to there
    assert status(gateway, node) == "suspended"


def status(registry, node: Person) -> str | None:  # type: ignore[no-untyped-def]
    found = registry.identity(node.id)
    return found.status if found else None


@pytest.mark.parametrize("kind", sorted(set(st.KINDS) - st.GATEWAY_MAY))
def test_gateway_may_say_nothing_that_is_the_authoritys(oslo: Town, kind: int) -> None:
    gateway = oslo.add_gateway("gw-1")
    node = Person()
    key = new_key().public.cose_key()
    fields = {
        "key": key,
        "recovery": key,
        "kid": b"k",
        "zone": "z",
        "from_s": 1,
        "until_s": 2,
        "proof": b"",
        "from": 0,
        "limit": 0,
        "policy": {},
    }
    said = about(kind, node.id, **{name: fields[name] for name in st.KINDS[kind].required})
    with pytest.raises(RegistryError, match="only the authority may"):
        gateway.append([said], gateway.holder)
    outcome = oslo.authority.take(forged(gateway.own(), gateway.holder, [said]))  # type: ignore[arg-type]
    assert outcome.problem == "not_allowed"
    assert outcome.taken == 0


def test_revocation_reaches_the_second_gateway_by_a_stick(oslo: Town) -> None:
    node, one, two = Person(), oslo.add_gateway("gw-1"), oslo.add_gateway("gw-2")
    oslo.say(node.enrol())
    carry(oslo.authority, one)
    carry(one, two)
    assert status(two, node) == "active"
    oslo.say(about(st.REVOKE, node.id, reason="stolen"))
    carry(oslo.authority, one)
    taken = carry(one, two)
    assert (taken.total, taken.problems) == (1, [])
    assert status(two, node) == "revoked"


def test_revoked_gateway_counts_up_to_the_limit_only(oslo: Town) -> None:
    first, second = Person(), Person()
    gateway = oslo.add_gateway("gw-1")
    witness = oslo.add_gateway("gw-2")
    oslo.say(first.enrol(), second.enrol())
    carry(oslo.authority, gateway)
    gateway.append([about(st.SUSPEND, first.id)], gateway.holder)
    carry(gateway, oslo.authority)
    gateway.append([about(st.SUSPEND, second.id)], gateway.holder)
    carry(gateway, witness)
    carry(oslo.authority, witness)
    assert status(witness, second) == "suspended"
    oslo.say(about(st.GATEWAY_REVOKE, "oslo/gw-1", limit=1, reason="stolen"))
    carry(oslo.authority, witness)
    assert (status(witness, first), status(witness, second)) == ("suspended", "active")
    assert witness.state_digest() == oslo.authority.state_digest()
    assert witness.heads() == oslo.authority.heads()
    assert oslo.authority.take(next(gateway.own().pieces(1))).problem == "revoked_writer"


def test_new_site_key_is_signed_by_the_old_one(oslo: Town) -> None:
    gateway, node, new = oslo.add_gateway("gw-1"), Person(), new_key()
    keys = {"key": new.public.cose_key(), "recovery": oslo.recovery.public.cose_key()}
    oslo.authority.append([about(st.SITE_KEY, "oslo", **keys)], oslo.key, head_signer=new)
    with pytest.raises(RegistryError, match="not trusted"):
        oslo.say(node.enrol())
    oslo.key = new
    oslo.say(node.enrol())
    assert carry(oslo.authority, gateway).problems == []
    assert status(gateway, node) == "active"


def test_lost_site_key_is_replaced_with_the_recovery_key(oslo: Town) -> None:
    gateway, node, new = oslo.add_gateway("gw-1"), Person(), new_key()
    with pytest.raises(RegistryError, match="not trusted"):
        oslo.authority.append([node.enrol()], oslo.recovery)  # it can make keys, nothing else
    keys = {"key": new.public.cose_key(), "recovery": new_key().public.cose_key()}
    oslo.authority.append([about(st.SITE_KEY, "oslo", **keys)], oslo.recovery, head_signer=new)
    oslo.key = new
    oslo.say(node.enrol())
    assert carry(oslo.authority, gateway).problems == []
    assert status(gateway, node) == "active"


def test_site_moves_to_another_algorithm(oslo: Town) -> None:
    """ES256 to EdDSA: what was signed before stays good, what follows is signed anew, and nobody is visited."""
    gateway, before, after = oslo.add_gateway("gw-1"), Person(), Person()
    oslo.say(before.enrol())
    carry(oslo.authority, gateway)
    new, new_gateway = (KeySigner(ed25519.Ed25519PrivateKey.generate()) for _ in range(2))
    keys = {"key": new.public.cose_key(), "recovery": oslo.recovery.public.cose_key()}
    oslo.authority.append([about(st.SITE_KEY, "oslo", **keys)], oslo.key, head_signer=new)
    oslo.key = new
    oslo.say(after.enrol(), about(st.GATEWAY, "oslo/gw-1", key=new_gateway.public.cose_key(), **{"from": 0}))
    assert carry(oslo.authority, gateway).problems == []
    gateway.append([about(st.SUSPEND, before.id)], new_gateway)
    assert carry(gateway, oslo.authority).problems == []
    assert [status(one, before) for one in (gateway, oslo.authority)] == ["suspended", "suspended"]
    assert status(gateway, after) == "active"
    algorithms = {parse(entry).alg for entry in gateway.writer("oslo/authority").entries()}
    assert algorithms == {ES256, EDDSA}
    assert verify(oslo.authority)[1] == []


def test_gateway_key_is_replaced_by_the_authority(oslo: Town) -> None:
    gateway, node = oslo.add_gateway("gw-1"), Person()
    gateway.append([about(st.SUSPEND, node.id)], gateway.holder)
    new = new_key()
    oslo.say(about(st.GATEWAY, "oslo/gw-1", key=new.public.cose_key(), **{"from": 1}))
    carry(oslo.authority, gateway)
    with pytest.raises(RegistryError, match="not trusted"):
        gateway.append([about(st.SUSPEND, node.id)], gateway.holder)
    gateway.append([about(st.SUSPEND, node.id)], new)
    assert carry(gateway, oslo.authority).entries == {"oslo/gw-1": 2}


def test_two_processes_do_not_write_in_one_registry(oslo: Town) -> None:
    folder = oslo.folder_of("authority")
    with pytest.raises(RegistryBusy), opening.open_registry(folder):
        pass
    with opening.open_registry(folder, read_only=True) as beside:
        assert beside.state_digest() == oslo.authority.state_digest()


def test_registry_is_the_same_after_a_restart(tmp_path: Path) -> None:
    node = Person()
    with town(tmp_path) as oslo:
        oslo.say(node.enrol(label="lamp-1"), about(st.REVOKE, node.id))
        digest, heads = oslo.authority.state_digest(), oslo.authority.heads()
    with ExitStack() as stack:
        again = stack.enter_context(opening.open_registry(tmp_path / "oslo" / "authority"))
        assert again.notices == []
        assert (again.state_digest(), again.heads()) == (digest, heads)
        assert [one.status for one in again.find("label:lamp-1")] == ["revoked"]
