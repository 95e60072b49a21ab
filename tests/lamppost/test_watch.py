"""`lamppost city watch` at a real broker."""

from __future__ import annotations

import json
import subprocess
import sys

import cbor2
import pytest
import zstandard
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lamppost.cli import main
from tests.peers.mosquitto import Mosquitto

pytestmark = pytest.mark.timeout(40)
PACK = [{"bn": "urn:dev:os:32473-abc_", "bt": 1_770_000_000, "n": "temperature", "u": "Cel", "v": 21.5}]


def properties(content_type: str, *more: tuple[str, str]) -> Properties:
    made = Properties(PacketTypes.PUBLISH)
    made.ContentType = content_type
    made.UserProperty = [("record-id", "urn:dev:os:32473-abc/1/7"), ("assurance", "aead"), ("lane", "live"), *more]
    return made


def put(broker: Mosquitto, payload: bytes, content_type: str, *more: tuple[str, str]) -> None:
    """Publish one pack, retained, so that it does not matter who is first."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    sent = client.publish("city/test/n/senml", payload, qos=1, retain=True, properties=properties(content_type, *more))
    sent.wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def watched(broker: Mosquitto, payload: bytes, content_type: str, *options: str) -> str:
    """What the command printed on one message."""
    put(broker, payload, content_type)
    command = [sys.executable, "-m", "lamppost.cli", "city", "watch", "--url", broker.url, "--count", "1", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=30, check=True)
    return done.stdout


def test_person_sees_id_lane_time_and_value(mosquitto: Mosquitto) -> None:
    printed = watched(mosquitto, json.dumps(PACK).encode(), "application/senml+json")
    assert printed.splitlines() == [
        "city/test/n/senml  urn:dev:os:32473-abc/1/7  assurance=aead lane=live",
        "  2026-02-02T02:40:00Z  urn:dev:os:32473-abc_temperature  21.5 Cel",
    ]


def test_program_sees_the_same_as_json(mosquitto: Mosquitto) -> None:
    seen = json.loads(watched(mosquitto, json.dumps(PACK).encode(), "application/senml+json", "--json"))
    assert seen["records"] == PACK
    assert ["record-id", "urn:dev:os:32473-abc/1/7"] in seen["properties"]


def test_cbor_pack_is_read_by_its_labels(mosquitto: Mosquitto) -> None:
    """Labels from RFC 8428 section 6, table 4."""
    payload = cbor2.dumps([{-2: "urn:dev:os:32473-abc_", -3: 1_770_000_000, 0: "temperature", 1: "Cel", 2: 21.5}])
    assert json.loads(watched(mosquitto, payload, "application/senml+cbor", "--json"))["records"] == PACK


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"21.5", b"null", b'{"v": 1}'])
def test_what_is_no_senml_is_shown_and_does_not_end_it(mosquitto: Mosquitto, payload: bytes) -> None:
    assert "not SenML" in watched(mosquitto, payload, "text/plain")


def test_broker_that_is_not_there_is_said_in_one_line(unused_tcp_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["city", "watch", "--url", f"mqtt://127.0.0.1:{unused_tcp_port}"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is a broker running there" in said


def test_compressed_pack_is_shown_as_what_is_inside(mosquitto: Mosquitto) -> None:
    payload = zstandard.ZstdCompressor().compress(cbor2.dumps([{-2: "a_", -3: 1_770_000_000, 0: "t", 2: 21.5}]))
    put(mosquitto, payload, "application/senml+cbor", ("content-encoding", "zstd"))
    command = [sys.executable, "-m", "lamppost.cli", "city", "watch", "--url", mosquitto.url, "--count", "1", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=30, check=True)
    seen = json.loads(done.stdout)
    assert seen["records"] == [{"bn": "a_", "bt": 1_770_000_000, "n": "t", "v": 21.5}]
    assert seen["bytes"] == len(payload)
