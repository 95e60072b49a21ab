"""Chips without a processor of their own, behind a Unix socket: what a gateway has on its SPI, I2C and UART.

drivers/bus/remote.py is the other end. One client at a time makes sense, as with a real bus; the chips keep their
supply and their state when it goes away.
"""

import os
import socket
from pathlib import Path

from boards.data import Board
from boards.virtual import rpc
from boards.virtual.loop import Loop
from boards.virtual.wiring import Chips, Wiring


class SocketBoard:
    """Listens from start() to close(), both in the loop's thread."""

    def __init__(self, loop: Loop, path: Path, board: Board, chips: Chips) -> None:
        """path   of at most 107 bytes, a limit of Unix sockets"""
        self.path = path
        self._loop = loop
        self._wiring = Wiring(board, chips)
        self._handlers = self._wiring.handlers()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._servers: dict[int, rpc.Server] = {}

    def start(self) -> None:
        """Raises OSError if the path is in use or too long."""
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._wiring.power(is_on=True)
        self._loop.watch(self._listener.fileno(), self._accept)

    def close(self) -> None:
        for fd in list(self._servers):
            self._forget(fd)
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        os.unlink(self.path)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        fd = connection.fileno()
        self._servers[fd] = rpc.Server(connection, self._handlers)
        self._loop.watch(fd, lambda: self._serve(fd))

    def _serve(self, fd: int) -> None:
        if not self._servers[fd].serve():
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        self._loop.unwatch(fd)
        self._servers.pop(fd).connection.close()
        self._wiring.float_pins()
