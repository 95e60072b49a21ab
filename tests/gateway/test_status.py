"""`gateway status`: with the agent up, stopped, killed, and never started."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish

from gateway import status_view
from gateway.mapped import MappedText
from gateway.status import StatusFile, overview, read_status
from lamppost.cli import main
from tests.gateway.agent import Agent

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def port(unused_tcp_port: int) -> int:
    return unused_tcp_port


@pytest.fixture
def agent(tmp_path: Path, port: int) -> Iterator[Agent]:
    text = f"""
[southbound.mqtt]
listen = "mqtt://127.0.0.1:{port}"
broker = "mqtt://127.0.0.1:1"
[southbound.lora]
device = "virtual:{tmp_path}/none.sock"
[[city]]
kind = "mqtt"
url = "mqtt://127.0.0.1:1"
topic = "city/{{site}}/{{node}}/senml"
"""
    with Agent(tmp_path, text) as agent:
        yield agent


def test_running_agent_shows_every_part_and_what_is_wrong(agent: Agent, port: int) -> None:
    agent.wait_until(lambda: len(overview(agent.data_dir)["problems"]) >= 3)
    seen = overview(agent.data_dir)
    assert seen["state"] == "running"
    assert seen["parts"]["southbound.listen"]["state"] == "listening"
    assert [line.split(" is ")[0] for line in seen["problems"]] == [
        "southbound.broker",
        "southbound.lora",
        "city.city.session",
    ]
    assert any("is the broker's until it hands it to us" in note for note in seen["notes"])


def test_counts_add_up_and_say_so(agent: Agent, port: int) -> None:
    publish.single("up/d/senml", '[{"n":"t","u":"Cel","v":1}]', qos=1, hostname="127.0.0.1", port=port)
    city = overview(agent.data_dir)["cities"]["city"]
    assert (city["accepted"], city["stored"], city["backlog"], city["holds"]) == (1, 1, 1, True)
    page = "\n".join(status_view.lines(overview(agent.data_dir), now_s=city["oldest_at_s"] + 7_300))
    assert "accepted 1 + produced 0 = delivered 0 + stored 1 + evicted 0" in page
    assert "1 waiting" in page
    assert "oldest 2 h" in page


def test_stopped_agent_still_shows_what_is_stored(agent: Agent, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    publish.single("up/d/senml", '[{"n":"t","u":"Cel","v":1}]', qos=1, hostname="127.0.0.1", port=port)
    agent.stop()
    assert main(["gateway", "status", "--config", str(agent.config), "--json"]) == 1
    seen: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert seen["state"] == "stopped"
    assert seen["cities"]["city"]["stored"] == 1


def test_killed_agent_is_gone_and_not_stopped(agent: Agent) -> None:
    agent.kill()
    seen = overview(agent.data_dir)
    assert seen["state"] == "gone"
    assert "has ended without stopping" in seen["problems"][0]


def test_folder_where_none_ran_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "status", "--data-dir", str(tmp_path)]) == 1
    assert "lamppost gateway run" in capsys.readouterr().out


async def test_the_file_is_written_in_place_however_its_length_changes(tmp_path: Path) -> None:
    """A file that is replaced each second would wear the flash out by itself."""
    inodes = set()
    for detail in ("x", "x" * 9_000, "x"):
        said: dict[str, object] = {"detail": detail}

        async def gather(said: dict[str, object] = said) -> dict[str, object]:
            return said

        running = asyncio.create_task(StatusFile(tmp_path, gather).run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        seen = read_status(tmp_path)
        assert seen is not None
        assert (seen.content["detail"], seen.content["state"]) == (detail, "stopped")
        inodes.add((tmp_path / "status.json").stat().st_ino)
    assert len(inodes) == 1


def test_running_agent_says_what_it_writes_to_its_flash(agent: Agent, port: int) -> None:
    for value in range(3):
        publish.single("up/d/senml", f'[{{"n":"t","u":"Cel","v":{value}}}]', qos=1, hostname="127.0.0.1", port=port)
    agent.wait_until(lambda: overview(agent.data_dir)["flash"]["readings"] == 3)
    flash = overview(agent.data_dir)["flash"]
    if flash["written_bytes"] is not None:
        assert flash["bytes_per_reading"] == round(flash["written_bytes"] / 3, 1)
    (line,) = [line for line in status_view.lines(overview(agent.data_dir), now_s=0) if line.startswith("flash: ")]
    assert "bytes per reading" in line or "not known" in line


def test_a_mapped_text_grows_shrinks_and_comes_back_when_its_file_was_removed(tmp_path: Path) -> None:
    file = MappedText(tmp_path / "text")
    for text in (b"short", b"x" * 5_000, b"shorter"):
        file.write(text)
        assert (tmp_path / "text").read_bytes().rstrip() == text
    (tmp_path / "text").unlink()
    file.write(b"again")
    assert (tmp_path / "text").read_bytes().rstrip() == b"again"
    file.close()


def test_a_mapped_text_that_is_written_again_keeps_its_time_of_change(tmp_path: Path) -> None:
    """Else its inode would be in every commit of the file system's journal."""
    file = MappedText(tmp_path / "text")
    file.write(b"first")
    changed = (tmp_path / "text").stat().st_mtime_ns
    for _ in range(1000):
        file.write(b"again")
    assert (tmp_path / "text").stat().st_mtime_ns == changed
    file.close()
