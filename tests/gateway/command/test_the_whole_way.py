"""From `lamppost node command` to a pin of a board and back: the shipped agent, both bearers, real MicroPython."""

from __future__ import annotations

from pathlib import Path

import pytest

from boards import data
from boards.virtual.street import Street
from gateway.command.cli import known
from gateway.outbox.view import look
from lamppost.cli import main
from provisioning.enrol import enrol, nvs_of
from provisioning.provision import files_for
from tests.firmware.test_board import BOARD, CONFIG, mqtt_config
from tests.gateway.agent import Agent
from tests.gateway.edge.test_agent import records

pytestmark = [pytest.mark.serial, pytest.mark.timeout(120)]


def epochs_of(agent: Agent) -> list[int]:
    """Those in which the gateway has reports."""
    with look(agent.data_dir) as view:
        return [epoch for (epoch,) in view.db.execute("SELECT DISTINCT epoch FROM sequences ORDER BY epoch")]


@pytest.mark.parametrize("bearer", ["mqtt", pytest.param("lora", marks=pytest.mark.soak)])
def test_a_pin_is_switched_and_the_outcome_comes_back(
    street: Street, tmp_path: Path, unused_tcp_port: int, capsys: pytest.CaptureFixture[str], bearer: str
) -> None:
    way = {
        "mqtt": f'[southbound.mqtt]\nlisten = "mqtt://127.0.0.1:{unused_tcp_port}"\n',
        "lora": f'[southbound.lora]\ndevice = "virtual:{street.gateway_radio_path}"\n',
    }
    agent = Agent(tmp_path, way[bearer] + '[edge]\nwindow_s = 0\n[command]\nallow = ["output"]\n')
    made = enrol(agent.data_dir, alias="lamp-1")
    settings = mqtt_config(unused_tcp_port) if bearer == "mqtt" else {}
    config = {**CONFIG, **settings, "sensors": ["bme280"], "output_safe": 0}
    node = street.add_node("lamp-1", heapsize="256k")
    node.write_files(files_for(board=data.load(BOARD), config=config))
    served = {"counter": 70_000, "turned": bytes(8)}  # its keys have served long enough
    node.set_nvs("lamppost", {**nvs_of({**vars(made), "root_key_hex": made.root_key.hex()}), **served})
    node.power_on()
    with agent:
        ask = ["node", "command", "--config", str(agent.config), "--wait", "60", "lamp-1"]
        assert main([*ask, "output", "on", "--for", "600"]) == 0
        output = data.load(BOARD).output
        assert output is not None
        assert node.pin_level(output.pin) == output.on_level
        assert main(["node", "commands", "--config", str(agent.config)]) == 0
        assert "lamp-1  output on for 600 s" in capsys.readouterr().out
        agent.wait_until(lambda: epochs_of(agent) == [1, 2])
        agent.kill()
    assert not records(agent, "gap")  # new keys cost no reading
    assert [(row["label"], row["state"]) for row in known(agent.data_dir)] == [("lamp-1", "done")]
    assert "order 1, code 2: outcome 1" in node.console()
