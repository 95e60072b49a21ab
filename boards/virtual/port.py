"""The serial port that tools open: the outer pseudo-terminal, whose path stays the same over resets and power cuts.

What the board says while nobody has the port open is lost, as on a real one; what is typed goes to `on_typed`.
"""

import errno
import os
import pty
import select
import tty
from collections.abc import Callable

from boards.virtual.loop import Loop

_BACKLOG_LEN = 256 * 1024
_LOOK_S = 0.02  # how long an opened port may go unnoticed


class SerialPort:
    def __init__(self, loop: Loop, on_typed: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._on_typed = on_typed
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        os.close(slave)  # so that the master can see whether anybody has the port open
        os.set_blocking(self._master, False)
        self._backlog = bytearray()
        self._is_open = False
        self._look()

    def write(self, data: bytes) -> None:
        """What the board says. Dropped while nobody listens; the oldest goes if a listener is too slow."""
        if not self._is_open:
            return
        self._backlog += data
        del self._backlog[:-_BACKLOG_LEN]
        self._flush()

    def close(self) -> None:
        self._timer.cancel()
        self._loop.unwatch(self._master)
        os.close(self._master)

    def _look(self) -> None:
        """While the port is closed: has somebody opened it?"""
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        events = poll.poll(0)
        if events and events[0][1] & select.POLLHUP:
            self._is_open = False
            self._backlog.clear()
            self._timer = self._loop.after(_LOOK_S, self._look)
        else:
            self._is_open = True
            self._loop.watch(self._master, self._on_ready)

    def _on_ready(self) -> None:
        try:
            typed = os.read(self._master, 4096)
        except BlockingIOError:
            typed = b""
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._loop.unwatch(self._master)  # the last one closed it
            self._look()
            return
        if typed:
            self._on_typed(typed)
        if self._backlog:
            self._flush()

    def _flush(self) -> None:
        try:
            written = os.write(self._master, self._backlog)
        except BlockingIOError:
            written = 0
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            written = len(self._backlog)
        del self._backlog[:written]
        self._loop.watch(self._master, self._on_ready, write=bool(self._backlog))
