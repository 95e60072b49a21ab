"""A waking of a node that sleeps deeply: what is due, one after the other; then everything that the next one needs."""

import time

import esp32
import machine

from drivers.constant import const
from firmware.hardware import power_sensors

_STAY_AWAKE_S = const(3)  # shorter rests are not worth a deep sleep
_LOOK_MS = const(200)


async def run_until_asleep(node, clock, watchdog, limit_s):
    """Do what is due until nothing is for a while. `limit_s`: the longest that one report may take."""
    parts, state = node.parts, node.parts.state
    while True:
        watchdog.promise("waking", limit_s)
        watchdog.feed()
        if not parts.uptime.ms_until(state.sample_at_s):
            await node.sample_once()
        if node.is_hurried or state.report_at_s - parts.uptime.seconds() <= parts.sample_s // 2:
            await node.report_once()  # somewhat early rather than with a waking of its own
        rest_s = min(state.sample_at_s, state.report_at_s) - parts.uptime.seconds()
        if rest_s > _STAY_AWAKE_S and not node.is_hurried:
            fall_asleep(parts, rest_s)
        await clock.sleep_ms(min(max(rest_s, 0) * 1000, _LOOK_MS))


def fall_asleep(parts, rest_s):
    """Put everything that the next waking needs into RTC memory, and sleep. On a board this does not return."""
    state, settings, run = parts.state, parts.settings, parts.archive.current()
    state.epoch, state.boot = settings.epoch, settings.boot
    state.next_counter, state.counter_end = settings.next_counter, settings.counter_end
    if run is not None:
        state.acked_base, state.acked_bitmap = run.base, run.bitmap
    if not any(kind == "pms5003" for kind, _ in parts.sampler.sensors):  # it would never get warm
        power_sensors(parts.board, False)
    _hold_radio(parts.board)
    if parts.carries is not None:
        from firmware import carried

        state.image = carried.save(state.image, settings.boot, *parts.carries)
    for kind, sensor in parts.sampler.sensors:
        if kind == "switch":
            sensor.arm()
    state.asleep_s = rest_s
    state.uptime_s, state.uptime_ms = parts.uptime.split()
    state.asleep_at_s, state.asleep_at_ms = divmod(time.time_ns() // 1_000_000, 1000)
    state.save()
    print("lamppost: asleep for %d s" % rest_s)
    machine.deepsleep(rest_s * 1000)


def _hold_radio(board):
    """Keep the radio's NSS high while the chip sleeps: an edge wakes the radio, and it draws 1.5 mA until morning."""
    nss = board["nss"]
    if nss is not None:
        machine.Pin(nss, machine.Pin.OUT, value=1, hold=True)  # pyright: ignore[reportCallIssue]  the stubs lack it
        esp32.gpio_deep_sleep_hold(True)  # pyright: ignore[reportAttributeAccessIssue]
