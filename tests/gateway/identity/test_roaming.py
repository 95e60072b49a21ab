"""Two gateways and their nodes, one of them ends: what each node measured is at the city once. Short, without boards.

With real boards, over the air and over a broker: tests/faults/test_rehoming.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from drivers.link import join
from firmware.join import Joined
from gateway.audit import AuditLog
from gateway.clock import ClockTrust
from gateway.core import Core
from gateway.registry import opening
from gateway.registry import statement as st
from gateway.registry.registry import Registry
from gateway.trust import Trust
from provisioning.enrol import enrol_public
from tests.gateway.cores import ManualTime, deliver_all, hear, reading_values, running_core
from tests.gateway.identity.test_registered_joins import enrolment_of, speaking
from tests.gateway.joining import Bearer, JoiningNode, Site
from tests.gateway.registry.sites import about, carry, town

NODES = 5


async def test_nodes_of_a_gateway_that_ended_go_on_at_another_and_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    site, nodes = Site(), []
    known = [site.endorse(tmp_path / name) for name in ("gw-1", "gw-2")]
    for _ in range(NODES):
        node = JoiningNode(site.trust(*known))
        for name in ("gw-1", "gw-2"):
            made = enrol_public(tmp_path / name, public_key=node.keys.public)
        nodes.append((node, made.id))
    issued, arrived = set[str](), Counter[str]()

    async def report(core, speaker, name: str, count: int) -> None:
        for _ in range(count):
            issued.add(f"{name}/{speaker._enrolment.epoch}/{speaker.seq}")
            assert (await hear(core, speaker.report())).accepted

    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(running_core(tmp_path / "gw-2", gateway_id="gw-2"))
        async with running_core(tmp_path / "gw-1") as first:
            for node, name in nodes:
                joined = await node.join(Bearer(first))
                assert joined is not None
                speaker = speaking(node, name, joined)
                await report(first, speaker, name, 2)
                issued.add(f"{name}/1/2")
                frame = speaker.report()
                assert (await hear(second, frame)).reason == "no_session"  # it is the first one's node
                assert (await hear(first, frame)).accepted
        for node, name in nodes:
            joined = await node.join(Bearer(second), epoch=1)
            assert joined is not None
            assert joined.epoch == 2
            await report(second, speaking(node, name, joined), name, 2)
        arrived.update(one.record_id for one in await deliver_all(second) if one.kind == "telemetry")
    async with running_core(tmp_path / "gw-1") as again:  # what it had acknowledged is on its disk
        late = [one.record_id for one in await deliver_all(again) if one.kind == "telemetry"]
    arrived.update(late)
    assert set(arrived) == issued
    assert max(arrived.values()) == 1
    assert len(issued) == 5 * NODES


async def test_a_node_joins_roams_and_is_refused_where_its_revocation_came_by_file(tmp_path: Path, capsys) -> None:
    """No server anywhere: two gateways, a stick between them, and what the site's authority signed."""
    site, told = Site(), list[str]()
    dirs = [tmp_path / name for name in ("gw-1", "gw-2")]
    publics = [site.endorse(folder) for folder in dirs]
    node, honest = JoiningNode(site.trust(publics[0])), JoiningNode(site.trust())
    with town(tmp_path) as city:
        registries = [city.add_gateway(folder.name, folder / "registry") for folder in dirs]
        for one in (node, honest):
            city.say(enrolment_of(one))
        for registry in registries:
            carry(city.authority, registry)
        subject = enrolment_of(node).subject
        async with AsyncExitStack() as stack:
            first, second = [await _opened(stack, *pair) for pair in zip(dirs, registries, strict=True)]
            bearer = Bearer(first)
            joined = await _join(node, bearer, 0)
            sizes = [len(join.parse_join(one).message) for one in bearer.frames[-4:]]
            told.append(f"joined gw-1 in three frames: {sizes[:3]} = {sum(sizes[:3])} B, and {sizes[3]} B that confirm")
            assert (await hear(first, speaking(node, subject, joined).report())).accepted
            roamed = await _join(node, Bearer(second), joined.epoch)
            speaker = speaking(node, subject, roamed)
            assert (await hear(second, speaker.report())).accepted
            told.append("roamed to gw-2, which never talked to a server: accepted")
            city.say(about(st.REVOKE, subject, reason="stolen"))
            carry(city.authority, registries[0])
            late = Bearer(first)
            assert await node.join(late, epoch=roamed.epoch) is None
            assert "join_revoked" in late.reasons
            assert (await hear(second, speaker.report())).accepted, "nobody told gw-2 yet"
            carry(registries[0], registries[1])  # by a stick
            told.append("revoked at gw-1: refused join_revoked; its log carried to gw-2")
        async with AsyncExitStack() as stack:
            again = stack.enter_context(opening.open_registry(dirs[1] / "registry", read_only=True))
            second = await _opened(stack, dirs[1], again)
            assert (await hear(second, speaker.report())).reason == "revoked"
            told.append("gw-2 started again: refused revoked")
            site.revoke(publics[0])
            site.endorse(dirs[1])
            at_second = await _join(honest, Bearer(second), 0)
            told.append(f"gw-1 revoked; another node talked to gw-2 and holds list {honest.trust.version}")
            first = await _opened(stack, dirs[0], registries[0])
            for _ in range(2):  # it is asked to show its entry first
                assert await honest.join(Bearer(first), epoch=at_second.epoch) is None
            assert honest.joiner.failure == "revoked_gateway"
            told.append(f"that node at gw-1: {honest.joiner.failure}")
    with capsys.disabled():
        print("", *told, sep="\n")
    assert sum(sizes[:3]) == 119, "101 B of EDHOC, 8 for kids of four bytes, 10 for the state (docs/decisions/0010)"


async def test_windows_of_a_node_that_changed_gateway_say_partial_at_both(tmp_path: Path) -> None:
    site, time = Site(), ManualTime()
    dirs = [tmp_path / name for name in ("gw-1", "gw-2")]
    publics = [site.endorse(folder) for folder in dirs]
    node, settled = JoiningNode(site.trust(*publics)), JoiningNode(site.trust(*publics))
    with town(tmp_path) as city:
        registries = [city.add_gateway(folder.name, folder / "registry") for folder in dirs]
        for one in (node, settled):
            city.say(enrolment_of(one))
        for registry in registries:
            carry(city.authority, registry)
        subjects = {one: enrolment_of(one).subject for one in (node, settled)}
        async with AsyncExitStack() as stack:
            cores = [
                await _opened(stack, *pair, clock=time.clock, window_s=60)
                for pair in zip(dirs, registries, strict=True)
            ]
            for one in (node, settled):
                joined = await _join(one, Bearer(cores[0]), 0)
                assert (await hear(cores[0], speaking(one, subjects[one], joined).report())).accepted
            roamed = await _join(node, Bearer(cores[1]), joined.epoch)
            assert (await hear(cores[1], speaking(node, subjects[node], roamed).report())).accepted
            registries[1].now_s = lambda: time.now_s
            assert cores[1].trust.keeper is not None
            cores[1].trust.keeper._work()
            carry(registries[1], registries[0])  # that gw-2 heard it
            partial = []
            for core in cores:
                await core.clockwork.take_departures()
                time.advance(600)
                await core.clockwork.tell_windows()
                told = [one for one in await deliver_all(core) if one.kind == "window"]
                partial.append({one.subject for one in told if reading_values(one).get("partial")})
    assert partial == [{subjects[node]}, {subjects[node]}]


async def _opened(stack: AsyncExitStack, data_dir: Path, registry: Registry, **options: Any) -> Core:
    clock = options.get("clock", ClockTrust())
    trust = Trust(registry, AuditLog(data_dir / "audit", actor=data_dir.name), clock)
    return await stack.enter_async_context(running_core(data_dir, gateway_id=data_dir.name, trust=trust, **options))


async def _join(node: JoiningNode, bearer: Bearer, epoch: int) -> Joined:
    joined = await node.join(bearer, epoch=epoch) or await node.join(bearer, epoch=epoch)
    assert joined is not None, node.joiner.failure
    return joined


async def test_two_gateways_that_drown_each_other_still_let_a_node_in(tmp_path: Path) -> None:
    """Both hear every frame and answer in the same window; what both answered, the node did not hear."""
    site = Site()
    dirs = [tmp_path / name for name in ("gw-1", "gw-2")]
    publics = [site.endorse(folder) for folder in dirs]
    with town(tmp_path) as city:
        registries = [city.add_gateway(folder.name, folder / "registry") for folder in dirs]
        nodes = [JoiningNode(site.trust(*publics)) for _ in range(4)]
        for node in nodes:
            city.say(enrolment_of(node))
        for registry in registries:
            carry(city.authority, registry)
        async with AsyncExitStack() as stack:
            cores = [await _opened(stack, *pair) for pair in zip(dirs, registries, strict=True)]
            for node in nodes:
                air = SharedAir(cores)
                tries = 0
                while await node.join(air) is None:
                    tries += 1
                    assert tries < 8, node.joiner.failure


class SharedAir(Bearer):
    """One frequency: of two answers at once nothing arrives."""

    def __init__(self, cores: list[Core]) -> None:
        super().__init__(cores[0])
        self._cores = cores

    async def exchange(self, frame: bytes, take: Callable[[bytes], bool]) -> bool:
        verdicts = [await hear(core, frame) for core in self._cores]
        answers = [one.downlink for one in verdicts if one.downlink is not None]
        return take(answers[0]) if len(answers) == 1 else False
