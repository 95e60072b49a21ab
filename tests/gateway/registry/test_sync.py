"""Logs travel in any order and in parts, and what is false in them is refused and named."""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as hy

from gateway.registry import bundle, opening
from gateway.registry import statement as st
from gateway.registry.bundle import BundleError
from gateway.registry.registry import Registry, RegistryError
from gateway.registry.writer import Piece
from tests.gateway.registry.sites import Person, Town, about, carry, forged, new_key, town


@pytest.fixture
def oslo(tmp_path: Path) -> Iterator[Town]:
    with town(tmp_path) as made:
        made.add_gateway("gw-1")
        made.add_gateway("gw-2")
        carry(made.authority, made.gateways["gw-1"])
        yield made


def grow(oslo: Town, rng: random.Random, turns: int) -> None:
    """Changes on all sides, as if no link were up; some of them contradict each other."""
    nodes = [Person() for _ in range(4)]
    oslo.say(*(node.enrol() for node in nodes[:2]))
    for _ in range(turns):
        node = rng.choice(nodes)
        kinds = (st.SUSPEND, st.REVOKE, st.UNREVOKE, st.TRANSFER, st.ENDORSE, st.ENROL)
        match rng.choice(("authority", "gw-1", "gw-2")), rng.choice(kinds):
            case "authority", st.ENROL:
                oslo.say(node.enrol(zone=rng.choice("abc"), label=rng.choice("xyz")))
            case "authority", st.TRANSFER:
                oslo.say(about(st.TRANSFER, node.id, zone=rng.choice("abc")))
            case "authority", st.ENDORSE:
                oslo.say(about(st.ENDORSE, node.id, from_s=1, until_s=rng.randrange(99)))
            case "authority", kind:
                lifts = {"lifts": {"oslo/gw-1": rng.randrange(4)}} if kind == st.UNREVOKE else {}
                oslo.say(about(kind, node.id, **lifts))
            case name, _:
                gateway = oslo.gateways[name]
                gateway.append([about(st.SUSPEND, node.id)], gateway.holder)


def settle(registry: Registry, pieces: list[Piece]) -> None:
    """Take pieces in this order, over and over, until nothing is new: what came too early comes again."""
    while sum(registry.take(piece).taken for piece in pieces):
        pass


def grown_town(folder: Path, seed: int) -> tuple[list[Piece], list[tuple[str, dict[str, tuple[int, bytes]]]], bytes]:
    """All pieces of a grown town, what its own holders believe once healed, and its anchor."""
    rng = random.Random(seed)
    with town(folder) as oslo:
        for name in ("gw-1", "gw-2"):
            oslo.add_gateway(name)
        grow(oslo, rng, 25)
        holders = [oslo.authority, *oslo.gateways.values()]
        for _ in range(2):
            for giver in holders:
                for taker in holders:
                    carry(giver, taker)
        pieces = list(bundle.pieces_for(oslo.authority, {}))
        return pieces, [(one.state_digest(), one.heads()) for one in holders], oslo.anchor.encode()


@settings(max_examples=5)
@given(seed=hy.integers(0, 1 << 16), order=hy.randoms(use_true_random=False))
def test_any_order_and_partition_gives_an_equal_state(seed: int, order: random.Random) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        pieces, beliefs, anchor = grown_town(Path(scratch), seed)
        assert all(one == beliefs[0] for one in beliefs)
        folder = Path(scratch) / "late"
        folder.mkdir()
        opening.make_holder(folder)
        opening.create(folder, anchor, me=None)
        order.shuffle(pieces)
        cut = order.randrange(len(pieces) + 1)
        with opening.open_registry(folder) as late:
            settle(late, pieces[:cut])
        with opening.open_registry(folder) as late:
            settle(late, pieces)
            assert late.notices == []
            assert (late.state_digest(), late.heads()) == beliefs[0]


def test_bundle_taken_twice_changes_nothing(oslo: Town) -> None:
    oslo.say(Person().enrol())
    gateway = oslo.gateways["gw-1"]
    assert carry(oslo.authority, gateway).total == 1
    digest = gateway.state_digest()
    taken = carry(oslo.authority, gateway)
    assert (taken.total, taken.problems) == (0, [])
    assert gateway.state_digest() == digest


def test_old_bundle_after_a_new_one_is_no_fault(oslo: Town, tmp_path: Path) -> None:
    gateway = oslo.gateways["gw-1"]
    oslo.authority.refresh_head(oslo.key)
    bundle.write_bundle(oslo.authority, tmp_path / "monday")
    oslo.say(Person().enrol())
    carry(oslo.authority, gateway)
    taken = bundle.take_bundle(gateway, io.BytesIO((tmp_path / "monday").read_bytes()))
    assert (taken.total, taken.problems) == (0, [])


def test_every_changed_byte_of_a_bundle_is_refused_or_harmless(oslo: Town, tmp_path: Path) -> None:
    """Whatever byte of a stick is wrong, nothing that was not signed is believed, and nobody is blamed for a fork."""
    late = oslo.open("late")
    good = tmp_path / "good"
    bundle.write_bundle(oslo.authority, good)
    content = good.read_bytes()
    honest = {entry for piece in oslo.authority.writer("oslo/authority").pieces() for entry in piece.entries}
    rng = random.Random(5)
    for at in rng.sample(range(len(bundle.MAGIC), len(content)), 120):
        changed = bytearray(content)
        changed[at] ^= 1 << rng.randrange(8)
        try:
            taken = bundle.take_bundle(late, io.BytesIO(bytes(changed)))
        except BundleError:
            continue
        assert not [one for one in taken.problems if one.problem == "fork"]
    assert set(late.writer("oslo/authority").entries()) <= honest
    assert carry(oslo.authority, late).problems == []
    assert late.heads() == oslo.authority.heads()


def test_tampered_entry_is_named(oslo: Town) -> None:
    gateway = oslo.gateways["gw-1"]
    node = Person()
    oslo.say(node.enrol(), Person().enrol())
    start = gateway.writer("oslo/authority").size
    piece = next(oslo.authority.own().pieces(start))
    entries = list(piece.entries)
    entries[1] = entries[1][:-1] + bytes([entries[1][-1] ^ 1])
    outcome = gateway.take(Piece(writer=piece.writer, start=start, entries=entries, head=piece.head))
    assert outcome.problem == "tampered"
    assert f"entry {start + 1} of oslo/authority" in outcome.detail
    assert gateway.identity(node.id) is None  # nothing of the piece was taken
    assert gateway.take(piece).taken == 2


def test_gateway_signed_enrolment_is_named(oslo: Town) -> None:
    gateway, node = oslo.gateways["gw-1"], Person()
    outcome = oslo.authority.take(forged(gateway.own(), gateway.holder, [node.enrol()]))  # type: ignore[arg-type]
    assert outcome.problem == "not_allowed"
    assert outcome.detail == "entry 0 of oslo/gw-1: a gateway may not say enrol; only the authority may"
    assert oslo.authority.identity(node.id) is None


def test_entry_of_a_gateway_in_the_authoritys_log_is_refused(oslo: Town) -> None:
    gateway, node = oslo.gateways["gw-1"], Person()
    piece = forged(gateway.writer("oslo/authority"), gateway.holder, [node.enrol()])  # type: ignore[arg-type]
    outcome = gateway.take(piece)
    assert outcome.problem == "unknown_key"
    assert gateway.identity(node.id) is None


def test_fork_is_named_kept_and_outlives_a_restart(tmp_path: Path) -> None:
    with town(tmp_path) as oslo:
        one, two = oslo.add_gateway("gw-1"), oslo.add_gateway("gw-2")
        carry(oslo.authority, one)
        node = Person()
        told_two = forged(one.own(), one.holder, [about(st.SUSPEND, node.id)])  # type: ignore[arg-type]
        one.append([about(st.SUSPEND, Person().id)], one.holder)
        assert two.take(told_two).taken == 1
        outcome = two.take(next(one.own().pieces()))
        assert outcome.problem == "fork"
        assert outcome.detail == "oslo/gw-1 signed two different entries 0"
        assert two.take(next(one.own().pieces())).problem == "forked"
    with opening.open_registry(tmp_path / "oslo" / "gw-2") as again:
        assert again.forked["oslo/gw-1"].startswith("oslo/gw-1 signed two histories; both are kept in ")


def test_fork_behind_equal_entries_shows_in_the_root(oslo: Town) -> None:
    """Entries 1 and following alone: what differs is entry 0, which only the heads show."""
    one, two = oslo.gateways["gw-1"], oslo.gateways["gw-2"]
    fork = forged(one.own(), one.holder, [about(st.SUSPEND, Person().id), about(st.RECORD, "x", what="y")])  # type: ignore[arg-type]
    one.append([about(st.SUSPEND, Person().id)], one.holder)
    two.take(next(one.own().pieces()))
    tail = Piece(writer=fork.writer, start=1, entries=fork.entries[1:], head=fork.head)
    outcome = two.take(tail)
    assert outcome.problem == "fork"
    assert "does not follow from the 2 that are here" in outcome.detail


def test_rolled_back_image_is_named_by_the_others(oslo: Town) -> None:
    one, two = oslo.gateways["gw-1"], oslo.gateways["gw-2"]
    old = forged(one.own(), one.holder, [about(st.SUSPEND, Person().id)], later_s=0)  # type: ignore[arg-type]
    two.take(old)
    longer = forged(two.writer("oslo/gw-1"), one.holder, [about(st.SUSPEND, Person().id)])  # type: ignore[arg-type]
    two.take(longer)
    # The image from before `longer` wakes up and signs its own head, later than everything that two has seen.
    set_back = two.writer("oslo/gw-1")
    again = forged(set_back, one.holder, [], start=1, later_s=60)  # type: ignore[arg-type]
    outcome = two.take(again)
    assert outcome.problem == "rolled_back"
    assert "says it has 1 entries, and earlier it had 2" in outcome.detail


def test_rolled_back_gateway_learns_it_from_others_and_goes_on_where_it_was(oslo: Town) -> None:
    one, two = oslo.gateways["gw-1"], oslo.gateways["gw-2"]
    lost = forged(one.own(), one.holder, [about(st.SUSPEND, Person().id)])  # type: ignore[arg-type]
    two.take(lost)  # what gw-1 said before it was set back; gw-1 itself does not know of it
    outcome = carry(two, one).problems[0]
    assert outcome.problem == "rolled_back_here"
    assert "its image was rolled back" in outcome.detail
    one.append([about(st.SUSPEND, Person().id)], one.holder)
    assert carry(one, two, signer=one.holder).problems == []  # type: ignore[arg-type]
    assert one.heads()["oslo/gw-1"] == two.heads()["oslo/gw-1"]


def test_stranger_and_missing_part_are_named(oslo: Town) -> None:
    gateway = oslo.gateways["gw-1"]
    assert gateway.take(Piece(writer="oslo/gw-9", start=0, entries=[], head=b"")).problem == "unknown_writer"
    assert gateway.take(Piece(writer="bergen/authority", start=0, entries=[], head=b"")).problem == "unknown_writer"
    assert gateway.take(Piece(writer="oslo/authority", start=99, entries=[b""], head=b"")).problem == "missing"


@pytest.mark.parametrize("content", [b"", b"lamppost bundle 2\n", bundle.MAGIC, bundle.MAGIC + b"\xff\xff\xff\xff"])
def test_what_is_no_bundle_is_refused(oslo: Town, content: bytes) -> None:
    with pytest.raises(BundleError):
        bundle.take_bundle(oslo.authority, io.BytesIO(content))


def test_another_citys_node_is_known_only_while_its_anchor_is(tmp_path: Path) -> None:
    with town(tmp_path / "a") as oslo, town(tmp_path / "b", "bergen") as bergen:
        gateway, visitor = oslo.add_gateway("gw-1"), Person()
        bergen.say(visitor.enrol())
        carry(oslo.authority, gateway)
        assert carry(bergen.authority, gateway).problems[0].problem == "unknown_writer"
        keys = {"key": bergen.key.public.cose_key(), "recovery": bergen.recovery.public.cose_key()}
        oslo.say(about(st.ANCHOR, "bergen", **keys))
        carry(oslo.authority, gateway)
        assert carry(bergen.authority, gateway).entries == {"bergen/authority": 2}
        found = gateway.identity(visitor.id)
        assert found is not None
        assert (found.domain, found.status) == ("bergen", "active")
        bergen.say(about(st.SUSPEND, visitor.id))
        carry(bergen.authority, gateway)
        assert gateway.identity(visitor.id).status == "suspended"  # type: ignore[union-attr]
        bergen.say(about(st.UNREVOKE, visitor.id))
        carry(bergen.authority, gateway)
        oslo.say(about(st.REVOKE, visitor.id))  # its host may refuse it too
        carry(oslo.authority, gateway)
        assert gateway.identity(visitor.id).status == "revoked"  # type: ignore[union-attr]
        oslo.say(about(st.ANCHOR_REMOVE, "bergen"))
        carry(oslo.authority, gateway)
        assert gateway.identity(visitor.id) is None
        assert gateway.find(f"kid:{visitor.kid.hex()}") == []
        assert carry(bergen.authority, gateway).problems[0].problem == "unknown_writer"


def test_transferred_node_is_its_new_citys(tmp_path: Path) -> None:
    with town(tmp_path / "a") as oslo, town(tmp_path / "b", "bergen") as bergen:
        node = Person()
        oslo.say(node.enrol(), about(st.TRANSFER, node.id, to_site="bergen"))
        assert oslo.authority.identity(node.id).status == "transferred"  # type: ignore[union-attr]
        keys = {"key": bergen.key.public.cose_key(), "recovery": bergen.recovery.public.cose_key()}
        oslo.say(about(st.ANCHOR, "bergen", **keys))
        bergen.say(node.enrol(zone="harbour"))
        carry(bergen.authority, oslo.authority)
        found = oslo.authority.identity(node.id)
        assert found is not None
        assert (found.domain, found.status, found.zone) == ("bergen", "active", "harbour")


def test_holder_without_a_log_says_nothing(oslo: Town, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    opening.make_holder(folder)
    opening.create(folder, oslo.anchor.encode(), me=None)
    with opening.open_registry(folder) as reader, pytest.raises(RegistryError, match="only reads"):
        reader.append([about(st.SUSPEND, "x")], new_key())
