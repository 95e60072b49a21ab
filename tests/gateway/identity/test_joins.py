"""Joins end to end on CPython: the firmware's Joiner, the gateway's whole core, and a link that does what it likes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.link import join
from firmware.join import Joined
from gateway.identity import joins
from provisioning.enrol import EnrolError, enrol, enrol_public
from provisioning.gateway_identity import IdentityError, install
from provisioning.gateway_list import sign_gateway_entry, sign_next_key
from provisioning.identity import make_private_key, public_point
from tests.gateway.cores import FailingDisk, ManualTime, hear, running_core
from tests.gateway.joining import Bearer, JoiningNode, Site, speaker
from tests.gateway.sealed_node import SealedNode


async def test_a_node_born_with_its_own_key_joins_in_three_frames_and_reports(data_dir, site) -> None:
    public = site.endorse(data_dir)
    node = JoiningNode(site.trust(public))
    enrolment = node.enrol(data_dir)
    async with running_core(data_dir) as core:
        bearer = Bearer(core)
        joined = await node.join(bearer)
        assert joined is not None
        sizes = [len(frame) - join.OVERHEAD for frame in bearer.frames[:3]]
        print(f"EDHOC messages of {sizes} bytes, {sum(sizes)} in three frames; then {len(bearer.frames[3])} to confirm")
        assert sizes == [37, 45 + 4, 19 + 4 + 10]  # kids of four bytes; the node's epoch and versions
        assert joined.epoch == 1
        verdict = await hear(core, speaker(enrolment, joined).report())
        assert verdict.accepted
        assert verdict.node == enrolment.id
        assert core.counters["joins"] == 1


async def test_an_unknown_gateway_shows_its_entry_and_hands_over_the_newer_list(data_dir, site) -> None:
    node = JoiningNode(site.trust())
    node.enrol(data_dir)
    async with running_core(data_dir) as core:
        bearer = Bearer(core)
        assert await node.join(bearer)
        print(f"frames of {[len(frame) for frame in bearer.frames]} bytes, with entry and list")
        assert (node.trust.version, len(node.trust.known)) == (1, 1)
        assert node.kept[-1] == node.trust.to_bytes()
        again = Bearer(core)
        assert await node.join(again, epoch=1)
        assert [len(frame) for frame in again.frames] < [len(frame) for frame in bearer.frames]


async def test_the_key_before_stays_until_a_frame_under_the_new_one(data_dir, site) -> None:
    node = JoiningNode(site.trust())
    by_hand = enrol(data_dir)
    path = Path(by_hand.gateway_file)
    table = json.loads(path.read_text()) | {"public_key": node.keys.public.hex(), "address": f"{node.address:04x}"}
    path.write_text(json.dumps(table))
    by_hand = replace(by_hand, address=f"{node.address:04x}")
    before = SealedNode(by_hand)
    async with running_core(data_dir) as core:
        recorded = [before.report() for _ in range(3)]
        assert [(await hear(core, frame)).accepted for frame in recorded[:2]] == [True, True]
        joined = await node.join(Bearer(core), epoch=1)
        assert joined is not None
        assert joined.epoch == 1
        assert (await hear(core, recorded[2])).accepted  # the node may not have heard that it joined
        after = speaker(by_hand, joined)
        after.seq = 3
        assert (await hear(core, after.report())).accepted
        late = before.report()
        assert [(await hear(core, frame)).reason for frame in [*recorded, late]] == ["bad_tag"] * 4
    async with running_core(data_dir) as core:
        assert (await hear(core, late)).reason == "bad_tag"
        assert (await hear(core, after.report())).accepted


async def test_a_join_outlives_a_restart_before_its_first_frame(data_dir, site) -> None:
    node = JoiningNode(site.trust())
    enrolment = node.enrol(data_dir)
    async with running_core(data_dir) as core:
        bearer = Bearer(core)
        joined = await node.join(bearer)
        assert joined is not None
    async with running_core(data_dir) as core:
        talk = speaker(enrolment, joined)
        first = talk.report()
        assert [(await hear(core, first)).reason for _ in range(2)] == [None, "replayed"]
        one, two, three, four = [(await hear(core, frame)).reason for frame in bearer.frames]
        assert (one, two, four) == (None, "wrong_direction", "wrong_direction")  # message_1 is anybody's
        assert three is not None  # one in 48 meets the connection that message_1 has just opened, and does not fit
        assert three.startswith("join_")
        assert (await hear(core, talk.report())).accepted


async def test_answers_that_were_lost_leave_several_keys_waiting_and_any_will_do(data_dir, site) -> None:
    node = JoiningNode(site.trust())
    enrolment = node.enrol(data_dir)
    async with running_core(data_dir) as core:
        made = [await node.join(Bearer(core)) for _ in range(6)]
        assert all(made)
        assert (await hear(core, speaker(enrolment, made[1]).report())).reason == "bad_tag"  # four wait, not six
        assert (await hear(core, speaker(enrolment, made[4]).report())).accepted
        assert (await hear(core, speaker(enrolment, made[3]).report())).reason == "bad_tag"  # older than one in force
        assert (await hear(core, speaker(enrolment, made[5]).report())).accepted


async def test_a_node_enrolled_anew_by_hand_leaves_its_joins_behind(data_dir, site) -> None:
    node = JoiningNode(site.trust())
    enrolment = node.enrol(data_dir)
    async with running_core(data_dir) as core:
        joined = await node.join(Bearer(core))
        assert (await hear(core, speaker(enrolment, joined).report())).accepted
        renewed = enrol(data_dir, renew=enrolment.id)
        core.reload_nodes()
        assert (await hear(core, speaker(enrolment, joined).report())).reason == "bad_tag"
        assert (await hear(core, SealedNode(renewed).report())).accepted


async def test_a_node_that_lost_its_numbers_gets_an_epoch_that_nobody_met(data_dir, site) -> None:
    node = JoiningNode(site.trust())
    enrolment = node.enrol(data_dir)
    async with running_core(data_dir) as core:
        first = await node.join(Bearer(core))
        await hear(core, speaker(enrolment, replace_epoch(first, 7)).report())
        epochs = [(await node.join(Bearer(core), epoch=epoch)).epoch for epoch in (0, 3, 7, 9)]
        assert epochs == [23, 23, 7, 10]  # 9: it was at another gateway meanwhile


def replace_epoch(joined: Joined, epoch: int) -> Joined:
    return Joined(joined.root, epoch, joined.utc_s)


async def test_who_may_not_join_is_refused_by_name(tmp_path, data_dir, site) -> None:
    stranger = JoiningNode(site.trust())
    async with running_core(data_dir) as core:
        bearer = Bearer(core)
        assert await stranger.join(bearer) is None
        assert "join_unknown_node" in bearer.reasons
        assert stranger.joiner.failure.startswith("no answer to message 3")
        impostor = JoiningNode(site.trust())
        victim = JoiningNode(site.trust())
        enrol_public(data_dir, public_key=victim.keys.public)
        core.reload_nodes()
        impostor.joiner._owner.kid = victim.keys.party.kid
        impostor.joiner._address = victim.address
        bearer = Bearer(core)
        assert await impostor.join(bearer) is None
        assert bearer.reasons[1] == "join_bad_mac"
    async with running_core(tmp_path / "bare") as core:
        assert (await hear(core, bearer.frames[0])).reason == "join_not_configured"


async def test_a_policy_refuses_a_node_that_proved_who_it_is(data_dir, site) -> None:
    node = JoiningNode(site.trust())
    node.enrol(data_dir)
    async with running_core(data_dir) as core:
        core.intake._joins._may_join = lambda node: "revoked"
        bearer = Bearer(core)
        assert await node.join(bearer) is None
        assert bearer.reasons[1] == "join_revoked"


async def test_a_node_roams_and_refuses_a_gateway_that_was_revoked_meanwhile(tmp_path, site) -> None:
    first_dir, second_dir = tmp_path / "first", tmp_path / "second"
    first = site.endorse(first_dir)
    node = JoiningNode(site.trust(first))
    enrolment = node.enrol(first_dir)
    enrol_public(second_dir, public_key=node.keys.public)
    async with running_core(first_dir) as core:
        joined = await node.join(Bearer(core))
        assert (await hear(core, speaker(enrolment, joined).report())).accepted
    site.revoke(first)
    site.endorse(second_dir)
    async with running_core(second_dir) as core:
        bearer = Bearer(core)
        assert await node.join(bearer, epoch=1) is None  # it was not asked to show its entry
        assert node.joiner.failure == "unknown_gateway"
        roamed = await node.join(bearer, epoch=1)
        assert (await hear(core, speaker(enrolment, roamed).report())).accepted
        assert node.trust.version == 2
    async with running_core(first_dir) as core:
        before = core.counters["joins"]
        for failure in ("unknown_gateway", "revoked_gateway"):
            assert await node.join(Bearer(core), epoch=1) is None
            assert node.joiner.failure == failure
        assert core.counters["joins"] == before


async def test_the_sites_key_rolls_over_without_a_visit(data_dir, site) -> None:
    node = JoiningNode(site.trust())
    node.enrol(data_dir)
    after = Site()
    public = after.endorse(data_dir)
    succession = sign_next_key(site.key, generation=2, public_key=after.public)
    install(
        data_dir,
        site_key=after.public,
        entry=sign_gateway_entry(after.key, version=1, public_key=public),
        gateway_list=after.list(),
        keys={1: succession},
    )
    async with running_core(data_dir) as core:
        assert await node.join(Bearer(core)) is None
        assert (node.joiner.failure, node.trust.generation) == ("unknown_gateway", 2)
        assert await node.join(Bearer(core))
        assert node.trust.version == 1


async def test_a_foreign_site_is_refused(data_dir) -> None:
    node = JoiningNode(Site().trust())
    node.enrol(data_dir)
    async with running_core(data_dir) as core:
        assert await node.join(Bearer(core)) is None
        assert node.joiner.failure == "bad_signature"
        assert node.kept == []


async def test_a_lost_message_is_sent_again_and_answered_alike(data_dir, site) -> None:
    node = JoiningNode(site.trust())
    node.enrol(data_dir)
    losses = iter([True, False, True, False])

    def lossy(frame: bytes) -> list[bytes]:
        return [] if next(losses, False) else [frame]

    async with running_core(data_dir) as core:
        bearer = Bearer(core, down=lossy)
        assert await node.join(bearer)
        assert len(set(bearer.frames)) == 4
        assert len(bearer.frames) == 8
        assert core.counters["joins"] == 1
        waits_s = [pause for pause in node.pauses_s if pause]
        assert len(waits_s) == 2
        assert all(3 <= pause <= 6 for pause in waits_s)


async def test_what_cannot_be_kept_is_not_told(data_dir, site) -> None:
    node = JoiningNode(site.trust())
    node.enrol(data_dir)
    disk = FailingDisk()
    async with running_core(data_dir, files=disk) as core:
        disk.fails = True
        bearer = Bearer(core)
        assert await node.join(bearer) is None
        assert bearer.reasons[1] == "store_failed"
        disk.fails = False
        assert await node.join(Bearer(core))


async def test_half_open_joins_are_bounded_and_expire(data_dir, site) -> None:
    time_ = ManualTime()
    node = JoiningNode(site.trust())
    node.enrol(data_dir)
    async with running_core(data_dir, clock=time_.clock) as core:
        flood = [JoiningNode(site.trust()) for _ in range(3)]
        open_joins = core.intake._joins
        for at in range(100):
            offer = flood[at % 3].joiner._offer(bytes([at % 24]))
            await hear(core, join.pack_join(1, at, 0, offer.message_1))
            assert len(open_joins) <= joins.MOST_HALF_OPEN
        assert core.counters["joins_dropped"] == 100 - joins.MOST_HALF_OPEN
        assert await node.join(Bearer(core))
        for at in range(100):
            offer = flood[at % 3].joiner._offer(bytes([at % 24]))
            await hear(core, join.pack_join(1, at, 0, offer.message_1))
        assert any(exchange.confirmation for exchange in open_joins._open.values())  # the confirmed one is still there
        time_.advance(121)
        await hear(core, join.pack_join(3, 1, 0, b"\x40"))
        assert len(open_joins) == 0


@pytest.mark.parametrize("public_key", [b"", bytes(33), b"\x02" * 32, b"\x02" + b"\xff" * 32])
def test_what_is_no_public_key_is_not_enrolled(tmp_path, public_key) -> None:
    with pytest.raises(EnrolError, match="66 hex digits"):
        enrol_public(tmp_path, public_key=public_key)


def test_an_entry_of_another_gateway_is_not_installed(data_dir, site) -> None:
    kept = (data_dir / "identity.json").read_bytes()
    other = public_point(make_private_key())
    with pytest.raises(IdentityError, match="another gateway's"):
        install(
            data_dir,
            site_key=site.public,
            entry=sign_gateway_entry(site.key, version=1, public_key=other),
            gateway_list=site.list(),
            keys={},
        )
    assert (data_dir / "identity.json").read_bytes() == kept


async def test_a_gateways_key_that_others_can_read_is_not_used(data_dir, site) -> None:
    (data_dir / "identity.json").chmod(0o644)
    node = JoiningNode(site.trust())
    node.enrol(data_dir)
    async with running_core(data_dir) as core:
        bearer = Bearer(core)
        assert await node.join(bearer) is None
        assert set(bearer.reasons) == {"join_not_configured"}
        assert "others can read" in str(core.own.problem)
