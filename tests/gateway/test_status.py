"""`gateway status`: with the agent up, stopped, killed, and never started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish

from gateway import status_view
from gateway.status import overview
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
