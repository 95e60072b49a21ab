"""The life of one board between power-on and power cut: boots, resets, deep sleep, watchdog. In the loop's thread only.

What survives what, as on the ESP32-S3:
                    RTC, RTC memory    chips keep their state    Wi-Fi stays    watchdog runs on
    soft reset      yes                yes                       yes            yes
    hard reset      yes                yes                       no             no
    deep sleep      yes                yes                       no             no
    power cut       no                 no                        no             no
"""

import errno
import signal
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from boards.virtual import rpc
from boards.virtual.clock import Clock
from boards.virtual.console import Console
from boards.virtual.flash import Flash
from boards.virtual.interpreter import Interpreter
from boards.virtual.loop import Loop, Timer
from boards.virtual.nvs import Nvs
from boards.virtual.port import SerialPort
from boards.virtual.power import ResetCause, WakeReason
from boards.virtual.repl import ENTER_RAW, SOFT_REBOOT, ReplFilter
from boards.virtual.rtc import MEMORY_LEN, Rtc, Watchdog
from boards.virtual.wifi import Wifi
from boards.virtual.wiring import NO_PIN, Wiring

_STARTS_RAW = 1
_IS_INTERRUPTED = 2
_FOR_EVER = 0xFFFFFFFFFFFFFFFF
_LOOK_FOR_WAKE_S = 0.01
_UNTIL_READY_MAX = 4096  # keys kept for an interpreter that is starting
_PANIC = b"\r\nThe interpreter ended (%d); the board resets.\r\n"
_DEAD = b"\r\nThe interpreter ended (%d) before it was ready; the board stays off. Is heapsize too small?\r\n"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a board consists of; made by VirtualBoard."""

    loop: Loop
    clock: Clock
    speed: float
    heapsize: str
    ticks_start_ms: int
    unique_id: bytes
    shims: Path
    flash: Flash
    nvs: Nvs
    wiring: Wiring
    wifi: Wifi
    console: Console
    rtc: Rtc
    off: threading.Event = field(default_factory=threading.Event)


class Life:
    """`parts.off` is set while the board has no power."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._loop = parts.loop
        self._interpreter: Interpreter | None = None
        self._repl = ReplFilter()
        self._watchdog = Watchdog(parts.clock)
        self._timers: dict[str, Timer] = {}
        self._cause, self._wake = ResetCause.POWER_ON, WakeReason.NONE
        self._flags = 0
        self._is_ready = False
        self._typed = b""
        self._wake_pin: tuple[int, int] | None = None
        self.boots = 0
        self.port = SerialPort(parts.loop, self.type)
        self._handlers = self._all_handlers()
        parts.off.set()

    def power_on(self) -> None:
        """Nothing happens if it is on."""
        if self._parts.off.is_set():
            self._parts.off.clear()
            self._parts.rtc.lose_power()
            self._parts.wiring.power(is_on=True)
            self._boot(ResetCause.POWER_ON)

    def power_cut(self) -> None:
        """Everything stops at once, and what needs power is lost. Nothing happens if it is off."""
        if not self._parts.off.is_set():
            self._parts.wifi.power_off()
            self._stop()
            self._parts.nvs.lose_power()
            self._parts.rtc.lose_power()
            self._parts.wiring.power(is_on=False)
            self._parts.off.set()

    def reset(self) -> None:
        """As machine.reset()."""
        self._restart(ResetCause.HARD)

    def type(self, keys: bytes) -> None:
        """Keys for the interpreter; kept while it starts, lost while the board is off or asleep."""
        if self._interpreter is not None and self._is_ready:
            self._interpreter.type(keys)
        elif self._interpreter is not None:
            self._typed = (self._typed + keys)[-_UNTIL_READY_MAX:]

    def close(self) -> None:
        self.power_cut()
        self.port.close()

    # --- starting and stopping the interpreter ---

    def _boot(self, cause: ResetCause, wake: WakeReason = WakeReason.NONE, *, flags: int = 0) -> None:
        self._cause, self._wake, self._flags = cause, wake, flags
        self._is_ready = False
        self._wake_pin = None
        self._repl.start(raw=bool(flags & _STARTS_RAW))
        self.boots += 1
        interpreter = Interpreter(
            self._loop,
            self._parts.shims,
            heapsize=self._parts.heapsize,
            on_printed=self._on_printed,
            on_exit=self._on_exit,
        )
        self._interpreter = interpreter
        server = rpc.Server(interpreter.stream, self._handlers)

        def serve() -> None:
            if not server.serve() and self._interpreter is interpreter:
                self._loop.unwatch(interpreter.stream.fileno())

        self._loop.watch(interpreter.stream.fileno(), serve)

    def _stop(self) -> None:
        """No interpreter, no watchdog, no alarm clock; pins float."""
        self._end_interpreter()
        self._watchdog.stop()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._typed = b""
        self._parts.wiring.float_pins()

    def _end_interpreter(self) -> None:
        if self._interpreter is not None:
            interpreter, self._interpreter = self._interpreter, None
            interpreter.kill()

    def _restart(self, cause: ResetCause) -> None:
        self._parts.wifi.power_off()
        self._stop()
        self._boot(cause)

    def _soft_reset(self) -> None:
        self._end_interpreter()
        self._say(SOFT_REBOOT)
        self._boot(ResetCause.SOFT, flags=_STARTS_RAW if self._repl.is_raw else 0)

    def _on_exit(self, status: int, unread: bytes) -> None:
        """A board that only goes back to its REPL keeps what was typed: so the next interpreter gets it."""
        self._interpreter = None
        if status == 0:
            self._soft_reset()
        elif not self._is_ready:
            self._say(_DEAD % status)
            self.power_cut()
        elif status in (1, -signal.SIGINT):  # a second Ctrl-C, or one where nothing was there to take it
            self._typed = unread
            self._boot(ResetCause.SOFT, flags=_IS_INTERRUPTED)
        else:
            self._say(_PANIC % status)
            self._restart(ResetCause.WATCHDOG)  # a panic counts as that on the ESP32

    def _on_printed(self, data: bytes) -> None:
        self._say(self._repl.printed(data))

    def _say(self, data: bytes) -> None:
        if data:
            self._parts.console.write(data)
            self.port.write(data)

    # --- deep sleep and watchdog ---

    def _deep_sleep(self, duration_us: int) -> None:
        wake_pin = self._wake_pin
        pull = self._parts.wiring.pull(wake_pin[0]) if wake_pin else 0
        self._parts.wifi.power_off()
        self._stop()
        if duration_us != _FOR_EVER:
            self._after("wake", duration_us, lambda: self._wake_up(WakeReason.TIMER))
        if wake_pin is not None:
            self._parts.wiring.hold_pull(wake_pin[0], pull)
            self._look_for_wake(*wake_pin)

    def _look_for_wake(self, pin: int, level: int) -> None:
        if self._parts.wiring.level(pin) == level:
            self._wake_up(WakeReason.PIN)
        else:
            self._timers["pin"] = self._loop.after(_LOOK_FOR_WAKE_S, lambda: self._look_for_wake(pin, level))

    def _wake_up(self, reason: WakeReason) -> None:
        self._stop()
        self._boot(ResetCause.DEEP_SLEEP, reason)

    def _start_watchdog(self, timeout_ms: int) -> None:
        self._watchdog.start(timeout_ms)
        self._look_at_watchdog()

    def _look_at_watchdog(self) -> None:
        remaining_us = self._watchdog.remaining_us()
        if remaining_us is None:
            return
        if remaining_us > 0:
            self._after("watchdog", remaining_us, self._look_at_watchdog)
        else:
            self._restart(ResetCause.WATCHDOG)

    def _after(self, name: str, duration_us: int, callback: Callable[[], None]) -> None:
        """In board time; replaces the timer of that name."""
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self._loop.after(duration_us / 1e6 / self._parts.speed, callback)

    # --- what the interpreter asks ---

    def _all_handlers(self) -> dict[int, rpc.Handler]:
        parts = self._parts
        return {
            **parts.wiring.handlers(),
            **parts.flash.handlers(),
            **parts.nvs.handlers(),
            **parts.wifi.handlers(),
            rpc.HELLO: lambda _: self._hello(),
            rpc.READY: lambda _: self._on_ready(),
            rpc.RESET: lambda _: self._end_by(self.reset),
            rpc.SOFT_RESET: lambda _: self._end_by(self._soft_reset),
            rpc.DEEP_SLEEP: lambda question: self._end_by(lambda: self._deep_sleep(int.from_bytes(question, "big"))),
            rpc.WDT_START: lambda question: self._start_watchdog(int.from_bytes(question, "big")),
            rpc.WDT_FEED: lambda _: self._watchdog.feed(),
            rpc.RTC_GET: lambda _: struct.pack(">q", parts.rtc.get_us()),
            rpc.RTC_SET: lambda question: parts.rtc.set_us(struct.unpack(">q", question)[0]),
            rpc.RTC_MEMORY_GET: lambda _: parts.rtc.memory,
            rpc.RTC_MEMORY_SET: self._set_rtc_memory,
            rpc.WAKE_ON_PIN: self._set_wake_pin,
        }

    def _end_by(self, end: Callable[[], None]) -> None:
        end()
        raise rpc.AskerGone

    def _hello(self) -> bytes:
        parts = self._parts
        start = (self._cause, self._wake, self._flags, parts.speed, parts.rtc.get_us(), parts.ticks_start_ms)
        return struct.pack(">BBBdqI6sI", *start, parts.unique_id, parts.flash.size)

    def _on_ready(self) -> None:
        self._is_ready = True
        keys, self._typed = self._typed, b""
        if self._flags & _STARTS_RAW:
            keys = ENTER_RAW + keys
        if keys:
            self.type(keys)

    def _set_rtc_memory(self, question: bytes) -> None:
        self._parts.rtc.memory = question[:MEMORY_LEN]

    def _set_wake_pin(self, question: bytes) -> None:
        pin, level = question
        if pin != NO_PIN and not self._parts.wiring.can_wake(pin):
            raise OSError(errno.EINVAL, f"GPIO {pin} is not in the RTC domain")
        self._wake_pin = None if pin == NO_PIN else (pin, level)
