"""Windows of a gateway that was killed: made again from the records of the log since the last checkpoint."""

import shutil
from pathlib import Path

import pytest

from drivers.link.frame import URGENT
from gateway.config import EdgeConfig
from gateway.config_edge import ReportConfig
from gateway.errors import GatewayError
from gateway.floors import Floors
from gateway.intake import Message
from gateway.reading import Reading, Report
from tests.gateway.cores import NOW_S, ManualTime, hear, reading_values, running_core, stored_reports
from tests.gateway.link_node import LinkNode

WINDOWS = EdgeConfig(window_s=60)


def message(number: int) -> Message:
    return Message(
        device="m",
        payload=b'[{"n":"count","v":%d,"t":%d}]' % (number, NOW_S + number),
        content_type=None,
        received_at_s=NOW_S,
    )


def as_after_a_kill(data_dir: Path, to: Path) -> Path:
    """What the disk holds of a gateway that runs."""
    shutil.copytree(data_dir, to)
    return to


async def told(data_dir: Path, time: ManualTime, edge: EdgeConfig = WINDOWS, **options: object) -> dict[str, object]:
    """All values of all windows, after a start."""
    time.advance(1000)
    async with running_core(data_dir, edge=edge, clock=time.clock, **options) as core:
        await core.clockwork.tell_windows()
        reports = [one for one in await stored_reports(core) if one.kind == "window"]
    return {name: value for one in reports for name, value in reading_values(one).items()}


async def test_a_kill_loses_no_reading_of_a_window(tmp_path: Path) -> None:
    time = ManualTime()
    async with running_core(tmp_path / "live", edge=WINDOWS, clock=time.clock) as core:
        for number in range(5):
            await core.intake.submit_senml(message(number))
            if number == 2:
                await core.store.read(lambda _: core.store.vault.checkpoint())
        dead = as_after_a_kill(tmp_path / "live", tmp_path / "dead")
    values = await told(dead, time)
    assert (values["count/count"], values["count/max"]) == (5, 4)


async def test_alarms_beyond_the_budget_are_in_the_windows_though_the_log_has_them_as_events(tmp_path: Path) -> None:
    time, node = ManualTime(), LinkNode(1)
    node.enrol(tmp_path / "live")
    async with running_core(tmp_path / "live", edge=WINDOWS, clock=time.clock, alarm_budget_per_h=2) as core:
        for seq in range(6):
            await hear(core, node.frame(seq, kind=URGENT))
        kinds = [one.kind for one in await stored_reports(core) if one.node == node.id]
        dead = as_after_a_kill(tmp_path / "live", tmp_path / "dead")
    assert sorted(kinds) == ["alarm"] * 2 + ["event"] * 4
    assert (await told(dead, time))["temperature/count"] == 6


async def test_what_a_node_says_of_a_command_is_in_no_window(tmp_path: Path) -> None:
    """It is an event, as an alarm beyond its budget is."""
    time = ManualTime()
    readings = (Reading(quantity="command/n", value=7), Reading(quantity="command/state", value="done"))
    said = Report(node="urn:n", record_id="urn:n/1/1", measured_at_s=NOW_S, readings=readings, kind="event")
    async with running_core(tmp_path / "live", edge=WINDOWS, clock=time.clock) as core:
        await core.intake.submit_senml(message(1))
        await core.store.write(lambda tx: core.outbox.put(tx, said, is_produced=False, now_s=NOW_S))
        dead = as_after_a_kill(tmp_path / "live", tmp_path / "dead")
    assert "command/n/count" not in await told(dead, time)


async def test_a_start_that_fails_before_the_windows_are_there_does_not_forget_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = ManualTime()
    async with running_core(tmp_path / "live", edge=WINDOWS, clock=time.clock) as core:
        await core.intake.submit_senml(message(1))
        dead = as_after_a_kill(tmp_path / "live", tmp_path / "dead")

    def broken(self: Floors, *, now_s: float) -> None:
        raise GatewayError("floors.json cannot be read")

    with monkeypatch.context() as patch:
        patch.setattr(Floors, "load", broken)
        with pytest.raises(GatewayError, match=r"floors\.json"):
            await told(dead, time)
    assert (await told(dead, time))["count/count"] == 1


async def test_settings_changed_while_the_gateway_lay_dead_find_the_windows_of_before(tmp_path: Path) -> None:
    """The old definition's window is told with all that came, though another one, or another way, is wanted now."""
    time = ManualTime()
    async with running_core(tmp_path / "live", edge=WINDOWS, clock=time.clock) as core:
        for number in range(3):
            await core.intake.submit_senml(message(number))
        copies = [as_after_a_kill(tmp_path / "live", tmp_path / name) for name in ("other", "held")]
    held_back = ReportConfig(quantities=("count",), on_change=True, heartbeat_s=9)
    for dead, edge in zip(copies, (EdgeConfig(window_s=30), EdgeConfig(window_s=0, report=(held_back,))), strict=True):
        values = await told(dead, ManualTime(time.now_s), edge)
        assert (values["window"], values["count/count"]) == (60, 3)


async def test_flash_is_spared_the_rows_of_windows(tmp_path: Path) -> None:
    written = {}
    for name, edge in (("none", EdgeConfig(window_s=0)), ("minute", WINDOWS)):
        async with running_core(tmp_path / name, edge=edge, clock=ManualTime().clock) as core:
            for number in range(3):
                await core.intake.submit_bursts([message(number * 100 + more) for more in range(100)])
            written[name] = core.store.vault.bytes_written
    assert written["minute"] <= written["none"]
