"""An alarm acknowledged from the city: by its own session alone, the right alarm, once, on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish

from gateway.config import CityConfig, ConfigError
from gateway.status import read_status
from tests.gateway.agent import Agent
from tests.gateway.edge.test_agent import records, send

TOPIC = "city/test/gw-1/ack"
SETTINGS = """
[southbound.mqtt]
listen = "mqtt://127.0.0.1:{south}"
[[city]]
kind = "mqtt"
url = "mqtt://127.0.0.1:{city}"
topic = "city/{{site}}/{{node}}/senml"
operator_topic = "city/{{site}}/{{gateway}}/ack"
[edge]
window_s = 0
[[edge.rule]]
name = "hot"
kind = "threshold"
quantity = "t"
above = 40.0
"""
GOOD = {"rule": "hot", "node": "meter", "n": 1, "by": "kim"}


def say(port: int, message: object, *, retain: bool = False, topic: str = TOPIC) -> None:
    payload = message if isinstance(message, bytes) else json.dumps(message)
    publish.single(topic, payload, qos=1, retain=retain, hostname="127.0.0.1", port=port)


def counter(agent: Agent, name: str) -> int:
    status = read_status(agent.data_dir)
    return int(status.content["counters"].get(name, 0)) if status else 0


def test_an_alarm_is_acknowledged_from_the_city_and_by_nobody_else(
    mosquitto: Any, tmp_path: Path, unused_tcp_port: int
) -> None:
    say(mosquitto.port, GOOD, retain=True)  # kept by the broker: nobody says it now
    with Agent(tmp_path, SETTINGS.format(south=unused_tcp_port, city=mosquitto.port)) as agent:

        def operators() -> object:
            status = read_status(agent.data_dir)
            return status and status.content["parts"]["city.city.session"].get("operators")

        agent.wait_until(lambda: operators() == "subscribed")
        send(unused_tcp_port, 50.0)
        for wrong in (
            b"\xff",
            [1],
            b"[" * 900,
            {**GOOD, "n": True},
            {**GOOD, "by": ""},
            {**GOOD, "node": "m" * 129},
            {"rule": "hot"},
        ):
            say(mosquitto.port, wrong)
        say(mosquitto.port, {**GOOD, "n": 2})  # another time
        say(mosquitto.port, {**GOOD, "rule": "cold"})
        say(unused_tcp_port, GOOD)  # a device
        assert [one["alarm/state"] for one in records(agent, "alarm")] == ["raised"]
        say(mosquitto.port, GOOD)
        say(mosquitto.port, GOOD)
        agent.wait_until(lambda: counter(agent, "operator_acknowledgements_void") == 3)
        assert counter(agent, "operator_acknowledgements") == 1
        assert counter(agent, "operator_messages_refused") == 8
        assert counter(agent, "mqtt_refused_topic") == 1
        told = records(agent, "alarm")
        assert [one["alarm/state"] for one in told] == ["raised", "acknowledged"]
        assert told[1]["alarm/by"] == "kim (city)"
        assert agent.stop() == 0


@pytest.mark.parametrize(
    "wrong", [{"operator_topic": "ops/+"}, {"operator_topic": "ops/{node}"}, {"url": "mqtt://c:1"}]
)
def test_a_topic_that_others_could_use_is_refused(wrong: dict[str, Any]) -> None:
    given = {"kind": "mqtt", "url": "mqtts://c:1", "topic": "t", "operator_topic": "ops", "allow_plaintext": True}
    with pytest.raises(ConfigError) as caught:
        CityConfig(**{**given, **wrong})
    assert caught.value.key == "operator_topic"
