"""The shipped command: settings reloaded by SIGHUP, alarms listed and acknowledged, a missing pin named."""

import json
import signal

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.outbox.view import look
from gateway.status import read_status
from lamppost.cli import main
from tests.gateway.agent import Agent
from tests.gateway.edge.machine import values_of

SOUTH = '[southbound.mqtt]\nlisten = "mqtt://127.0.0.1:{port}"\n'
RULE = '[[edge.rule]]\nname = "hot"\nkind = "threshold"\nquantity = "t"\nabove = {above}\nactions = ["siren"]\n'
ACTION = '[[edge.action]]\nname = "siren"\nkind = "gpio"\npin = 17\n'


@pytest.fixture
def agent(tmp_path, unused_tcp_port):
    with Agent(tmp_path, SOUTH.format(port=unused_tcp_port)) as running:
        running.port = unused_tcp_port
        yield running


def send(port, value):
    """One reading of device "meter"; returns once it is on disk."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    message = client.publish("up/meter/senml", json.dumps([{"n": "t", "v": value}]), qos=1)
    message.wait_for_publish(20)
    client.disconnect()
    client.loop_stop()
    assert message.is_published()


def records(agent, kind):
    """Records of one kind in the outbox."""
    with look(agent.data_dir) as view:
        ends = enumerate(view.ledger.ends)
        found = [one.report for stream, end in ends for one in view.reader.read(stream, [(0, end)], most=10_000)[0]]
    return [values_of(one) for one in found if one.kind == kind]


def rewrite(agent, text):
    """Change the settings and make the agent read them."""
    head, _, _ = agent.config.read_text().partition("[[edge")
    agent.config.write_text(head + text)
    agent.process.send_signal(signal.SIGHUP)


def test_rules_come_by_sighup_a_bad_file_changes_nothing_and_a_kill_neither(agent):
    send(agent.port, 50.0)
    assert records(agent, "alarm") == []
    rewrite(agent, RULE.format(above=40.0) + ACTION)
    agent.wait_until(lambda: "are read anew" in agent.log.read_text().partition("[edge]")[2])
    send(agent.port, 51.0)
    assert [one["alarm/state"] for one in records(agent, "alarm")] == ["raised"]
    rewrite(agent, RULE.format(above='"much"') + ACTION)
    agent.wait_until(lambda: "the settings are not taken over, the old ones stay" in agent.log.read_text())
    assert "edge.rule[0].above" in agent.log.read_text()
    send(agent.port, 20.0)
    assert [one["alarm/state"] for one in records(agent, "alarm")] == ["raised", "cleared"]
    assert len(records(agent, "telemetry")) == 3
    send(agent.port, 60.0)
    agent.config.write_text(agent.config.read_text().replace('"much"', "40.0"))
    agent.kill()
    agent.start()
    send(agent.port, 61.0)
    send(agent.port, 20.0)
    told = [(one["alarm/state"], one["alarm/n"]) for one in records(agent, "alarm")]
    assert told == [("raised", 1), ("cleared", 1), ("raised", 2), ("cleared", 2)]
    assert agent.stop() == 0


def test_an_alarm_is_listed_and_acknowledged_by_command_and_a_missing_pin_is_named(agent, capsys):
    rewrite(agent, RULE.format(above=40.0) + ACTION)
    agent.wait_until(lambda: "are read anew" in agent.log.read_text().partition("[edge]")[2])
    send(agent.port, 51.0)
    config = ["--config", str(agent.config)]
    assert main(["alarm", "list", *config]) == 1
    assert "raised        hot                  meter" in capsys.readouterr().out
    assert main(["alarm", "ack", "hot", "meter", "--by", "ann", *config]) == 0
    assert [one.get("alarm/by") for one in records(agent, "alarm")] == [None, "ann"]
    assert main(["alarm", "list", *config]) == 0
    assert main(["alarm", "ack", "hot", "meter", *config]) == 1
    assert main(["alarm", "ack", "cold", "meter", *config]) == 1
    printed = capsys.readouterr().err
    assert "acknowledged already" in printed
    assert "is not raised" in printed
    assert "action siren: GPIO17 cannot be used" in agent.log.read_text()  # no pins on a machine of tests

    def troubles():
        return read_status(agent.data_dir).content["parts"].get("edge.actions", {}).get("detail", "")

    agent.wait_until(lambda: "GPIO17" in troubles())


def test_a_group_made_by_command_is_taken_over_by_the_running_agent(agent):
    rewrite(agent, RULE.format(above=40.0).replace("above", 'nodes = ["group:meters"]\nabove') + ACTION)
    agent.wait_until(lambda: "group:meters is no group" in agent.log.read_text())
    send(agent.port, 50.0)
    assert records(agent, "alarm") == []
    assert main(["group", "create", "meters", "met*", "--config", str(agent.config)]) == 0

    def is_raised():
        send(agent.port, 50.0)
        return len(records(agent, "alarm")) == 1

    agent.wait_until(is_raised)
