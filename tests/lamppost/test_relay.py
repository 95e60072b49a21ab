"""The relay must fail exactly as it says, or the demo's outage proves nothing."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from lamppost.relay import Relay


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    """A server that sends back what it gets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_bytes_pass_both_ways_and_are_counted(echo_port: int) -> None:
    async with Relay(echo_port) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        data = bytes(range(256)) * 4_000
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        assert relay.bytes_passed == 2 * len(data)
        writer.close()
        assert await reader.read() == b""


async def test_held_link_is_silent_and_goes_on_after_release(echo_port: int) -> None:
    async with Relay(echo_port) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        relay.hold()
        writer.write(b"during")
        late_reader, late_writer = await asyncio.open_connection("127.0.0.1", relay.port)  # accepted, and no more
        late_writer.write(b"late")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(1)  # no bytes, no FIN, no RST
        relay.release()
        assert await reader.readexactly(6) == b"during"
        assert await late_reader.readexactly(4) == b"late"
        writer.close()
        late_writer.close()


async def test_held_connections_can_be_dropped_at_release(echo_port: int) -> None:
    async with Relay(echo_port) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"x")
        await reader.readexactly(1)
        relay.hold()
        writer.write(b"lost")
        relay.release(drop_held=True)
        with pytest.raises(ConnectionError):
            await reader.readexactly(4)


@pytest.mark.parametrize("is_reset", [False, True])
async def test_close_is_a_fin_and_reset_an_rst(echo_port: int, is_reset: bool) -> None:
    async with Relay(echo_port) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"x")
        await reader.readexactly(1)
        if is_reset:
            relay.reset_all()
            with pytest.raises(ConnectionResetError):
                await reader.read()
        else:
            relay.close_all()
            assert await reader.read() == b""
        writer.close()


async def test_refused_connection_is_refused_until_it_listens_again(echo_port: int) -> None:
    async with Relay(echo_port) as relay:
        port = relay.port
        relay.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await relay.listen()
        assert relay.port == port
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()


async def test_delay_is_added_each_way_and_costs_no_rate(echo_port: int) -> None:
    async with Relay(echo_port, delay_s=0.1) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        started_s = time.monotonic()
        for _ in range(20):
            writer.write(b"x")
            await asyncio.sleep(0.005)
        await reader.readexactly(20)
        assert 0.2 <= time.monotonic() - started_s < 1.0
        writer.close()


async def test_target_that_is_away_closes_the_connection(unused_tcp_port: int) -> None:
    async with Relay(unused_tcp_port) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        assert await reader.read() == b""
        writer.close()


async def test_who_left_is_sent_nothing_and_nothing_is_said_of_it(caplog: pytest.LogCaptureFixture) -> None:
    sent, is_done = 0, asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < 100:
            sent += 1
            writer.write(b"x" * 100)
            await asyncio.sleep(0)
        writer.close()
        is_done.set()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        async with Relay(server.sockets[0].getsockname()[1], delay_s=0.05) as relay:
            reader, _writer = await asyncio.open_connection("127.0.0.1", relay.port)
            await is_done.wait()  # all of it is on its way
            await reader.read(1)
            relay.reset_all()
            while relay.open_connections:
                await asyncio.sleep(0.01)
    assert not caplog.records
