"""The other end of a bearer, on the host: receives a node's frames, lets a judge decide, and sends its answers down."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Self

import paho.mqtt.client as paho

from boards import data
from drivers.bus.remote import RemoteBoard
from drivers.radio.lora import Channel
from drivers.radio.sx126x import SX126x
from tests.firmware.judge import Judge

UPLINK_HZ, DOWNLINK_HZ = 868_100_000, 869_525_000
_ANSWER_AFTER_US = 2_000_000


class Gateway:
    """Common to both: frames as they came, a pause switch, and a condition to wait on."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.frames: list[bytes] = []
        self.taken_at_s: list[float] = []
        self.errors: list[BaseException] = []
        self.is_deaf = False
        self._changed = threading.Condition()

    def take(self, frame: bytes) -> bytes | None:
        """The answer to one uplink; None while deaf."""
        with self._changed:
            self.frames.append(frame)
            self.taken_at_s.append(time.time())
            try:
                return None if self.is_deaf else self.judge.take(frame)
            except BaseException as error:
                self.errors.append(error)
                raise
            finally:
                self._changed.notify_all()

    def wait_for(self, is_reached, *, timeout_s: float = 30) -> None:
        """Wait until `is_reached(judge)`."""
        with self._changed:
            reached = self._changed.wait_for(lambda: self.errors or is_reached(self.judge), timeout_s)
        if self.errors:
            raise self.errors[0]
        assert reached, f"{len(self.frames)} frames in {timeout_s} s, {len(self.judge.reports)} reports"


class MqttGateway(Gateway):
    """On a broker, through paho."""

    def __init__(self, judge: Judge, port: int) -> None:
        super().__init__(judge)
        self.port = port
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._is_listening.set()
        self._is_listening = threading.Event()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("n/+/up")

    def _on_message(self, client, userdata, message) -> None:
        answer = self.take(message.payload)
        if answer is not None:
            self._client.publish(message.topic.removesuffix("up") + "down", answer)

    def __enter__(self) -> Self:
        self._client.loop_start()
        assert self._is_listening.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class RadioGateway(Gateway):
    """On the air, through the SX1262 of a street's gateway."""

    def __init__(self, judge: Judge, socket: str | Path) -> None:
        super().__init__(judge)
        self._socket = str(socket)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="radio gateway")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    async def _serve(self) -> None:
        radio = _open_radio(self._socket)
        up = Channel(UPLINK_HZ, 7, 125_000, 1, 14)
        down = Channel(DOWNLINK_HZ, 7, 125_000, 1, 14, invert_iq=True)
        buf = bytearray(255)
        await radio.start()
        while not self._stop.is_set():
            radio.use(up)
            packet = await radio.listen(buf, 200)
            if packet is None:
                continue
            answer = self.take(bytes(buf[: packet.length]))
            if answer is not None:
                radio.use(down)
                due_us = radio._clock.ticks_add(packet.done_us, _ANSWER_AFTER_US)
                wait_us = radio._clock.ticks_diff(due_us, radio._clock.ticks_us())
                await asyncio.sleep((wait_us - 60_000) / 1e6)
                await radio.transmit_at(answer, due_us, latest_us=50_000)


def _open_radio(socket: str) -> SX126x:
    facts = data.load("heltec_v3")
    board = RemoteBoard(socket)
    pins, bus = facts.radio, facts.spi
    return SX126x(
        board.SPI(bus.id),
        board.Pin(pins.nss, board.Pin.OUT, value=1),
        board.Pin(pins.reset, board.Pin.OUT, value=1),
        board.Pin(pins.busy, board.Pin.IN),
        board.Pin(pins.dio1, board.Pin.IN),
        tcxo_v=pins.tcxo_v,
        dio2_rf_switch=pins.dio2_rf_switch,
        dcdc=pins.dcdc,
    )
