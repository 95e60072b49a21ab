"""An alarm acknowledged from the city: by its own session alone, the right alarm, once, on disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish

from gateway.city.mqtt import MqttCity
from gateway.city.operator import Operators
from gateway.config import CityConfig, ConfigError
from gateway.edge.acknowledgement import Acknowledgement
from gateway.endpoint import Endpoint
from gateway.mqtt import codes
from gateway.mqtt.client import ClientOptions
from gateway.mqtt.packet import Packet, Suback, Subscribe
from gateway.status import read_status
from tests.gateway.agent import Agent
from tests.gateway.edge.test_agent import records, send
from tests.peers.scripted_broker import ScriptedBroker, accept_all

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


async def test_a_platform_that_lets_nobody_listen_gets_its_readings_all_the_same() -> None:
    def answer(packet: Packet) -> Iterable[Packet | bytes]:
        return (
            [Suback(packet.packet_id, [codes.NOT_AUTHORISED])] if isinstance(packet, Subscribe) else accept_all(packet)
        )

    async def nobody(note: Acknowledgement) -> bool:
        raise AssertionError(note)

    operators = Operators(TOPIC, city="city", acknowledge=nobody, count=lambda name: None)
    async with ScriptedBroker(answer) as broker:
        options = ClientOptions(endpoint=Endpoint(host="127.0.0.1", port=broker.port, is_tls=False), client_id="gw")
        city = MqttCity(options, site="test", operators=operators)
        running = asyncio.create_task(city.run())
        await broker.wait_for(lambda: any(isinstance(one, Subscribe) for one in broker.received))
        async with asyncio.timeout(5):
            while city.status()["operators"] == "not subscribed":
                await asyncio.sleep(0.01)
        assert city.status()["operators"] == "0x87 not authorised"
        assert (city.state, city.room > 0) == ("connected", True)
        running.cancel()


@pytest.mark.parametrize(
    "wrong", [{"operator_topic": "ops/+"}, {"operator_topic": "ops/{node}"}, {"url": "mqtt://c:1"}]
)
def test_a_topic_that_others_could_use_is_refused(wrong: dict[str, Any]) -> None:
    given = {"kind": "mqtt", "url": "mqtts://c:1", "topic": "t", "operator_topic": "ops", "allow_plaintext": True}
    with pytest.raises(ConfigError) as caught:
        CityConfig(**{**given, **wrong})
    assert caught.value.key == "operator_topic"
