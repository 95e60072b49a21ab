"""LoRa: hears nodes on one frequency and one spreading factor, and answers each in its receive window.

A frame goes to the intake as it came; whose it is, is not known here. While the gateway transmits it is deaf, so it
answers only what fits (downlink.Schedule) and what the region allows (duty.DutyBook). A radio that is absent or stops
answering is a state, tried again with a growing pause; nothing else of the gateway waits for it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from drivers import clock as driver_clock
from drivers.bus.linux import BusError
from drivers.link.join import begins_join
from drivers.radio.lora import Channel, RadioError
from drivers.radio.sx126x import PREPARE_MS, TooLate
from gateway.config import LoraSouthbound
from gateway.downlink import WINDOW_US, Downlink, Schedule
from gateway.duty import DutyBook
from gateway.intake import Uplink, Verdict
from gateway.southbound.beacons import Beacons
from gateway.southbound.radio_device import open_device

log = logging.getLogger(__name__)
clock: Any = driver_clock  # carries no annotations

_LOOK_MS = 100  # how long a new downlink may stay unnoticed; its moment is two seconds away
_LEAD_US = (PREPARE_MS + 10) * 1_000
_LATEST_US = 150_000  # a node hears for some 300 ms: late on a busy machine is better than never
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_MOST_IN_HAND = 64  # frames at the intake; more than a radio hears in a receive window


class Taker(Protocol):
    """The intake's side of a frame."""

    async def submit(self, uplink: Uplink) -> Verdict: ...


class LoraRadio:
    """One radio. `run` serves until cancelled."""

    def __init__(
        self,
        config: LoraSouthbound,
        intake: Taker,
        *,
        data_dir: Path,
        count: Callable[[str, int], None],
        now_s: Callable[[], float] = time.time,
        beacons: Beacons | None = None,
        knows: Callable[[int], bool] = lambda address: True,
    ) -> None:
        """What is asked and told.

        count  adds to a named counter
        now_s  UTC seconds, for the time of reception
        knows  whether a node with this short address may exist: who begins a join with another one is not answered
        """
        self._config = config
        self._intake = intake
        self._count = count
        self._now_s = now_s
        self._beacons = beacons
        self._knows = knows
        self._uplink = _channel(config, config.freq_hz, invert_iq=False)
        self._downlink = _channel(config, config.downlink_freq_hz, invert_iq=True)
        self._duty = DutyBook(data_dir / "duty.bin", freq_hz=config.downlink_freq_hz, bandwidth_hz=config.bandwidth_hz)
        self._schedule = Schedule(lead_us=_LEAD_US, latest_us=_LATEST_US, count=lambda name: count(name, 1))
        self._buf = bytearray(255)
        self._in_hand = 0
        self._state, self._detail = "starting", ""
        self._counters: dict[str, int] = {}

    async def run(self) -> None:
        """Open the radio and serve, again and again. No task outlives this call."""
        self._duty.load()
        async with asyncio.TaskGroup() as submissions:
            pause_s = _FIRST_PAUSE_S
            while True:
                started_s = time.monotonic()
                try:
                    await self._open_and_serve(submissions)
                except (RadioError, BusError, OSError) as error:
                    self._enter("missing", getattr(error, "strerror", None) or str(error))
                    self._count("lora_radio_failures", 1)
                if time.monotonic() - started_s > _LONGEST_PAUSE_S:
                    pause_s = _FIRST_PAUSE_S  # it had worked
                await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def status(self) -> dict[str, object]:
        """For `gateway status`: state, channel, airtime, and the chip's own counters."""
        return {
            "state": self._state,
            "detail": self._detail,
            "device": self._config.device,
            "freq_hz": self._config.freq_hz,
            "spreading_factor": self._config.spreading_factor,
            "duty": self._duty.status(),
            "acks_waiting": len(self._schedule),
            "chip": dict(self._counters),
        }

    async def _open_and_serve(self, submissions: asyncio.TaskGroup) -> None:
        device = open_device(self._config)
        try:
            self._counters = device.radio.counters
            device.radio.use(self._uplink)
            await device.radio.start()
            self._enter("receiving", "")
            await self._serve(device.radio, submissions)
        finally:
            device.close()

    async def _serve(self, radio: Any, submissions: asyncio.TaskGroup) -> None:
        while True:
            packet = await radio.listen(self._buf, self._listen_ms())
            if packet is not None:
                self._take(packet, submissions)
            self._plan_beacon()
            downlink = self._schedule.take(now_us=_now_us())
            if downlink is not None:
                await self._answer(radio, downlink)

    def _plan_beacon(self) -> None:
        beacon = self._beacons.due(now_us=_now_us()) if self._beacons else None
        if beacon is not None:
            frame, due_us = beacon
            airtime_us = self._downlink.airtime_us(len(frame))
            one = Downlink(frame=frame, due_us=due_us, airtime_us=airtime_us, is_beacon=True)
            self._schedule.add(one, now_us=_now_us())

    def _listen_ms(self) -> int:
        next_us = self._schedule.next_us()
        if next_us is None:
            return _LOOK_MS
        return max(1, min(_LOOK_MS, (next_us - _now_us()) // 1_000))

    def _take(self, packet: Any, submissions: asyncio.TaskGroup) -> None:
        """Give a frame to the intake without waiting for its verdict."""
        since_end_us = clock.ticks_diff(clock.ticks_us(), packet.done_us)
        self._count("lora_frames_received", 1)
        if self._in_hand >= _MOST_IN_HAND:
            self._count("lora_frames_dropped_busy", 1)  # not stored, not answered: the node sends it again
            return
        if begins_join(self._buf[: packet.length]) and not self._may_begin():
            return
        uplink = Uplink(
            frame=bytes(self._buf[: packet.length]),
            bearer="lora",
            received_at_s=self._now_s() - since_end_us / 1e6,
            rssi_dbm=packet.rssi_dbm,
            snr_db=packet.snr_db,
            airtime_us=self._uplink.airtime_us(packet.length),
        )
        self._in_hand += 1
        submissions.create_task(self._submit(uplink, ended_us=_now_us() - since_end_us), name="lora.submit")

    def _may_begin(self) -> bool:
        """Whether the message_1 in the buffer is to be answered: while we answer a stranger, we are deaf to alarms."""
        if not self._knows(self._buf[1] << 8 | self._buf[2]):
            self._count("refused_join_unknown_node", 1)
            return False
        if not self._duty.begin_join():
            self._count("lora_joins_skipped_share", 1)
            return False
        return True

    async def _submit(self, uplink: Uplink, *, ended_us: int) -> None:
        try:
            verdict = await self._intake.submit(uplink)
        finally:
            self._in_hand -= 1
        if verdict.downlink is not None:
            downlink = Downlink(
                frame=verdict.downlink,
                due_us=ended_us + WINDOW_US,
                airtime_us=self._downlink.airtime_us(len(verdict.downlink)),
                is_urgent=verdict.urgent,
                is_join=verdict.is_join,
            )
            self._schedule.add(downlink, now_us=_now_us())

    async def _answer(self, radio: Any, downlink: Downlink) -> None:
        """Transmit in the node's window, then hear again."""
        if not self._duty.allows(downlink.airtime_us, is_urgent=downlink.is_urgent):
            self._count(f"lora_{downlink.name}_skipped_duty", 1)
            return
        if radio.is_receiving and not downlink.is_urgent:
            self._count(f"lora_{downlink.name}_skipped_conflict", 1)  # the frame now coming in would be lost instead
            return
        if downlink.is_join and not self._duty.take_join_share(downlink.airtime_us):
            self._count("lora_joins_skipped_share", 1)
            return
        try:
            self._duty.record(downlink.airtime_us)
        except OSError:
            self._count(f"lora_{downlink.name}_skipped_disk", 1)  # unrecorded airtime would be forgotten by a restart
            return
        await self._transmit(radio, downlink)

    async def _transmit(self, radio: Any, downlink: Downlink) -> None:
        started_us = _now_us()
        radio.use(self._downlink)
        try:
            due_ticks = clock.ticks_add(clock.ticks_us(), downlink.due_us - _now_us())
            await radio.transmit_at(downlink.frame, due_ticks, latest_us=_LATEST_US)
            self._count(f"lora_{downlink.name}_sent", 1)
        except TooLate:
            self._count(f"lora_{downlink.name}_skipped_late", 1)
        finally:
            radio.use(self._uplink)
            self._count("lora_deaf_ms", (_now_us() - started_us) // 1_000)

    def _enter(self, state: str, detail: str) -> None:
        if (state, detail) != (self._state, self._detail):
            level = logging.INFO if state == "receiving" else logging.WARNING
            log.log(level, "radio %s is %s%s", self._config.device, state, f": {detail}" if detail else "")
        self._state, self._detail = state, detail


def _channel(config: LoraSouthbound, freq_hz: int, *, invert_iq: bool) -> Channel:
    return Channel(freq_hz, config.spreading_factor, config.bandwidth_hz, 1, config.tx_power_dbm, invert_iq=invert_iq)


def _now_us() -> int:
    return time.monotonic_ns() // 1_000
