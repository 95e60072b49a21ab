"""A TCP relay that can fail the way networks do: stop passing bytes without a word, or refuse and reset.

The demo and the tests put it between the gateway and the city broker.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct

_CHUNK = 64 * 1024


class Link(enum.Enum):
    """What the relay does with bytes and connections."""

    UP = "up"
    SILENT = "silent"  # connections stay open, no byte passes, no FIN or RST: a cable cut upstream
    CUT = "cut"  # connections are reset, new ones too


class Relay:
    """Relays 127.0.0.1:`port` to `target`. Set the state with `set`; `delay_s` holds every chunk back, both ways."""

    def __init__(self, target: tuple[str, int], *, delay_s: float = 0.0) -> None:
        self._target = target
        self._delay_s = delay_s
        self._state = Link.UP
        self._passing = asyncio.Event()
        self._passing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self._reset_all()
        self._passing.set()
        await self._server.wait_closed()

    @property
    def state(self) -> Link:
        return self._state

    def set(self, state: Link) -> None:
        """Change what the link does, at once."""
        self._state = state
        if state is Link.CUT:
            self._reset_all()
        if state is Link.UP:
            self._passing.set()
        else:
            self._passing.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._state is Link.CUT:
                return
            await self._passing.wait()  # a silent link completes no handshake that anyone could see
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._open.add(far_writer)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, far_writer), name="relay.out")
                    tasks.create_task(self._pump(far_reader, writer), name="relay.back")
            finally:
                self._drop(far_writer)
        except* OSError:
            pass  # either end went away; both are closed below
        finally:
            self._drop(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await self._passing.wait()
            writer.write(chunk)
            await writer.drain()
        await self._passing.wait()  # the end of a connection is news too, and does not pass a silent link
        raise ConnectionResetError("one end closed")

    def _reset_all(self) -> None:
        for writer in tuple(self._open):
            self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        """Close with RST, so that neither end waits for the other."""
        self._open.discard(writer)
        sock: socket.socket | None = writer.get_extra_info("socket")
        if sock is not None and sock.fileno() != -1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
