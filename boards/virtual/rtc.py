"""The real-time clock of the ESP32 and the 2048 bytes beside it: they outlive resets and deep sleep, no power cut."""

from boards.virtual.clock import Clock

MEMORY_LEN = 2048


class Rtc:
    """Counts from 2000-01-01 00:00:00 at power-on until it is set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._zero_us = clock.now_us()
        self.memory = b""

    def lose_power(self) -> None:
        self._zero_us = self._clock.now_us()
        self.memory = b""

    def get_us(self) -> int:
        """Microseconds since 2000."""
        return self._clock.now_us() - self._zero_us

    def set_us(self, us: int) -> None:
        self._zero_us = self._clock.now_us() - us


class Watchdog:
    """Barks once, unless fed within its time; once started it is ended by a hard reset only, as on the ESP32."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timeout_us = 0
        self._due_us: int | None = None

    def start(self, timeout_ms: int) -> None:
        self._timeout_us = timeout_ms * 1000
        self.feed()

    def feed(self) -> None:
        if self._timeout_us:
            self._due_us = self._clock.now_us() + self._timeout_us

    def stop(self) -> None:
        self._timeout_us, self._due_us = 0, None

    def remaining_us(self) -> int | None:
        """Until it barks; 0 or less: it does. None: it was not started."""
        return None if self._due_us is None else self._due_us - self._clock.now_us()
