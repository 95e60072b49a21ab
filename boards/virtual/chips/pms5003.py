"""PMS5003 dust sensor on a UART of 9600 baud. Source: Plantower "PMS5003 series data manual" V2.3, appendix I and II.

In: the weather, a clock, command bytes and the SET and RESET pins. Out: 32-byte frames, byte by byte at the speed of
the wire, into a receive buffer as deep as a microcontroller's. Junk can be put on the wire.
"""

import threading
from collections import deque
from typing import Protocol

from boards.virtual.clock import Clock
from boards.virtual.weather import Sample

BYTE_US = 1_042  # start bit, 8 data bits, stop bit at 9600 baud, rounded up
_HEAD = b"\x42\x4d"
_INTERVAL_US = 800_000  # active mode, fast: 200 to 800 ms between frames
_STABLE_INTERVAL_US = 2_300_000  # active mode, stable air
_CHANGED_UG = 0.3  # a change from frame to frame that makes stable mode fast
_BOOT_US = 1_500_000  # from power or wake to the first frame
_SETTLING_US = 30_000_000  # "stable data should be got at least 30 seconds after the sensor wakeup"
_COMMAND_LEN = 7
_MODE, _READ, _SLEEP = 0xE1, 0xE2, 0xE4


class WeatherSource(Protocol):
    def at(self, t_s: float) -> Sample: ...


class Pms5003:
    def __init__(self, weather: WeatherSource, clock: Clock, *, buffer_len: int = 256, is_warm: bool = True) -> None:
        """buffer_len  bytes the reader's UART keeps; newer ones are lost when it is full
        is_warm     the fan ran before the clock started, so that the first reading is right. After a sleep, or when
                    False, dust reads low for 30 s, as the fan has not drawn enough air
        """
        self._weather, self._clock = weather, clock
        self._lock = threading.Lock()
        self._wire: deque[tuple[int, int]] = deque(maxlen=4 * buffer_len)  # (time the byte is complete, byte)
        self._buffer = bytearray()
        self._buffer_len = buffer_len
        self._set_level = self._reset_level = 1
        self.counters = {"overruns": 0, "bad_commands": 0}
        self._start(warm=is_warm)

    def write(self, data: bytes) -> None:
        """Bytes from the board. Asleep, only the command that wakes it is understood (appendix II)."""
        with self._lock:
            self._settle()
            self._command += data
            while len(self._command) >= _COMMAND_LEN:
                self._take_command()

    def any(self) -> int:
        """Bytes that have arrived and were not read."""
        with self._lock:
            self._settle()
            return len(self._buffer)

    def read(self, n: int) -> bytes:
        """Up to `n` bytes of what has arrived; empty if nothing has."""
        with self._lock:
            self._settle()
            taken, self._buffer = bytes(self._buffer[:n]), self._buffer[n:]
            return taken

    def set(self, level: int) -> None:
        """SET pin: low sleeps, high works."""
        with self._lock:
            self._settle()
            if level != self._set_level:
                self._set_level = level
                self._fall_asleep() if not level else self._start(warm=False)

    def reset(self, level: int) -> None:
        """RESET pin: low resets, back to active mode."""
        with self._lock:
            self._settle()
            if level and not self._reset_level:
                self._start(warm=False)
            self._reset_level = level

    def power_cycle(self) -> None:
        with self._lock:
            self._buffer.clear()
            self._start(warm=False)

    def put_on_wire(self, junk: bytes) -> None:
        """Let bytes arrive that no sensor sent: noise, half a frame, a wrong checksum."""
        with self._lock:
            self._settle()
            self._send(junk, self._clock.now_us())

    def _start(self, *, warm: bool) -> None:
        now_us = self._clock.now_us()
        self._wire.clear()
        self._command = bytearray()
        self._is_awake, self._is_active = True, True
        self._warm_us = now_us - _SETTLING_US if warm else now_us
        self._next_frame_us, self._interval_us = now_us + _BOOT_US, _INTERVAL_US
        self._last_sent: Sample | None = None

    def _fall_asleep(self) -> None:
        self._wire.clear()
        self._is_awake = False

    def _take_command(self) -> None:
        head = self._command.find(_HEAD)
        if head:
            del self._command[: head if head > 0 else len(self._command) - 1]
            self.counters["bad_commands"] += 1
            return
        frame = bytes(self._command[:_COMMAND_LEN])
        if sum(frame[:5]) != int.from_bytes(frame[5:], "big"):
            self.counters["bad_commands"] += 1
            del self._command[0]
            return
        del self._command[:_COMMAND_LEN]
        self._obey(frame[2], frame[4])

    def _obey(self, command: int, argument: int) -> None:
        now_us = self._clock.now_us()
        if command == _SLEEP and argument == 1 and not self._is_awake:
            self._start(warm=False)
        elif not self._is_awake:
            return
        elif command == _SLEEP and argument == 0:
            self._send(_answer(command, argument), now_us)
            self._is_awake = False
        elif command == _MODE:
            self._is_active = bool(argument)
            self._next_frame_us = now_us + _INTERVAL_US
            self._send(_answer(command, argument), now_us)
        elif command == _READ and not self._is_active:
            self._send(self._frame(now_us), now_us)

    def _settle(self) -> None:
        """Move to the buffer what the wire has brought since, one stop bit after another."""
        now_us = self._clock.now_us()
        if self._is_awake and self._is_active:
            self._catch_up(now_us)
        while self._wire and self._wire[0][0] <= now_us:
            _, value = self._wire.popleft()
            if len(self._buffer) < self._buffer_len:
                self._buffer.append(value)
            else:
                self.counters["overruns"] += 1

    def _catch_up(self, now_us: int) -> None:
        """Send the frames that are due; of a long absence only the first few fit the buffer, so skip the rest."""
        behind_us = now_us - self._next_frame_us
        kept_us = 32 * _STABLE_INTERVAL_US
        if behind_us > kept_us:
            skipped = (behind_us - kept_us) // _STABLE_INTERVAL_US
            self.counters["overruns"] += 32 * skipped
            self._next_frame_us += skipped * _STABLE_INTERVAL_US
        while self._next_frame_us <= now_us:
            self._send(self._frame(self._next_frame_us), self._next_frame_us)
            self._next_frame_us += self._interval_us

    def _send(self, data: bytes, at_us: int) -> None:
        starts_us = max(at_us, self._wire[-1][0] if self._wire else 0)
        self._wire.extend((starts_us + (i + 1) * BYTE_US, value) for i, value in enumerate(data))

    def _frame(self, at_us: int) -> bytes:
        """Appendix I: three mass values as factory standard, three for the air outside, six counts, reserved, sum."""
        t_s = self._clock.utc_s() - (self._clock.now_us() - at_us) / 1e6
        sample = self._weather.at(t_s)
        before, self._last_sent = self._last_sent, sample
        is_still = before is not None and abs(before.pm2_5 - sample.pm2_5) < _CHANGED_UG
        self._interval_us = _STABLE_INTERVAL_US if is_still else _INTERVAL_US
        share = min(1.0, 0.2 + 0.8 * max(0, at_us - self._warm_us) / _SETTLING_US)
        outside = [round(mass * share) for mass in (sample.pm1, sample.pm2_5, sample.pm10)]
        standard = [round(mass * (1.0 if mass < 30 else 1.5)) for mass in outside]
        counts = [round(outside[1] * factor) for factor in (150, 45, 8, 1.2, 0.4, 0.1)]  # falls with size, roughly
        body = _HEAD + (28).to_bytes(2, "big")
        body += b"".join(min(word, 0xFFFF).to_bytes(2, "big") for word in (*standard, *outside, *counts))
        body += b"\x97\x00"  # version and error code of a healthy sensor
        return body + sum(body).to_bytes(2, "big")


def _answer(command: int, argument: int) -> bytes:
    body = _HEAD + bytes((0x00, 0x04, command, argument))
    return body + sum(body).to_bytes(2, "big")
