"""Two drivers on two virtual boards, through their sockets, in real time: the answer comes 2 s after its question."""

import asyncio
from collections.abc import Iterator

import pytest

from boards.data import load
from boards.virtual.air import Air
from boards.virtual.chips.sx1262.chip import Sx1262
from boards.virtual.clock import WallClock
from boards.virtual.loop import Loop
from boards.virtual.socket_board import SocketBoard
from boards.virtual.wiring import Chips
from drivers import clock
from drivers.bus.remote import RemoteBoard
from drivers.radio.lora import Channel
from drivers.radio.sx126x import PREPARE_MS, SX126x

UPLINK = Channel(868_100_000, 7, 125_000, 1, 14)
DOWNLINK = Channel(869_525_000, 7, 125_000, 1, 14, invert_iq=True)
WINDOW_OPENS_MS = 1_980
PREAMBLE_LATE_US = 150_000  # what the node's window allows for, and a busy machine needs


@pytest.fixture
def street(tmp_path) -> Iterator[tuple[Air, SX126x, SX126x]]:
    """An air with a node's and a gateway's radio on it, each behind the socket of a board."""
    loop, board = Loop(), load("heltec_v3")
    air = Air(WallClock())
    boards = [
        SocketBoard(
            loop, tmp_path / name, board, Chips(radio=Sx1262(air, air.clock, name=name, position_m=(at_m, 0.0)))
        )
        for name, at_m in (("node", 0.0), ("gateway", 300.0))
    ]
    loop.start()
    for one in boards:
        loop.call(one.start)
    remotes = [RemoteBoard(str(one.path)) for one in boards]
    yield air, wired(remotes[0]), wired(remotes[1])
    for remote in remotes:
        remote.close()
    for one in boards:
        loop.call(one.close)
    loop.close()


def wired(remote: RemoteBoard) -> SX126x:
    pins = remote.board()["radio"]
    out, sense = (lambda number: remote.Pin(number, remote.Pin.OUT, value=1)), (lambda number: remote.Pin(number))
    return SX126x(
        remote.SPI(remote.board()["spi"]["id"]),
        out(pins["nss"]),
        out(pins["reset"]),
        sense(pins["busy"]),
        sense(pins["dio1"]),
        tcxo_v=pins["tcxo_v"],
        dio2_rf_switch=pins["dio2_rf_switch"],
    )


async def ask(radio: SX126x) -> bytes | None:
    """One uplink and its window, as a node does it."""
    radio.use(UPLINK)
    await radio.transmit(b"question")
    radio.use(DOWNLINK)
    radio.sleep()
    buf = bytearray(255)
    await clock.sleep_ms(WINDOW_OPENS_MS - clock.ticks_diff(clock.ticks_us(), radio.tx_done_us) // 1_000)
    packet = await radio.receive(buf, (2 * PREAMBLE_LATE_US + DOWNLINK.header_us()) // 1_000)
    return packet and bytes(buf[: packet.length])


async def answer(radio: SX126x, air: Air) -> int:
    """As a gateway does it. Returns microseconds from the end of the uplink to the begin of the downlink."""
    buf = bytearray(255)
    packet = await radio.listen(buf)
    ended_us = air.sent[-1].planned_end_us
    due_us = clock.ticks_add(packet.done_us, 2_000_000)
    assert await radio.listen(buf, clock.ticks_diff(due_us, clock.ticks_us()) // 1_000 - PREPARE_MS) is None
    radio.use(DOWNLINK)
    await radio.transmit_at(b"answer to " + buf[: packet.length], due_us, latest_us=PREAMBLE_LATE_US)
    return air.sent[-1].starts_us - ended_us


@pytest.mark.serial
async def test_the_answer_comes_two_seconds_after_the_question(street):
    air, node, gateway = street
    await node.start()
    await gateway.start()
    for _ in range(2):
        gateway.use(UPLINK)
        assert await gateway.listen(bytearray(255), 1) is None  # from here on it hears
        listening = asyncio.create_task(answer(gateway, air))
        assert await ask(node) == b"answer to question"
        assert 1_900_000 < await listening < 2_000_000 + PREAMBLE_LATE_US + 10_000
    assert gateway.counters["packets_received"] == node.counters["packets_received"] == 2
    assert gateway.counters["restarts"] == node.counters["restarts"] == 0
