"""A TCP relay that fails as networks do: passes nothing in silence, closes, resets, delays, refuses."""

import asyncio
import contextlib
import socket
import struct
from types import TracebackType

_CHUNK = 65_536
_QUEUE_CHUNKS = 64  # read ahead per direction while bytes are delayed or held; then TCP slows the sender down


class Relay:
    """Listens on a loopback port and passes bytes to the target. An async context manager.

    hold() passes nothing any more, both ways, with no FIN and no RST: what a dead link looks like. Connections made
    meanwhile are accepted and pass nothing. release() lets the held bytes go on, or closes the connections that were
    held. delay_s is how long each byte takes on its way, in each direction.
    """

    def __init__(self, target_port: int, *, target_host: str = "127.0.0.1", delay_s: float = 0.0) -> None:
        self._target = (target_host, target_port)
        self.delay_s = delay_s
        self.bytes_passed = 0
        self.connections_made = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Relay":
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def listen(self) -> None:
        """Accept connections, after refuse() on the same port as before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Stop listening: who connects gets ECONNREFUSED. Connections that are there stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def hold(self) -> None:
        self._passing.clear()

    def release(self, *, drop_held: bool = False) -> None:
        if drop_held:
            self.reset_all()
        self._passing.set()

    @property
    def is_held(self) -> bool:
        return not self._passing.is_set()

    @property
    def open_connections(self) -> int:
        return len(self._links)

    def close_all(self) -> None:
        """End every connection with a FIN on both sides."""
        for writer in self._writers:
            writer.close()

    def reset_all(self) -> None:
        """End every connection with an RST on both sides."""
        for writer in self._writers:
            sock: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        self.connections_made += 1
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the relay ends; start_server's own callback would log a cancelled task as an error
        finally:
            self._links.discard(link)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        self._writers.add(writer)
        try:
            await self._passing.wait()
            try:
                far_reader, far_writer = await asyncio.open_connection(*self._target)
            except OSError:
                return
            writers.append(far_writer)
            self._writers.add(far_writer)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass(reader, far_writer), name="relay.out")
                ways.create_task(self._pass(far_reader, writer), name="relay.back")
        finally:
            for one in writers:
                self._writers.discard(one)
                one.transport.abort() if one.transport.get_write_buffer_size() else one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction: reading goes on while earlier bytes are still on their way, so that a delay costs no rate."""
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUE_CHUNKS)
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self._deliver(on_the_way, writer), name="relay.deliver")
            await self._collect(reader, on_the_way)

    async def _collect(self, reader: asyncio.StreamReader, on_the_way: "asyncio.Queue[tuple[float, bytes]]") -> None:
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            try:
                data = await reader.read(_CHUNK)
            except OSError:
                data = b""
            await on_the_way.put((loop.time() + self.delay_s, data))

    async def _deliver(self, on_the_way: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s, data = await on_the_way.get()
            if due_s > loop.time():
                await asyncio.sleep(due_s - loop.time())
            await self._passing.wait()
            if not data:
                writer.close()
                return
            if writer.is_closing():  # its peer is gone: asyncio would warn of each write
                continue
            self.bytes_passed += len(data)
            with contextlib.suppress(OSError):
                writer.write(data)
                await writer.drain()
