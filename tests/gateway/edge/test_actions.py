"""What alarms do on the spot: outputs on gpiozero's own mock pins, and messages to a real MQTT client."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.config import EdgeConfig
from gateway.config_alarm import RuleConfig
from gateway.config_edge import ActionConfig
from gateway.edge.actions import Actions
from gateway.endpoint import parse_endpoint
from gateway.reading import Reading
from gateway.southbound.mqtt import IngestListener
from tests.gateway.cores import NOW_S, FailingDisk, ManualTime, hear, running_core
from tests.gateway.link_node import LinkNode, report
from tests.peers.gpio import mock_pins

pins = pytest.fixture(mock_pins, name="pins")
SIREN = ActionConfig(name="siren", kind="gpio", pin=17)
HOT = RuleConfig(name="hot", kind="threshold", quantity="temperature", above=40.0, actions=("siren",))


@pytest.fixture
def time():
    return ManualTime(now_s=NOW_S)


@asynccontextmanager
async def acting(tmp_path, time, *actions, rules=(HOT,), publish=lambda topic, payload: 0, files=None):
    """A core with running actions, and with a node that it hears."""
    node = LinkNode(1)
    node.enrol(tmp_path)
    edge = EdgeConfig(window_s=0, action=actions, rule=rules)
    async with running_core(tmp_path, edge=edge, clock=time.clock, files=files) as core:
        made = Actions(
            actions,
            core.edge,
            is_admitted=core.is_admitted,
            publish=publish,
            count=core.counters.add,
            now_s=core.clock.now_s,
        )
        core.on_alarm(made.react)
        running = asyncio.create_task(made.run())
        await asyncio.sleep(0)
        try:
            yield core, made, node
        finally:
            running.cancel()
            await asyncio.wait([running])


async def measure(core, node, time, celsius):
    node.count = getattr(node, "count", -1) + 1
    measured = report(node.count, time_s=node.uptime_s, values=(int(celsius * 100), 5000, 100000))
    assert (await hear(core, node.seal(node.body([measured])), at_s=time.now_s)).accepted


@pytest.mark.parametrize(
    "active_high, safe, idle, alarmed",
    [(True, "off", False, True), (False, "off", True, False), (True, "on", False, True)],
)
async def test_an_output_follows_its_alarm_and_ends_safe(pins, tmp_path, time, active_high, safe, idle, alarmed):
    siren = ActionConfig(name="siren", kind="gpio", pin=17, active_high=active_high, safe=safe)
    pin = pins.pin(17)
    async with acting(tmp_path, time, siren) as (core, _, node):
        await measure(core, node, time, 20)
        assert pin.state == idle
        await measure(core, node, time, 45)
        assert pin.state == alarmed
        await measure(core, node, time, 20)
        assert pin.state == idle
        await measure(core, node, time, 45)
    assert pin.states[-1].state == ((safe == "on") == active_high)


async def test_an_output_goes_to_its_safe_state_when_the_link_of_its_node_is_lost(pins, tmp_path, time):
    siren = ActionConfig(name="siren", kind="gpio", pin=17, link_timeout_s=600)
    fan = ActionConfig(name="fan", kind="gpio", pin=18, link_timeout_s=600, safe="on")
    rule = RuleConfig(name="hot", kind="threshold", quantity="temperature", above=40.0, actions=("siren", "fan"))
    async with acting(tmp_path, time, siren, fan, rules=(rule,)) as (core, actions, node):
        await measure(core, node, time, 45)
        assert (pins.pin(17).state, pins.pin(18).state) == (True, True)
        time.advance(601)
        actions.check()
        assert (pins.pin(17).state, pins.pin(18).state) == (False, True)
        await measure(core, node, time, 45)
        actions.check()
        assert pins.pin(17).state is True
        await measure(core, node, time, 20)
        assert (pins.pin(17).state, pins.pin(18).state) == (False, False)
        time.advance(601)
        actions.check()
        assert pins.pin(18).state is True  # nobody is left who could raise it


async def test_an_output_goes_to_its_safe_state_when_its_node_loses_its_authority(pins, tmp_path, time):
    async with acting(tmp_path, time, SIREN) as (core, actions, node):
        await measure(core, node, time, 45)
        assert pins.pin(17).state is True
        for path in (tmp_path / "nodes").glob("*.json"):
            path.unlink()
        core.reload_nodes()
        actions.check()
        assert pins.pin(17).state is False


async def test_nothing_acts_on_an_alarm_that_was_not_stored(pins, tmp_path, time):
    disk = FailingDisk()
    async with acting(tmp_path, time, SIREN, files=disk) as (core, actions, node):
        disk.fails = True
        frame = node.seal(node.body([report(0, time_s=node.uptime_s, values=(4500, 5000, 100000))]))
        assert (await hear(core, frame, at_s=time.now_s)).retry
        actions.check()
        assert pins.pin(17).state is False
        disk.fails = False
        assert (await hear(core, frame, at_s=time.now_s)).accepted
        assert pins.pin(17).state is True


async def test_a_raised_alarm_holds_its_output_again_after_a_restart(pins, tmp_path, time):
    async with acting(tmp_path, time, SIREN) as (core, _, node):
        await measure(core, node, time, 45)
    assert pins.pin(17).state is False
    async with acting(tmp_path, time, SIREN) as (_, actions, _):
        actions.check()
        assert pins.pin(17).state is True


async def test_a_reload_moves_outputs_without_a_restart(pins, tmp_path, time):
    async with acting(tmp_path, time, SIREN) as (core, actions, node):
        await measure(core, node, time, 45)
        moved = ActionConfig(name="siren", kind="gpio", pin=22)
        actions.reconfigure((moved,))
        assert (pins.pin(17).state, pins.pin(22).state) == (False, True)
        actions.reconfigure(())
        assert actions.status() == {"state": "running", "detail": "", "outputs": {}}


async def test_a_machine_without_pins_says_so_and_goes_on(tmp_path, time, caplog, monkeypatch):
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "nothing")
    with caplog.at_level(logging.WARNING):
        async with acting(tmp_path, time, SIREN) as (core, actions, node):
            await measure(core, node, time, 45)
            status = actions.status()
    assert (status["state"], status["outputs"]) == ("missing", {"siren": "missing"})
    assert "action siren: GPIO17 cannot be used" in str(status["detail"])
    assert "GPIO17" in caplog.text


async def test_a_message_reaches_a_client_of_the_listener(tmp_path, time, unused_tcp_port):
    came = asyncio.Queue()
    loop = asyncio.get_running_loop()
    call = ActionConfig(name="call", kind="mqtt")
    rule = RuleConfig(name="hot", kind="threshold", quantity="x", above=40.0, severity="critical", actions=("call",))
    listeners = []

    def publish(topic, payload):
        return listeners[0].publish(topic, payload)

    async with acting(tmp_path, time, call, rules=(rule,), publish=publish) as (core, _, _):
        endpoint = parse_endpoint("listen", f"mqtt://127.0.0.1:{unused_tcp_port}")
        async with IngestListener(core.intake, endpoint, count=core.counters.add) as listener:
            listeners.append(listener)
            serving = asyncio.create_task(listener.run())
            client = paho.Client(CallbackAPIVersion.VERSION2)
            client.on_connect = lambda client, *_: client.subscribe([("act/call", 0), ("act/+", 0), ("up/a/senml", 0)])
            client.on_subscribe = lambda client, data, mid, codes, properties: loop.call_soon_threadsafe(
                came.put_nowait, [code.is_failure for code in codes]
            )
            client.on_message = lambda client, data, message: loop.call_soon_threadsafe(came.put_nowait, message)
            client.connect("127.0.0.1", unused_tcp_port)
            client.loop_start()
            async with asyncio.timeout(20):
                assert await came.get() == [False, True, True]
                for value in (41.0, 43.0, 20.0):
                    await core.intake.submit_own([Reading(quantity="x", value=value)], measured_at_s=NOW_S)
                messages = [await came.get(), await came.get()]
            client.disconnect()
            client.loop_stop()
            serving.cancel()
            await asyncio.wait([serving])
    assert {message.topic for message in messages} == {"act/call"}
    told = [json.loads(message.payload) for message in messages]
    assert [one["state"] for one in told] == ["raised", "cleared"]
    assert told[0] == {"rule": "hot", "node": "gw-1", "state": "raised", "severity": "critical", "n": 1, "at": NOW_S}
    assert core.counters["edge_messages_sent"] == 2
