"""From reset to the running application, and to the REPL whenever a technician wants it. /main.py calls run().

Ways in: hold the button at reset or wake; Ctrl-C within the first seconds after a reset; Ctrl-C at any time. Whatever
is wrong with files or enrolment is said in one line, with the next step, and leaves the REPL open. A crash waits and
resets, longer each time; after five in a row the node stays at the REPL for an hour.
"""

import asyncio
import hashlib
import sys
import time

import esp32
import machine

from drivers import clock
from drivers.link.seal import aes_ecb
from firmware import config as configuration
from firmware import hardware
from firmware.alarm import Alarms
from firmware.archive import Archive
from firmware.crash import FILE as CRASH_FILE
from firmware.crash import Crashes
from firmware.journal import Journal
from firmware.node import Node
from firmware.report import Reporter
from firmware.rtc import RtcState
from firmware.sample import Sampler
from firmware.settings import NAMESPACE, NotEnrolled, Settings
from firmware.uptime import Uptime
from firmware.watchdog import Watchdog

CONFIG = "/config.json"
BOARD = "/board.json"
JOURNAL = "/journal"
_DEFAULT_WINDOW_S = 2
_SAFE_MODE_S = 3600
_CLOCK_SLACK_MS = 60_000


class Parts:
    """What a Node is made of: attributes only."""


def say(line):
    """One line on the console."""
    print("lamppost:", line)


def run():
    """Boot and serve. Returns only to leave the REPL open."""
    woke = machine.reset_cause() == machine.DEEPSLEEP_RESET
    crashes = Crashes(esp32.NVS(NAMESPACE))
    parts = Parts()
    try:
        board = hardware.load_board(BOARD)
        if hardware.is_button_held(board):
            say("button held: the REPL is open; machine.reset() starts the application")
            return
        config = configuration.load(CONFIG)
        if not woke:
            _offer_repl(config.repl_window_s)
            if machine.reset_cause() == machine.WDT_RESET:
                crashes.add()
            if crashes.is_safe_mode_due():
                _enter_safe_mode()
                return
        _build(parts, config, board, crashes, woke)
        asyncio.run(_serve(config, parts, woke))
    except (configuration.ConfigError, NotEnrolled) as error:
        say(str(error))
        say("nothing is measured until then; the REPL is open")
    except KeyboardInterrupt:
        if hasattr(parts, "watchdog"):
            parts.watchdog.relax()
        say("stopped by Ctrl-C: the REPL is open; machine.reset() starts the application")
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not lock anybody out
        _crash(error, crashes)


def _offer_repl(window_s):
    say("Ctrl-C within %d s opens the REPL" % window_s)
    time.sleep_ms(window_s * 1000)


async def _serve(config, parts, woke):
    if not woke:
        from firmware.selftest import check

        await check(config, parts, JOURNAL)
    await Node(config, parts).run()


def _build(parts, config, board, crashes, woke):
    """Make all parts, in the order of what may refuse."""
    parts.say = say
    parts.clock = clock
    parts.crashes = crashes
    parts.settings = settings = Settings(esp32.NVS(NAMESPACE))
    settings.load()
    hardware.power_sensors(board, True)
    parts.sampler = Sampler(hardware.open_sensors(board, config.sensors))
    journal = Journal(
        JOURNAL,
        hashlib.sha256(settings.node_id.encode()).digest()[:8],
        segment_records=min(max(config.journal_reports // 8, 4), 64),
    )
    journal.open()
    parts.archive = Archive(settings, journal, cap=config.journal_reports)
    _begin(parts, journal, woke)
    parts.alarms = Alarms(config.alarms, on_bits=parts.state.alarms)
    parts.bearer = _open_bearer(config, board, parts)
    parts.reporter = Reporter(
        parts.archive, settings, parts.state, parts.uptime, max_frame=parts.bearer.max_frame, aes=aes_ecb
    )
    parts.deepsleep = machine.deepsleep
    parts.prepare_sleep = lambda rest_s: _prepare_sleep(parts, board, rest_s)
    parts.watchdog = Watchdog(machine.WDT, clock, config.watchdog_s)
    say(
        "node %s, epoch %d, boot %d, %d reports wait"
        % (settings.node_id, settings.epoch, settings.boot, parts.archive.count_held())
    )


def _begin(parts, journal, woke):
    """Go on where deep sleep left off, or begin a new boot."""
    settings, state = parts.settings, RtcState(machine.RTC().memory)
    parts.state = state
    has_state = state.load()
    epoch_before = settings.epoch
    told = parts.archive.recover()
    if told:
        say(told)
    slept_ms = _chip_ms() - (state.asleep_at_s * 1000 + state.asleep_at_ms)
    if woke and has_state and settings.epoch == epoch_before and _is_continuation(state, settings, slept_ms):
        settings.resume_counter(state.next_counter)
        parts.archive.resume(state.acked_base, state.acked_bitmap)
        uptime_ms = state.uptime_s * 1000 + state.uptime_ms + slept_ms
        parts.uptime = Uptime(clock, start_s=uptime_ms // 1000, phase_ms=uptime_ms % 1000)
        state.boot = 0  # no copy made while awake may ever be resumed: its counter would be an old one
        state.save()
        return
    state.begin()
    settings.begin_boot(above=max([run.last_boot for run in journal.runs] or [0]))
    parts.uptime = Uptime(clock)


def _is_continuation(state, settings, slept_ms):
    """Whether RTC memory is of this boot, and the time slept is about what was planned."""
    planned_ms = state.asleep_s * 1000
    return (
        state.epoch == settings.epoch
        and state.boot == settings.boot
        and state.counter_end == settings.counter_end
        and 0 <= slept_ms <= planned_ms + planned_ms // 8 + _CLOCK_SLACK_MS
    )


def _chip_ms():
    """The chip's own clock: it starts at power-on, and runs through deep sleep."""
    return time.time_ns() // 1_000_000


def _open_bearer(config, board, parts):
    """The bearer that the configuration names; the other one's modules are not even loaded."""
    settings, state, uptime = parts.settings, parts.state, parts.uptime
    if config.bearer == "lora":
        from firmware.bearer_lora import LoraBearer, restore_ledger

        def keep_ledger(ledger):
            state.ledger = ledger
            state.save()

        ledger = restore_ledger(state.ledger, uptime.seconds())
        radio = hardware.open_radio(board)
        return LoraBearer(radio, config.lora, uptime, clock, ledger=ledger, on_spent=keep_ledger)
    from firmware.bearer_mqtt import MqttBearer

    return MqttBearer(
        hardware.open_wlan(),
        config.wifi,
        config.mqtt,
        uptime,
        clock,
        address=settings.address,
        node_id=settings.node_id,
        keepalive_s=min(max(60, 2 * config.report_s), 65_535),
    )


def _prepare_sleep(parts, board, rest_s):
    """Everything that the next waking needs, in RTC memory; sensors without power, pins held."""
    state, settings, run = parts.state, parts.settings, parts.archive.current()
    state.epoch, state.boot = settings.epoch, settings.boot
    state.next_counter, state.counter_end = settings.next_counter, settings.counter_end
    if run is not None:
        state.acked_base, state.acked_bitmap = run.base, run.bitmap
    state.uptime_s, state.uptime_ms = parts.uptime.split()
    state.asleep_s = rest_s
    state.asleep_at_s, state.asleep_at_ms = divmod(_chip_ms(), 1000)
    hardware.power_sensors(board, False)
    hardware.hold_for_sleep(board)


def _enter_safe_mode():
    machine.WDT(timeout=_SAFE_MODE_S * 1000)
    say("safe mode after crashes in a row: the REPL is open for an hour, then one more try")
    say("read %s, then correct the configuration or install the firmware again" % CRASH_FILE)


def _crash(error, crashes):
    """Say and keep what happened, wait, reset. Ctrl-C while it waits opens the REPL."""
    sys.print_exception(error)
    try:
        with open(CRASH_FILE, "w") as file:
            sys.print_exception(error, file)
    except OSError:
        pass  # a full flash is perhaps what it crashed of
    wait_s = crashes.add()
    say("crash %d in a row; reset in %d s, Ctrl-C opens the REPL" % (crashes.count, wait_s))
    try:
        time.sleep_ms(wait_s * 1000)
    except KeyboardInterrupt:
        say("the REPL is open")
        return
    machine.reset()
