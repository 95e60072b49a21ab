"""Commands from asking to outcome: once per node, bound to a frame, on disk, in the audit log and at the city."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.link import order
from drivers.link.schema import OUTCOME
from gateway.audit import AuditLog
from gateway.command import note as notes
from gateway.command.wish import CommandError, wish
from gateway.config import CommandConfig, EdgeConfig
from gateway.config_alarm import RuleConfig
from gateway.config_edge import ActionConfig, GroupConfig, ReportConfig
from gateway.core import Core
from gateway.database import NAME
from gateway.outbox.log import FOLDER
from gateway.reading import Report
from gateway.registry import statement as st
from gateway.trust import Trust
from tests.gateway.cores import ManualTime, hear, running_core, stored_reports
from tests.gateway.link_node import LinkNode, report
from tests.gateway.registry.sites import Person, about, carry, town

ALL = CommandConfig(allow=("report", "output", "pace", "restart"))


class Street:
    """A gateway and one node that obeys as the firmware does."""

    def __init__(self, core: Core, node: LinkNode, time: ManualTime) -> None:
        self.core, self.node, self.time = core, node, time
        self.seq = 0
        self.was_set_back = False  # it lacks what the node was told is there

    async def ask(self, name: str = "report", *, actor: str = "kim", **options: Any) -> int:
        wished = wish(name, options)
        return await self.core.store.write(lambda tx: self.core.commands.queue(tx, self.node.id, wished, actor=actor))

    async def speak(self, *outcomes: tuple[int, ...]) -> bytes:
        """One report of the node, and outcomes. Returns the order that came with the answer, b"" if none did."""
        run = [report(self.seq, time_s=self.node.uptime_s)]
        run += [
            report(self.seq + 1 + at, time_s=self.node.uptime_s, values=values, kind=OUTCOME)
            for at, values in enumerate(outcomes)
        ]
        self.seq += len(run)
        verdict = await hear(self.core, self.node.seal(self.node.body(run)), at_s=self.time.now_s)
        assert verdict.accepted
        assert verdict.downlink is not None
        octets, ack = self.node.order(verdict.downlink)
        assert ack.base == self.seq or self.was_set_back  # no ack is lost to a command
        return octets

    async def events(self) -> list[dict[str, object]]:
        return [values_of(one) for one in await stored_reports(self.core) if one.kind == "event"]

    def audited(self) -> list[tuple[str, str]]:
        found = [(what, actor) for _, actor, _, what, _ in self.core.trust.audit._waiting]
        return [one for one in found if one[0].startswith("command")]


def values_of(record: Report) -> dict[str, object]:
    return {reading.quantity.removeprefix("command/"): reading.value for reading in record.readings}


def number_of(octets: bytes) -> tuple[int, int]:
    return int.from_bytes(octets[:4], "big"), int.from_bytes(octets[4:6], "big")


@asynccontextmanager
async def street(data_dir: Path, *, node: LinkNode | None = None, **options: Any) -> AsyncIterator[Street]:
    node = node or LinkNode()
    node.enrol(data_dir)
    time = options.pop("time", None) or ManualTime()
    settings: dict[str, Any] = {"command": ALL, "clock": time.clock}
    async with running_core(data_dir, **(settings | options)) as core:
        yield Street(core, node, time)


async def test_a_command_goes_with_an_ack_and_its_outcome_is_a_record_and_an_audit_entry(tmp_path: Path) -> None:
    async with street(tmp_path) as here:
        assert await here.speak() == b""
        number = await here.ask("output", state="on", for_s=60)
        octets = await here.speak()
        assert number_of(octets)[0] == number
        assert octets[6:] == bytes([order.OUTPUT]) + order.output_arguments(0, 60, 1)
        assert await here.speak((*number_of(octets), order.DONE, 0)) == b""
        assert await here.speak() == b""
        assert await here.events() == [{"n": number, "outcome": "done", "what": "output on for 60 s", "by": "kim"}]
        assert here.audited() == [("command queued", "kim"), ("command done", "kim")]
        (record,) = [one for one in await stored_reports(here.core) if one.kind == "event"]
        assert record.record_id == f"{here.node.id}/1/3"


async def test_until_the_node_says_so_it_goes_with_every_second_answer_as_the_same_number(tmp_path: Path) -> None:
    async with street(tmp_path) as here:
        await here.ask()
        sent = [await here.speak() for _ in range(6)]
        assert [bool(octets) for octets in sent] == [True, False] * 3  # an older node gets every second ack
        assert len(set(sent)) == 2  # the same octets under the same number


async def test_a_command_has_never_the_same_number_after_restart_or_a_new_database(tmp_path: Path) -> None:
    numbers, node, seq = [], LinkNode(), 0
    for life in range(4):
        if life == 2:  # the database is lost
            shutil.rmtree(tmp_path / FOLDER)
            for path in tmp_path.glob(f"{NAME}*"):
                path.unlink()
        async with street(tmp_path, node=node) as here:
            here.seq = seq
            numbers += [await here.ask(), await here.ask()]
            seq = here.seq
    assert numbers == sorted(set(numbers))


async def test_a_gateway_set_back_goes_on_above_the_node(tmp_path: Path) -> None:
    async with street(tmp_path) as here:
        await here.ask()
        low = await here.speak()
        octets = await here.speak((*number_of(low), order.STALE, 9_000))
        assert number_of(octets)[0] == 9_001
        await here.speak((*number_of(octets), order.DONE, 0))
        assert [event["outcome"] for event in await here.events()] == ["stale", "done"]
        assert [what for what, _ in here.audited()] == ["command queued", "command renumbered", "command done"]


async def test_a_gateway_set_back_sends_nothing_again_that_may_have_been_done(tmp_path: Path) -> None:
    node = LinkNode()
    async with street(tmp_path, node=node) as here:
        await here.ask()
        seq = here.seq
    async with street(tmp_path, node=node) as here:  # as an image that was taken then
        here.seq = seq
        await here.speak((*number_of(await here.speak()), order.STALE, 9_000))
        (event,) = await here.events()
        assert (event["outcome"], here.core.commands.waiting) == ("stale", 0)
        assert here.audited() == [("command unknown", "kim")]
        assert await here.ask() == 2


async def test_another_tag_under_the_same_number_settles_nothing(tmp_path: Path) -> None:
    async with street(tmp_path) as here:
        await here.ask()
        number, tag = number_of(await here.speak())
        await here.speak((number, tag ^ 1, order.DONE, 0))
        assert here.core.counters["command_outcomes_unknown"] == 1
        assert await here.speak()  # it still waits


@pytest.mark.parametrize(
    "outcome, state, detail",
    [
        ((order.REFUSED, order.NO_OUTPUT), "refused", "the node has no such output"),
        ((order.UNKNOWN, 0), "unknown", "the node lost power meanwhile; it may have been done"),
    ],
)
async def test_what_was_not_done_says_why(tmp_path: Path, outcome: tuple[int, int], state: str, detail: str) -> None:
    async with street(tmp_path) as here:
        await here.ask("restart")
        await here.speak((*number_of(await here.speak()), *outcome))
        (event,) = await here.events()
        assert (event["outcome"], event["detail"]) == (state, detail)
        assert here.audited()[-1] == (f"command {state}", "kim")


async def test_a_command_too_old_is_not_sent_and_the_city_hears_of_it(tmp_path: Path) -> None:
    async with street(tmp_path, command=CommandConfig(allow=("report",), ttl_s=60)) as here:
        await here.ask()
        here.time.advance(61)
        assert await here.speak() == b""
        (event,) = await here.events()
        assert (event["outcome"], event["detail"]) == ("expired", "the node sent nothing meanwhile")


async def test_an_outcome_after_the_time_is_over_is_still_the_truth(tmp_path: Path) -> None:
    async with street(tmp_path, command=CommandConfig(allow=("report",), ttl_s=60)) as here:
        await here.ask()
        octets = await here.speak()
        here.time.advance(61)
        await here.core.clockwork.tell_windows()
        await here.speak((*number_of(octets), order.DONE, 0))
        assert [event["outcome"] for event in await here.events()] == ["expired", "done"]


async def test_after_a_reboot_that_does_not_know_the_time_nothing_old_is_sent(tmp_path: Path) -> None:
    node = LinkNode()
    async with street(tmp_path, node=node) as here:
        await here.ask()
    time = ManualTime()
    async with street(tmp_path, node=node, time=time) as here:  # a boot that knows it
        assert await here.speak()
        seq = here.seq
    time = ManualTime(1_000.0)  # 1970
    async with street(tmp_path, node=node, time=time) as here:
        here.seq = seq
        assert not here.core.clock.is_trusted
        assert await here.speak() == b""


async def test_what_is_not_allowed_is_refused_and_written_down(tmp_path: Path) -> None:
    async with street(tmp_path, command=CommandConfig()) as here:
        with pytest.raises(CommandError, match="does not allow it"):
            await here.ask("restart")
        assert here.audited() == [("command refused", "kim")]
        assert await here.speak() == b""


async def test_where_a_policy_is_in_force_it_decides_and_not_the_file(tmp_path: Path) -> None:
    person, node = Person(), LinkNode()
    node.id = person.id
    with town(tmp_path) as city:
        registry = city.add_gateway("gw-1")
        time = ManualTime(registry.now_s())
        trust = Trust(registry, AuditLog(tmp_path / "audit", actor="gw-1"), time.clock)
        may = {"join": True, "report": ["temperature"], "commands": ["report"]}
        city.say(person.enrol(), about(st.POLICY, "policy", policy={"version": 1, "rule": [may]}))
        carry(city.authority, registry)
        async with street(tmp_path / "data", node=node, trust=trust, time=time) as here:
            with pytest.raises(CommandError, match="not_permitted"):
                await here.ask("restart")
            await here.ask("report")
            octets = await here.speak()
            await here.speak((*number_of(octets), order.DONE, 0))
            assert [event["outcome"] for event in await here.events()] == ["done"]  # no rule has to name that
            await here.ask("report")
            del may["commands"]
            city.say(about(st.POLICY, "policy", policy={"version": 1, "rule": [may]}))
            carry(city.authority, registry)
            assert await here.speak() == b""  # what waited is withdrawn
            assert [event["outcome"] for event in await here.events()] == ["done", "withdrawn"]


async def test_a_node_takes_only_so_many(tmp_path: Path) -> None:
    async with street(tmp_path, command=CommandConfig(allow=("report",), most_waiting=2)) as here:
        await here.ask()
        await here.ask()
        with pytest.raises(CommandError, match="2 commands wait"):
            await here.ask()


async def test_a_note_is_answered_and_asks_once(tmp_path: Path) -> None:
    async with street(tmp_path) as here:
        note = notes.Note(node=here.node.id, name="pace", options={"sample_s": 60}, by="kim")
        path = notes.leave(tmp_path, note)
        copy = path.with_suffix(".json").read_bytes()
        await here.core.clockwork.desk.take_notes()
        told = notes.fetch(path)
        assert told == {"node": here.node.id, "number": 1}
        path.with_suffix(".json").write_bytes(copy)  # as if killed between the commit and its removal
        await here.core.clockwork.desk.take_notes()
        assert notes.fetch(path) == told
        for wrong in ({"name": "dance"}, {"node": "lamp-99"}, {"options": {"sample_s": 1}}, {"options": {"for_s": 1}}):
            path = notes.leave(tmp_path, notes.Note(**{**vars(note), **wrong}))
            await here.core.clockwork.desk.take_notes()
            with pytest.raises(CommandError):
                notes.fetch(path)
        (tmp_path / "commands" / "a.json").write_text(json.dumps({"node": 1}))
        await here.core.clockwork.desk.take_notes()
        assert not list((tmp_path / "commands").iterdir())


async def test_what_was_asked_and_not_yet_done_survives_a_power_cut(tmp_path: Path) -> None:
    """A copy of the disk in the middle of it all, as a cut leaves it."""
    data_dir, copy, node = tmp_path / "data", tmp_path / "copy", LinkNode()
    async with street(data_dir, node=node) as here:
        await here.ask("pace", sample_s=60)
        octets = await here.speak()
        shutil.copytree(data_dir, copy)
        seq = here.seq
    async with street(copy, node=node) as here:
        here.seq = seq
        assert await here.speak() == octets
        await here.speak((*number_of(octets), order.DONE, 0))
        assert [event["outcome"] for event in await here.events()] == ["done"]
        assert await here.ask("report") > number_of(octets)[0]


async def test_no_policy_of_exceptions_holds_an_outcome_back(tmp_path: Path) -> None:
    rarely = ReportConfig(quantities=("*",), on_change=True, heartbeat_s=86_400)
    async with street(tmp_path, edge=EdgeConfig(window_s=0, report=(rarely,))) as here:
        for _ in range(2):
            await here.ask()
            octets = await here.speak()
            await here.speak((*number_of(octets), order.DONE, 0))
        assert [event["outcome"] for event in await here.events()] == ["done", "done"]


async def test_a_rule_asks_nodes_in_the_commit_of_its_alarm(tmp_path: Path) -> None:
    rule = RuleConfig(name="hot", kind="threshold", quantity="temperature", above=20.0, actions=("siren",))
    action = ActionConfig(name="siren", kind="command", command="output", for_s=600)
    edge = EdgeConfig(window_s=0, rule=(rule,), action=(action,))
    async with street(tmp_path, edge=edge) as here:
        octets = await here.speak()  # 21.5 Cel raises, and its own answer brings the order
        assert octets[6:] == bytes([order.OUTPUT]) + order.output_arguments(0, 600, 1)
        await here.speak((*number_of(octets), order.DONE, 0))
        cold = report(here.seq, time_s=here.node.uptime_s, values=(1000, 4800, 101325))
        here.seq += 1
        verdict = await hear(here.core, here.node.seal(here.node.body([cold])), at_s=here.time.now_s)
        assert verdict.downlink
        octets, _ = here.node.order(verdict.downlink)
        assert octets[6:] == bytes([order.OUTPUT]) + order.output_arguments(0, 0, 0)  # safe again
        assert ("command queued", "rule hot") in here.audited()


async def test_a_rule_warns_at_other_nodes_of_a_group(tmp_path: Path) -> None:
    rule = RuleConfig(name="hot", kind="threshold", quantity="temperature", above=20.0, actions=("warn",))
    action = ActionConfig(name="warn", kind="command", command="report", nodes=("group:river",))
    edge, other = EdgeConfig(window_s=0, rule=(rule,), action=(action,)), LinkNode(2)
    other.enrol(tmp_path)
    groups = [GroupConfig(name="river", nodes=(other.id,))]
    async with street(tmp_path, edge=edge, groups=groups) as here:
        assert await here.speak() == b""
        there = Street(here.core, other, here.time)
        octets = await there.speak()
        assert octets[6:] == bytes([order.REPORT])


@pytest.mark.parametrize(
    "name, options",
    [
        ("output", {}),
        ("output", {"state": "on"}),
        ("output", {"state": "on", "for_s": 0}),
        ("output", {"state": "on", "for_s": 604_801}),
        ("output", {"state": "safe", "for_s": 5}),
        ("output", {"state": "on", "for_s": True}),
        ("pace", {}),
        ("pace", {"sample_s": 4}),
        ("pace", {"report_s": 86_401}),
        ("report", {"sample_s": 60}),
        ("sing", {}),
    ],
)
def test_a_wish_out_of_bounds_is_refused(name: str, options: dict[str, object]) -> None:
    with pytest.raises(CommandError):
        wish(name, options)
