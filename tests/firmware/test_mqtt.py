"""The node's MQTT client against a real mosquitto, and against servers that misbehave."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest

from tests.peers.micropython import check_micropython

NODE = """
import asyncio
from firmware.mqtt import MqttClient, MqttError

async def main():
    client = MqttClient(timeout_s=2)
    try:
{body}
    except MqttError as error:
        print("MqttError:", error)
    await client.close()

asyncio.run(main())
"""


def run_node(body: str) -> str:
    indented = "\n".join("        " + line for line in body.strip().splitlines())
    return check_micropython(NODE.format(body=indented))


def connect(port: int, more: str = "") -> str:
    return f'await client.connect("127.0.0.1", {port}, "n-a7c3-00000000", keepalive_s=60{more})\n'


def test_a_message_goes_up_and_an_answer_comes_down(mosquitto):
    peer = paho.Client(paho.CallbackAPIVersion.VERSION2)
    listening = threading.Event()
    heard: list[tuple[str, bytes, int]] = []

    def answer(client, userdata, message):
        heard.append((message.topic, message.payload, message.qos))
        client.publish("n/a7c3/down", b"answer to " + message.payload)

    peer.on_message = answer
    peer.on_subscribe = lambda *_: listening.set()
    peer.connect("127.0.0.1", mosquitto.port)
    peer.subscribe("n/+/up")
    peer.loop_start()
    try:
        assert listening.wait(5)
        printed = run_node(
            connect(mosquitto.port)
            + """
await client.subscribe("n/a7c3/down")
for payload in (b"one", bytes(255), b""):
    await client.publish("n/a7c3/up", payload)
    print(await client.next_message(3000) == b"answer to " + payload)
await client.ping()
print(await client.next_message(50))
"""
        )
    finally:
        peer.disconnect()
        peer.loop_stop()
    assert printed.split() == ["True", "True", "True", "None"]
    assert heard == [("n/a7c3/up", payload, 0) for payload in (b"one", bytes(255), b"")]


@pytest.mark.parametrize(
    "password, said", [("right", "connected"), ("wrong", "MqttError: the server refuses us with code 5")]
)
def test_a_broker_with_passwords_takes_the_right_one_only(mosquitto_factory, password, said):
    broker = mosquitto_factory(passwords={"node": "right"})
    printed = run_node(connect(broker.port, f', user="node", password="{password}"') + 'print("connected")')
    assert printed.strip() == said


def test_nobody_there_is_said(unused_tcp_port):
    assert "MqttError: connection lost" in run_node(connect(unused_tcp_port))


CONNACK = b"\x20\x02\x00\x00"


@contextmanager
def server(*answers: bytes | None) -> Iterator[int]:
    """Sends one answer to each packet that comes; None closes the connection; afterwards it stays silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    connection.recv(1024)
                    if answer is None:
                        return
                    connection.sendall(answer)
                while connection.recv(1024):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


# what the server answers to CONNECT and to SUBSCRIBE -> what the node says
MISBEHAVIOUR = [
    ([None], "the server closed the connection|connection lost"),
    ([], "no answer within 2 s"),
    ([b"\x20\x02\x00\x03"], "refuses us with code 3"),
    ([b"\x20\x00"], "packet type 2, not 2"),
    ([b"\x30\x00\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00"], "subscribed"),  # a message before the answer is dropped
    ([b"\xff\xff\xff\xff\xff"], "malformed packet length"),
    ([b"\x20\x81\x04"], "a packet of 513 bytes; 512 are the limit"),
    ([b"\x40\x02\x00\x01"], "packet type 4, not 2"),
    ([CONNACK, b"\x90\x03\x00\x01\x80"], "refused"),
    ([CONNACK, b"\x90\x03\x00\x02\x00"], "refused"),
    ([CONNACK, b"\x90\x03\x00"], "no answer within 2 s"),
    ([CONNACK, None], "the server closed the connection|connection lost"),
]


@pytest.mark.parametrize("answers, said", MISBEHAVIOUR)
def test_a_server_that_misbehaves_costs_one_connection(answers, said):
    with server(*answers) as port:
        printed = run_node(connect(port) + 'await client.subscribe("n/a7c3/down")\nprint("subscribed")')
    assert any(words in printed for words in said.split("|")), printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    "packet, said",
    [
        (b"\x30\x07\x00\x03a/bhi", "b'hi'"),
        (b"\x30\x01\x00", "malformed message"),
        (b"\x30\x03\x00\x09a", "malformed message"),
        (b"\xd0\x00", "b''"),
        (b"\x30\x05\x00\x03a", "no answer within 2 s"),
    ],
)
def test_a_message_is_taken_apart_strictly(packet, said):
    with server(CONNACK + packet) as port:
        assert said in run_node(connect(port) + "print(await client.next_message(1000))")
