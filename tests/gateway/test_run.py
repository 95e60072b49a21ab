"""The whole gateway as a process: starts, takes, delivers, stops, and is alone on its data."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt import publish
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties

from gateway.database import read_only
from gateway.status import overview
from lamppost.cli import main
from provisioning.enrol import enrol
from tests.gateway.agent import Agent
from tests.gateway.sealed_node import SealedNode
from tests.peers.mosquitto import Mosquitto

pytestmark = pytest.mark.timeout(60)
SENML = json.dumps([{"n": "temperature", "u": "Cel", "v": 21.5}])


def settings(listen_port: int, city_port: int) -> str:
    return f"""
[southbound.mqtt]
listen = "mqtt://127.0.0.1:{listen_port}"
[[city]]
kind = "mqtt"
url = "mqtt://127.0.0.1:{city_port}"
topic = "city/{{site}}/{{node}}/senml"
[edge]
window_s = 0
"""


@pytest.fixture
def ports(unused_tcp_port_factory: Any) -> tuple[int, int]:
    return unused_tcp_port_factory(), unused_tcp_port_factory()


@pytest.fixture
def agent(tmp_path: Path, ports: tuple[int, int]) -> Iterator[Agent]:
    """Runs; its city is out of reach."""
    with Agent(tmp_path, settings(*ports)) as agent:
        yield agent


def send(port: int, topic: str, payload: bytes | str) -> None:
    """Publish with QoS 1 and return when it is acknowledged."""
    publish.single(topic, payload, qos=1, hostname="127.0.0.1", port=port)


def counts(agent: Agent) -> dict[str, Any]:
    found: dict[str, Any] = overview(agent.data_dir)["cities"]["city"]
    return found


def test_acknowledged_reading_is_on_disk_after_sigterm(agent: Agent, ports: tuple[int, int]) -> None:
    send(ports[0], "up/dev-1/senml", SENML)
    assert agent.stop() == 0
    assert counts(agent)["stored"] == 1
    assert "everything accepted is on disk" in agent.log.read_text()


def test_acknowledged_reading_is_on_disk_after_sigkill(agent: Agent, ports: tuple[int, int]) -> None:
    send(ports[0], "up/dev-1/senml", SENML)
    agent.kill()
    assert counts(agent)["stored"] == 1


def test_ctrl_c_stops_it_cleanly(agent: Agent) -> None:
    assert agent.process is not None
    agent.process.send_signal(signal.SIGINT)
    assert agent.process.wait(timeout=20) == 0
    assert "Traceback" not in agent.log.read_text()


def test_second_gateway_on_the_same_data_names_the_first(agent: Agent) -> None:
    command = [*agent._command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert str(agent.data_dir) in done.stderr
    assert agent.process is not None
    assert str(agent.process.pid) in done.stderr
    assert "Traceback" not in done.stderr


def test_taken_port_is_said_in_one_line(tmp_path: Path, agent: Agent, ports: tuple[int, int]) -> None:
    other = Agent(tmp_path / "other", settings(*ports))
    done = subprocess.run(other._command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert f"cannot listen at mqtt://127.0.0.1:{ports[0]}" in done.stderr
    assert "Traceback" not in done.stderr


def test_node_enrolled_while_it_runs_is_heard_and_acked(agent: Agent, ports: tuple[int, int]) -> None:
    enrolment = enrol(agent.data_dir, alias="lamp-1")
    node = SealedNode(enrolment)
    acks: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"n-{enrolment.address}-{enrolment.hash[:8]}")
    client.on_message = lambda _client, _data, message: acks.append(message.payload)
    client.on_connect = lambda *_: client.subscribe(f"n/{enrolment.address}/down")
    client.on_subscribe = lambda *_: client.publish(f"n/{enrolment.address}/up", node.report())
    client.connect("127.0.0.1", ports[0])
    client.loop_start()
    try:
        agent.wait_until(lambda: bool(acks))
    finally:
        client.disconnect()
        client.loop_stop()
    assert node.open_ack(acks[0]).holds(0)
    assert counts(agent)["stored"] == 1


def test_log_at_its_loudest_holds_no_key(tmp_path: Path, ports: tuple[int, int]) -> None:
    text = 'log_level = "debug"\n' + settings(*ports)
    enrolment = enrol(tmp_path / "data", alias="lamp-1")
    with Agent(tmp_path, text) as agent:
        send(ports[0], f"n/{enrolment.address}/up", SealedNode(enrolment).report())
        send(ports[0], f"n/{enrolment.address}/up", b"\x51" + bytes(30))
        assert agent.stop() == 0
    log = agent.log.read_text()
    assert "level=debug" in log
    assert enrolment.root_key.hex() not in log
    assert str(enrolment.root_key)[2:-1] not in log


def test_renewed_key_is_taken_after_sighup(agent: Agent, ports: tuple[int, int], tmp_path: Path) -> None:
    enrol(agent.data_dir, alias="lamp-1")
    out = tmp_path / "bundle.json"
    assert main(["enrol", "--data-dir", str(agent.data_dir), "--renew", "lamp-1", "--out", str(out)]) == 0
    agent.wait_until(lambda: "enrolled nodes are read anew" in agent.log.read_text())


def test_reading_reaches_the_city_with_its_id(tmp_path: Path, ports: tuple[int, int], mosquitto: Mosquitto) -> None:
    arrived: list[paho.MQTTMessage] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = lambda _client, _data, message: arrived.append(message)
    client.on_connect = lambda *_: client.subscribe("city/#", qos=1)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    with Agent(tmp_path, settings(ports[0], mosquitto.port)) as agent:
        send(ports[0], "up/dev-1/senml", SENML)
        agent.wait_until(lambda: bool(arrived))
        agent.wait_until(lambda: counts(agent)["delivered"] == 1)
        assert agent.stop() == 0
    client.disconnect()
    client.loop_stop()
    properties = arrived[0].properties
    assert isinstance(properties, Properties)
    assert arrived[0].topic == "city/test/dev-1/senml"
    assert dict(properties.UserProperty)["record-id"].startswith("dev-1/")
    assert json.loads(arrived[0].payload)[0]["v"] == 21.5


def test_database_outlives_the_agent_and_can_be_read(agent: Agent) -> None:
    agent.stop()
    with closing(read_only(agent.data_dir)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
