"""The little of the NATS protocol that a measurement needs: ask JetStream's interface, and hear what a subject carries.

Source: docs.nats.io, "Client Protocol" and "JetStream wire API".
"""

from __future__ import annotations

import json
import re
import socket
import time
from multiprocessing.synchronize import Event
from typing import Any

from tools.measure.tally import SPAWN, Tally

_SERIAL = re.compile(rb'"v":(\d{8})(?!\d)')
_READ = 1 << 20
_INBOX = "inbox.bench"


class NatsError(Exception):
    """The server refused, or did not answer."""


class NatsClient:
    """One connection, used in turn by one caller."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._file = self._sock.makefile("rb")
        self._file.readline()  # INFO
        self._sock.sendall(b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n')
        self._sock.sendall(f"SUB {_INBOX} 1\r\n".encode())

    def close(self) -> None:
        self._file.close()
        self._sock.close()

    def api(self, subject: str, request: dict[str, Any], *, domain: str = "", within_s: float = 20.0) -> dict[str, Any]:
        """Ask JetStream, that of `domain` through a leaf connection, again while it is not ready.

        Raises  NatsError with what it said last
        """
        body = json.dumps(request).encode()
        prefix = f"$JS.{domain}.API" if domain else "$JS.API"
        give_up_s, said = time.monotonic() + within_s, "no answer"
        while time.monotonic() < give_up_s:
            self._sock.sendall(f"PUB {prefix}.{subject} {_INBOX} {len(body)}\r\n".encode() + body + b"\r\n")
            answer = self._answer()
            if answer is not None and "error" not in answer:
                return answer
            said = str(answer["error"]) if answer else "JetStream is not ready"
            time.sleep(0.2)
        raise NatsError(f"{subject}: {said}")

    def _answer(self) -> dict[str, Any] | None:
        """The next message to the inbox; None if nobody serves the subject."""
        while line := self._file.readline():
            words = line.split()
            if words[:1] == [b"PING"]:
                self._sock.sendall(b"PONG\r\n")
            elif words[:1] == [b"-ERR"]:
                raise NatsError(line.decode().strip())
            elif words[:1] == [b"MSG"]:
                return dict(json.loads(self._file.read(int(words[-1]) + 2)))
            elif words[:1] == [b"HMSG"]:  # a header alone: 503, no responders
                self._file.read(int(words[-1]) + 2)
                return None
        raise NatsError("the server closed the connection")


class NatsListener:
    """Hears `subject` in a process of its own and notes the readings. A context manager."""

    def __init__(self, tally: Tally, port: int, subject: str) -> None:
        self._subscribed: Event = SPAWN.Event()
        args = (tally, port, subject, self._subscribed)
        self._process = SPAWN.Process(target=_listen, args=args, daemon=True)

    def __enter__(self) -> NatsListener:
        self._process.start()
        if not self._subscribed.wait(20):
            raise NatsError("the city's subscriber did not get through to its server")
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.join()


def _listen(tally: Tally, port: int, subject: str, subscribed: Event) -> None:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\n' + f"SUB {subject} 1\r\nPING\r\n".encode())
    rest = b""
    while data := sock.recv(_READ):
        if not subscribed.is_set() and b"PONG\r\n" in data:
            subscribed.set()
        elif data == b"PING\r\n":
            sock.sendall(b"PONG\r\n")
            continue
        elif b"\r\nPING\r\n" in data:
            sock.sendall(b"PONG\r\n")
        whole, end, rest = (rest + data).rpartition(b"\r\n")
        now_s = time.monotonic()
        for found in _SERIAL.finditer(whole + end):
            tally.note_arrival(int(found[1]), now_s)
