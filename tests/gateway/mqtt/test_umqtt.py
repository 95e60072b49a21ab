"""A device with MicroPython and a client as small as umqtt.simple (blocking socket, MQTT 3.1.1) at our listener.

The client is written here as such clients are: one recv() per field, no queue, no thought for what else may arrive.
"""

import asyncio

import pytest

from tests.gateway.mqtt.listening import Stored, serving
from tests.peers.micropython import check_micropython

UMQTT = """
import socket, struct, sys

class Client:
    def __init__(self, client_id, port, keepalive=60):
        self.id, self.port, self.keepalive, self.pid, self.heard = client_id, port, keepalive, 0, []

    def connect(self):
        self.sock = socket.socket()
        self.sock.connect(socket.getaddrinfo("127.0.0.1", self.port)[0][-1])
        body = b"\\0\\4MQTT\\4\\2" + struct.pack("!HH", self.keepalive, len(self.id)) + self.id
        self.sock.write(b"\\x10" + self.length(len(body)) + body)
        answer = self.sock.read(4)
        assert answer[:2] == b"\\x20\\2", answer
        return answer[3]

    def length(self, size):
        out = b""
        while size > 127:
            out += bytes([size & 127 | 128])
            size >>= 7
        return out + bytes([size])

    def publish(self, topic, payload, qos=0):
        self.pid += 1
        body = struct.pack("!H", len(topic)) + topic + (struct.pack("!H", self.pid) if qos else b"") + payload
        self.sock.write(bytes([0x30 | qos << 1]) + self.length(len(body)) + body)
        while qos and self.wait_msg() != 0x40:
            pass
        return self.pid

    def subscribe(self, topic):
        self.pid += 1
        body = struct.pack("!HH", self.pid, len(topic)) + topic + b"\\0"
        self.sock.write(b"\\x82" + self.length(len(body)) + body)
        while self.wait_msg() != 0x90:
            pass
        return self.last[2]

    def ping(self):
        self.sock.write(b"\\xc0\\0")
        while self.wait_msg() != 0xD0:
            pass

    def wait_msg(self):
        kind = self.sock.read(1)
        if not kind:
            raise OSError("closed")
        size = shift = 0
        while True:
            byte = self.sock.read(1)[0]
            size |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        self.last = self.sock.read(size) if size else b""
        if kind[0] & 0xF0 == 0x30:
            end = 2 + (self.last[0] << 8 | self.last[1])
            self.heard.append((self.last[2:end], self.last[end:]))
        return kind[0] & 0xF0

    def disconnect(self):
        self.sock.write(b"\\xe0\\0")
        self.sock.close()

client = Client(b"u1", %(port)d)
print("connect", client.connect())
"""


async def run_device(port, body):
    """What the device printed, line by line."""
    return (await asyncio.to_thread(check_micropython, UMQTT % {"port": port} + body)).splitlines()


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_umqtt_device_publishes_and_leaves(qos):
    stored = Stored()
    async with serving(stored) as listener:
        body = f"""
for number in range(50):
    client.publish(b"up/u1/senml", b"%d" % number + bytes(number * 10), {qos})
client.disconnect()
print("done")
"""
        assert await run_device(listener.port, body) == ["connect 0", "done"]
        await stored.wait_for(50)
    assert [payload.rstrip(b"\0") for payload in stored.payloads] == [b"%d" % number for number in range(50)]


async def test_a_umqtt_device_hears_its_downlink_between_its_acknowledgements():
    stored = Stored()

    async def answer(packet, peer):
        listener.publish("u1/down", b"answer to " + packet.payload)
        return 0

    async with serving(stored, on_publish=answer) as listener:
        body = """
print("subscribe", client.subscribe(b"u1/down"), client.subscribe(b"u1/#"))
client.publish(b"up/u1/senml", b"one", 1)
client.publish(b"up/u1/senml", b"two", 1)
client.ping()
print(client.heard)
"""
        printed = await run_device(listener.port, body)
    assert printed[1:] == ["subscribe 0 128", "[(b'u1/down', b'answer to one'), (b'u1/down', b'answer to two')]"]


async def test_a_umqtt_device_whose_payload_is_refused_is_not_blocked_and_goes_on():
    stored = Stored()
    stored.code = 0x99
    async with serving(stored) as listener:
        body = 'print(client.publish(b"up/u1/senml", b"no senml", 1), client.publish(b"up/u1/senml", b"again", 1))'
        assert (await run_device(listener.port, body))[1] == "1 2"


async def test_a_umqtt_device_that_falls_silent_is_dropped_after_its_keep_alive():
    stored = Stored()
    async with serving(stored) as listener:
        body = """
client = Client(b"u2", client.port, 1)
client.connect()
try:
    client.wait_msg()
except OSError as error:
    print("dropped")
"""
        assert (await run_device(listener.port, body))[1] == "dropped"
    assert stored.counters["mqtt_keep_alive_timeout"] == 1
