"""MQTT in, through the real intake to the real disk: who may say what, and what the sender hears."""

import asyncio
import ssl
import subprocess
import sys

import aiomqtt
import cbor2
import pytest

from gateway.endpoint import Endpoint
from gateway.errors import ConfigError
from gateway.mqtt.access import AccessList, hash_password
from gateway.mqtt.client import ClientOptions, open_session
from gateway.mqtt.device import Origin
from gateway.mqtt.packet import V5, V311, Connect, Disconnect, Puback, Publish, Suback, Subscribe, Subscription
from gateway.southbound.ingest import FrameRate
from gateway.southbound.mqtt import IngestListener
from gateway.tls import client_context, server_context
from tests.gateway.cores import hear, reading_values, running_core, stored_reports
from tests.gateway.link_node import LinkNode
from tests.gateway.mqtt.device_side import Device
from tests.gateway.southbound.listening import LOOPBACK, TEMPERATURE, listening
from tests.peers.micropython import ROOT, check_micropython
from tests.peers.mosquitto import program


@pytest.mark.parametrize("version", [V311, V5])
async def test_senml_is_on_disk_when_the_device_sees_its_puback(core, version):
    async with listening(core) as listener, Device(listener.port, version=version) as device:
        await device.connect("anything")
        device.send(Publish("up/sensor-7/senml", TEMPERATURE, 1, packet_id=9))
        assert await device.receive() == Puback(9)
        (report,) = await stored_reports(core)
    assert (report.node, reading_values(report)) == ("sensor-7", {"temperature": 21.5})
    assert (report.assurance, report.time_quality) == ("none", "received")


async def test_record_id_and_content_type_of_mqtt_5_are_used(core):
    pack = cbor2.dumps([{-2: "sensor-7:", 0: "temperature", 1: "Cel", 2: 21.5}])
    told = {"content_type": "application/senml+cbor", "user_properties": [("record-id", "a/b"), ("other", "x")]}
    async with listening(core) as listener, Device(listener.port) as device:
        await device.connect()
        for packet_id in (1, 2):
            device.send(Publish("up/sensor-7/senml", pack, 1, packet_id=packet_id, properties=told))
            assert await device.receive() == Puback(packet_id)
        (report,) = await stored_reports(core)
    assert report.record_id == "sensor-7/c/a%2Fb"


REFUSALS = [
    ("up/sensor-7/senml", b"no SenML", 0x99, "refused_senml_malformed"),
    ("up/sensor-7/senml", b'[{"bn":"other:","n":"t","u":"Cel","v":1}]', 0x87, "refused_senml_claims_other"),
    ("up/gw-1/senml", TEMPERATURE, 0x87, "refused_senml_claims_node"),
    ("up/a/b/senml", TEMPERATURE, 0x87, "mqtt_refused_topic"),
    ("elsewhere", TEMPERATURE, 0x87, "mqtt_refused_topic"),
    ("n/ABCD/up", b"x", 0x87, "mqtt_refused_topic"),
    ("n/abcd/down", b"x", 0x87, "mqtt_refused_topic"),
    ("n/abcd/up", b"", 0x99, "mqtt_refused_frame_size"),
    ("n/abcd/up", bytes(256), 0x99, "mqtt_refused_frame_size"),
    ("n/abcd/up", b"\x41\xab\xcd" + bytes(30), 0x87, "refused_unknown_node"),
]


@pytest.mark.parametrize("topic, payload, code, counter", REFUSALS)
async def test_refusal_is_answered_and_counted(core, topic, payload, code, counter):
    """Each with a code in MQTT 5; plainly in 3.1.1, where silence would block the device for ever."""
    async with listening(core) as listener:
        async with Device(listener.port) as new, Device(listener.port, version=V311) as old:
            await new.connect("new")
            await old.connect("old")
            new.send(Publish(topic, payload, 1, packet_id=1))
            assert await new.receive() == Puback(1, code)
            old.send(Publish(topic, payload, 1, packet_id=1))
            assert await old.receive() == Puback(1)
        assert core.counters.snapshot()[counter] == 2
        assert await stored_reports(core) == []


@pytest.mark.parametrize("topic", ["up/sensor-7/senml", "n/abcd/up"])
async def test_retained_message_is_ignored_and_counted(core, topic):
    async with listening(core) as listener, Device(listener.port) as device:
        await device.connect()
        device.send(Publish(topic, TEMPERATURE, 1, True, packet_id=1))
        assert await device.receive() == Puback(1, 0x87)
        assert await stored_reports(core) == []


@pytest.mark.parametrize("version", [V311, V5])
async def test_each_of_many_messages_at_once_is_answered_for_itself(core, version):
    good = [b'[{"n":"count","v":%d,"t":1700000000}]' % number for number in range(8)]
    good[3] = b'[{"n":"count","v":"many","t":1700000000}]'
    packets = [Publish("up/sensor-7/senml", payload, 1, packet_id=number) for number, payload in enumerate(good, 1)]
    packets.insert(6, Publish("up/gw-1/senml", good[0], 1, packet_id=100))
    packets.insert(2, Publish("elsewhere", good[0], 1, packet_id=101))
    codes = {4: 0x99, 100: 0x87, 101: 0x87} if version == V5 else {}
    async with listening(core) as listener, Device(listener.port, version=version) as device:
        await device.connect()
        for _ in range(2):  # the second time all topics are known and all readings were here before
            device.send(*packets)
            answers = [await device.receive() for _ in packets]
            assert answers == [Puback(one.packet_id, codes.get(one.packet_id, 0)) for one in packets]
        reports = await stored_reports(core)
    assert [reading_values(report)["count"] for report in reports] == [0, 1, 2, 4, 5, 6, 7]
    counted = core.counters.snapshot()
    assert counted["senml_repeated"] == 7
    assert (counted["refused_senml_wrong_type"], counted["refused_senml_claims_node"]) == (2, 2)


async def test_node_is_stored_and_answered_on_its_downlink(core, tmp_path):
    node = LinkNode(3)
    node.enrol(tmp_path)
    core.reload_nodes()
    name = f"{node.address:04x}"
    async with listening(core) as listener, Device(listener.port, version=V311) as device:
        await device.connect(f"n-{name}-01234567")
        device.send(Subscribe(1, [Subscription(f"n/{name}/down")]))
        assert await device.receive() == Suback(1, [0])
        device.send(Publish(f"n/{name}/up", node.frame(0, 1, 2)))
        answer = await device.receive()
        assert (answer.topic, answer.qos) == (f"n/{name}/down", 0)
        assert answer.payload[0] & 0x0F == 3  # an ACK frame
        assert [report.seq for report in await stored_reports(core)] == [0, 1, 2]


@pytest.mark.parametrize(
    "client_id, topic",
    [("n-1003-01234567", "n/1004/down"), ("n-1003-01234567", "n/1003/up"), ("sensor-7", "n/1003/down")],
)
async def test_downlinks_of_others_are_not_to_be_heard(core, client_id, topic):
    async with listening(core) as listener, Device(listener.port) as device:
        await device.connect(client_id)
        device.send(Subscribe(1, [Subscription(topic)]))
        assert await device.receive() == Suback(1, [0x87])


@pytest.fixture
def access(tmp_path):
    path = tmp_path / "devices.access"
    path.write_text(
        f"# who may connect\n\nsensor-7 {hash_password(b'secret')}\n"
        f"weather {hash_password(b'rain')} station-1 station-2\n"
    )
    return AccessList.load(path)


async def test_access_list_says_who_may_speak_for_whom(core, access):
    async with listening(core, access=access) as listener:
        async with Device(listener.port) as device:
            await device.connect(username="weather", password=b"rain")
            for packet_id, topic in enumerate(("up/station-2/senml", "up/weather/senml", "up/sensor-7/senml"), 1):
                device.send(Publish(topic, b'[{"n":"temperature","u":"Cel","v":1}]', 1, packet_id=packet_id))
            assert [(await device.receive()).reason_code for _ in range(3)] == [0, 0x87, 0x87]
        (report,) = await stored_reports(core)
    assert (report.node, report.assurance) == ("station-2", "password")
    assert core.counters.snapshot()["mqtt_refused_device"] == 2


@pytest.mark.parametrize("user, password", [("sensor-7", b"wrong"), ("nobody", b"secret"), ("sensor-7", None)])
async def test_wrong_credentials_are_refused(core, access, user, password):
    async with listening(core, access=access) as listener, Device(listener.port) as device:
        assert (await device.connect(username=user, password=password)).reason_code == 0x86


async def test_node_needs_no_password_where_devices_do(core, access, tmp_path):
    node = LinkNode(3)
    node.enrol(tmp_path)
    core.reload_nodes()
    async with listening(core, access=access) as listener, Device(listener.port) as device:
        await device.connect("n-1003-01234567")
        device.send(Publish("n/1003/up", node.frame(0), 1, packet_id=1))
        device.send(Publish("up/sensor-7/senml", TEMPERATURE, 1, packet_id=2))
        assert [await device.receive(), await device.receive()] == [Puback(1), Puback(2, 0x87)]


def test_command_makes_a_line_that_the_list_takes(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "lamppost.cli", "gateway", "password", "weather", "station-1"],
        input="rain\n",
        text=True,
        capture_output=True,
        check=True,
    )
    (tmp_path / "access").write_text(done.stdout)
    access = AccessList.load(tmp_path / "access")
    assert access.check("weather", b"rain")
    assert not access.check("weather", b"sun")
    assert access.devices_of("weather") == {"station-1"}
    assert "rain" not in done.stdout


@pytest.mark.parametrize(
    "text, place",
    [("sensor-7 plain-password", ":1"), ("# x\nsensor-7", ":2"), ("a HASH\na HASH", ":2"), ("a scrypt$zz$zz", ":1")],
)
def test_wrong_line_of_an_access_list_is_named(tmp_path, text, place):
    path = tmp_path / "devices.access"
    path.write_text(text.replace("HASH", hash_password(b"x")))
    with pytest.raises(ConfigError, match=f"devices.access{place}"):
        AccessList.load(path)


@pytest.mark.parametrize(
    "origin, allow_plaintext, is_private",
    [
        (Origin(host="127.0.0.1", is_tls=False, certificate_name=None), False, True),
        (Origin(host="::1", is_tls=False, certificate_name=None), False, True),
        (Origin(host="192.0.2.7", is_tls=True, certificate_name=None), False, True),
        (Origin(host="192.0.2.7", is_tls=False, certificate_name=None), True, True),
        (Origin(host="192.0.2.7", is_tls=False, certificate_name=None), False, False),
        (Origin(host="", is_tls=False, certificate_name=None), False, False),
    ],
)
async def test_readable_data_is_taken_over_a_private_way_only(core, origin, allow_plaintext, is_private):
    listener = IngestListener(core.intake, LOOPBACK, count=core.counters.add, allow_plaintext=allow_plaintext)
    peer = await listener.admit(Connect(client_id="c"), origin)
    assert peer.is_private is is_private
    code = await listener.take(Publish("up/sensor-7/senml", TEMPERATURE, 1, packet_id=1), peer)
    assert code == (0 if is_private else 0x87)


async def test_full_disk_leaves_the_message_with_the_device(tmp_path):
    """Once the store is shut it takes nothing, as on a full disk: no PUBACK, in either version."""
    async with running_core(tmp_path) as core:
        intake, count = core.intake, core.counters.add
    async with IngestListener(intake, LOOPBACK, count=count) as listener:
        running = asyncio.create_task(listener.run())
        async with Device(listener.port) as new, Device(listener.port, version=V311) as old:
            await new.connect("new")
            await old.connect("old")
            for device in (new, old):
                device.send(Publish("up/sensor-7/senml", TEMPERATURE, 1, packet_id=1))
            assert await new.receive() == Disconnect(0x97)
            assert await old.receive() is None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_frame_rate_lets_a_burst_through_and_then_so_many_per_second():
    now_s = 0.0
    rate = FrameRate(10, clock_s=lambda: now_s)
    assert [rate.admits("a") for _ in range(12)] == [True] * 10 + [False] * 2
    assert rate.admits("b")
    now_s = 0.25
    assert [rate.admits("a") for _ in range(4)] == [True, True, False, False]


async def test_babbling_node_is_slowed_down(core):
    async with listening(core, max_frames_per_s=2) as listener, Device(listener.port) as device:
        await device.connect()
        device.send(*(Publish("n/abcd/up", b"\x41\xab\xcd" + bytes(30), 1, packet_id=n) for n in range(1, 5)))
        assert [(await device.receive()).reason_code for _ in range(4)] == [0x87, 0x87, 0x97, 0x97]


# TLS, with certificates made on the spot.


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words):
        subprocess.run([program("openssl", "openssl"), *words], check=True, capture_output=True, cwd=folder)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test ca")
    for name in ("gateway", "sensor-7"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1")
        signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)
    return folder


async def test_client_certificate_names_the_device(core, certificates):
    server = server_context(
        "t",
        cert_file=certificates / "gateway.crt",
        key_file=certificates / "gateway.key",
        client_ca_file=certificates / "ca.crt",
    )
    device = client_context(
        "t",
        ca_file=certificates / "ca.crt",
        cert_file=certificates / "sensor-7.crt",
        key_file=certificates / "sensor-7.key",
    )
    endpoint = Endpoint(host="127.0.0.1", port=0, is_tls=True)
    async with listening(core, endpoint, tls=server) as listener:
        client = aiomqtt.Client("127.0.0.1", listener.port, protocol=aiomqtt.ProtocolVersion.V5, tls_context=device)
        async with client:
            await client.publish("up/sensor-7/senml", TEMPERATURE, qos=1)
        ours = ClientOptions(
            endpoint=Endpoint(host="127.0.0.1", port=listener.port, is_tls=True), client_id="ours", tls=device
        )
        async with open_session(ours) as session:
            assert await session.publish("up/sensor-8/senml", TEMPERATURE) == 0x87
        nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        nameless.load_verify_locations(certificates / "ca.crt")
        with pytest.raises(aiomqtt.MqttError):
            async with aiomqtt.Client("127.0.0.1", listener.port, tls_context=nameless, timeout=1):
                pass
        (report,) = await stored_reports(core)
    assert (report.node, report.assurance) == ("sensor-7", "mtls")


async def test_hear_is_the_same_door(core, tmp_path):
    """A frame over MQTT and over any other bearer has the same identity: stored once."""
    node = LinkNode(3)
    node.enrol(tmp_path)
    core.reload_nodes()
    frame = node.frame(0)
    async with listening(core) as listener, Device(listener.port) as device:
        await device.connect("n-1003-01234567")
        device.send(Publish("n/1003/up", frame, 1, packet_id=1))
        assert await device.receive() == Puback(1)
        assert (await hear(core, frame)).reason == "replayed"
        assert len(await stored_reports(core)) == 1


NODE_SCRIPT = """
import asyncio, sys
sys.path.insert(0, "@ROOT@")
from firmware.mqtt import MqttClient

async def main():
    client = MqttClient()
    await client.connect("127.0.0.1", @PORT@, "n-1003-01234567", keepalive_s=30)
    await client.subscribe("n/1003/down")
    await client.publish("n/1003/up", bytes.fromhex("@FRAME@"))
    print(bytes(await client.next_message(5000)).hex())
    await client.ping()

asyncio.run(main())
"""


async def test_firmware_client_on_micropython_is_heard_and_answered(core, tmp_path):
    node = LinkNode(3)
    node.enrol(tmp_path)
    core.reload_nodes()
    async with listening(core) as listener:
        script = NODE_SCRIPT.replace("@ROOT@", str(ROOT)).replace("@PORT@", str(listener.port))
        printed = await asyncio.to_thread(check_micropython, script.replace("@FRAME@", node.frame(0, 1).hex()))
        answer = node.open(bytes.fromhex(printed.strip()))
        assert (answer.base, len(await stored_reports(core))) == (2, 2)
