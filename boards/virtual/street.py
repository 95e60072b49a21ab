"""A whole street in one process: the clock, the air, the weather, virtual boards, and the chips of a gateway.

One thread serves all of it. Boards and gateway chips hear each other through the one air; the weather is a pure
function of seed, node name and time, so that anyone can compute what a node should have measured.
"""

import math
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from boards import data
from boards.data import Board
from boards.virtual.air import Air
from boards.virtual.board import HEAPSIZE, VirtualBoard
from boards.virtual.chips.bme280 import Bme280
from boards.virtual.chips.pms5003 import Pms5003
from boards.virtual.chips.sx1262.chip import Sx1262
from boards.virtual.chips.sx1262.front_end import Fitting
from boards.virtual.chips.water import WaterLevel
from boards.virtual.clock import WallClock
from boards.virtual.loop import Loop
from boards.virtual.socket_board import SocketBoard
from boards.virtual.weather import Event, Weather
from boards.virtual.wiring import Chips

GATEWAY = "gateway"
_BOARD = "heltec_v3"
_BATTERY_V = 3.92
_SPACING_M = 40.0
_SWITCH_S = 0.0005  # a host with other work to do must not let a chip wait 5 ms for the interpreter's lock


class Street:
    """A context manager: no thread, process, socket or port outlives it. May be used from any thread."""

    def __init__(
        self, workdir: Path, *, seed: int = 1, speed: float = 1.0, loss: float = 0.0, corruption: float = 0.0
    ) -> None:
        """workdir   keeps the flash, NVS and console log of every board
        speed     of all time on the street; the radios' timing then wants a faster machine

        `gateway_radio_path`, once started: the socket of the first gateway's chips, for `device = "virtual:<path>"`:
        an SX1262, a BME280 and a PMS5003.
        """
        self.clock = WallClock(speed=speed)
        self.air = Air(self.clock, seed, loss=loss, corruption=corruption)
        self.nodes: dict[str, VirtualBoard] = {}
        self._workdir = workdir
        self._seed, self._speed = seed, speed
        self._loop = Loop()
        self._events: dict[str, Sequence[Event]] = {}
        self._gateways: list[SocketBoard] = []

    def start(self) -> Self:
        self._sockets = Path(tempfile.mkdtemp(prefix="lamppost-"))  # short: a socket's path has at most 107 bytes
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        self._loop.start()
        self.gateway_radio_path = self.add_gateway(GATEWAY, position_m=(0.0, 0.0))
        return self

    def close(self) -> None:
        """Cut the power of every board, and end the thread."""
        try:
            for node in self.nodes.values():
                node.close()
            for gateway in self._gateways:
                self._loop.call(gateway.close)
        finally:
            self._loop.close()
            sys.setswitchinterval(self._switch_interval_s)
            shutil.rmtree(self._sockets)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_gateway(self, name: str, *, position_m: tuple[float, float]) -> str:
        """Another gateway's chips. Returns the socket for `device = "virtual:<path>"`."""
        board = data.load(_BOARD)
        gateway = SocketBoard(self._loop, self._sockets / f"{name}.sock", board, self._chips(name, board, position_m))
        self._loop.call(gateway.start)
        self._gateways.append(gateway)
        return str(gateway.path)

    def weather(self, name: str) -> Weather:
        """What a perfect sensor at that node, or at GATEWAY, would measure."""
        return Weather(self._seed, name, events=self._events.get(name, ()))

    def add_node(
        self,
        name: str,
        *,
        board: str = _BOARD,
        heapsize: str = HEAPSIZE,
        position_m: tuple[float, float] | None = None,
        events: Sequence[Event] = (),
        networks: Mapping[str, str] | None = None,
        ticks_start_ms: int = 0,
    ) -> VirtualBoard:
        """A board with radio, BME280, PMS5003, water probe and battery; off, so that it can be provisioned first.

        board        one with an SX127x, or a radio behind a power chip, has no radio here: there is no model of those
        position_m   from the gateway; along the street, 40 m apart, unless given
        events       what happens to its weather
        """
        self._events[name] = events
        facts = data.load(board)
        place = position_m or self._place(len(self.nodes))
        self.nodes[name] = VirtualBoard(
            name,
            facts,
            workdir=self._workdir,
            chips=self._chips(name, facts, place),
            loop=self._loop,
            clock=self.clock,
            speed=self._speed,
            heapsize=heapsize,
            networks=networks,
            ticks_start_ms=ticks_start_ms,
            seed=self._seed + len(self.nodes),
        ).start()
        return self.nodes[name]

    def _chips(self, name: str, board: Board, position_m: tuple[float, float]) -> Chips:
        weather, radio = self.weather(name), board.radio
        fitting = Fitting(
            tcxo_v=radio.tcxo_v,
            needs_dio2_switch=radio.dio2_rf_switch,
            needs_rxen=radio.rxen is not None,
            needs_txen=radio.txen is not None,
            has_dcdc=radio.dcdc,
        )
        has_model = radio.chip == "sx1262" and board.pmu is None
        chips = Chips(
            radio=Sx1262(self.air, self.clock, name=name, position_m=position_m, fitting=fitting)
            if has_model
            else None,
            i2c=[Bme280(weather, self.clock)],
            uart=Pms5003(weather, self.clock),
        )
        analog = {}
        if board.water_adc is not None:
            analog[board.water_adc] = WaterLevel(weather, self.clock).read_uv
        if board.battery is not None:
            battery_uv = round(_BATTERY_V * 1e6 / board.battery.ratio)
            analog[board.battery.pin] = lambda: battery_uv
        return replace(chips, analog=analog)

    def _place(self, index: int) -> tuple[float, float]:
        """Lamp posts left and right of the gateway, alternately, on both sides of the street."""
        along = _SPACING_M * (index // 2 + 1) * (-1) ** index
        return (along, 6.0 * math.copysign(1, along))
