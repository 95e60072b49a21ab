"""The city: one subscriber on a raw socket that notes which readings arrive, whatever format they come in.

A reading is found by its value, `"v":12345678`, so SenML, packs of it and ThingsBoard's JSON are read alike. Each
message is acknowledged after it is noted. Bytes that are not JSON text are not looked into.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event

from gateway.mqtt.encode import encode
from gateway.mqtt.packet import V311, Connect, Subscribe, Subscription
from tools.measure.tally import SPAWN, Tally

_SERIAL = re.compile(rb'"v": ?(\d{8})(?!\d)')
_READ = 1 << 20


class City:
    """The process. A context manager: subscribed inside the block."""

    def __init__(self, tally: Tally, port: int, topic: str) -> None:
        self._subscribed: Event = SPAWN.Event()
        self._process = SPAWN.Process(target=_listen, args=(tally, port, topic, self._subscribed), daemon=True)

    def __enter__(self) -> City:
        self._process.start()
        if not self._subscribed.wait(20):
            self.__exit__()
            raise ConnectionError("the city's subscriber did not get through to its broker")
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.join()


def _listen(tally: Tally, port: int, topic: str, subscribed: Event) -> None:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(encode(Connect(client_id="city", version=V311, keep_alive_s=0), V311))
    sock.sendall(encode(Subscribe(1, [Subscription(topic, qos=1)]), V311))
    head = b""
    while len(head) < 4 + 5:  # CONNACK, SUBACK
        head += sock.recv(9 - len(head))
    if head[3] or head[8] > 1:
        raise ConnectionError(f"the broker answered {head.hex()}")
    subscribed.set()
    rest = b""
    while data := sock.recv(_READ):
        rest = take(sock, rest + data, tally)


def take(sock: socket.socket, data: bytes, tally: Tally) -> bytes:
    """Note and acknowledge the whole packets in `data`; returns what is left."""
    found_packets = list(packets(data))
    end = found_packets[-1][1] if found_packets else 0
    acks = [b"\x40\x02" + packet_id for packet_id, _ in found_packets if packet_id]
    now_s = time.monotonic()
    for found in _SERIAL.finditer(data, 0, end):
        tally.note_arrival(int(found[1]), now_s)
    if acks:
        sock.sendall(b"".join(acks))
    return data[end:]


def packets(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield (packet id of a PUBLISH with QoS 1, else b"", end of the packet) for each whole packet of MQTT 3.1.1."""
    at, size = 0, len(data)
    while at + 2 <= size:
        length, shift, start = 0, 0, at + 1
        while start < size:
            byte = data[start]
            length |= (byte & 0x7F) << shift
            shift += 7
            start += 1
            if byte < 0x80:
                break
        else:
            return
        end = start + length
        if end > size:
            return
        packet_id = b""
        if data[at] & 0xF6 == 0x32:
            after = start + 2 + (data[start] << 8 | data[start + 1])
            packet_id = data[after : after + 2]
        yield packet_id, end
        at = end
