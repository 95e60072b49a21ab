"""GPIO outputs of this machine, by gpiozero. A machine without pins is a state that says so; nothing else waits for it.

An output has its safe state from the moment it is opened until it is closed. When the process is killed the kernel
lets go of the line: wire a resistor that pulls it to the safe state.
"""

from __future__ import annotations

import logging
from typing import Any

from gateway.config_edge import ActionConfig

log = logging.getLogger(__name__)


class Output:
    """One pin. `trouble`: why it cannot be used, or empty."""

    def __init__(self, config: ActionConfig) -> None:
        self.config = config
        self.trouble = ""
        self._device: Any = None
        self.is_on: bool | None = None

    @property
    def is_safe_on(self) -> bool:
        return self.config.safe == "on"

    def open(self) -> None:
        """Claim the pin, in its safe state. What goes wrong is logged and stays in `trouble`."""
        try:
            import gpiozero

            self._device = gpiozero.DigitalOutputDevice(
                self.config.pin, active_high=self.config.active_high, initial_value=self.is_safe_on
            )
        except ImportError as error:
            self._fail(f"{error.name} is not installed; pip install 'lamppost[pi]'")
        except Exception as error:  # noqa: BLE001  gpiozero's pin libraries raise what they like
            self._fail(f"{type(error).__name__}: {error}; is this a machine with pins, and may this user use them?")
        else:
            self.trouble = ""
            self.is_on = self.is_safe_on

    def set(self, is_on: bool) -> None:
        """Switch it; not being able to is logged once."""
        if self._device is None or self.is_on is is_on:
            return
        try:
            self._device.value = is_on
        except Exception as error:  # noqa: BLE001  as above
            self._fail(f"{type(error).__name__}: {error}")
        else:
            self.is_on = is_on
            log.info("output %s (GPIO%d) is %s", self.config.name, self.config.pin, "on" if is_on else "off")

    def close(self) -> None:
        """Leave it in its safe state."""
        if self._device is not None:
            self.set(self.is_safe_on)
            self._device.close()
            self._device = None

    def _fail(self, why: str) -> None:
        self._device = None
        self.trouble = f"action {self.config.name}: GPIO{self.config.pin} cannot be used ({why})"
        log.warning("%s", self.trouble)
