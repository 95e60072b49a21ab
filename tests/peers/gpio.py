"""gpiozero with its own pins without hardware (gpiozero.pins.mock), for this process or for one that we start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

ENVIRONMENT = {"GPIOZERO_PIN_FACTORY": "mock"}


def mock_pins() -> Iterator[Any]:
    """A fixture's body: yields the factory; a pin's state is factory.pin(number).state."""
    try:
        from gpiozero import Device
        from gpiozero.pins.mock import MockFactory
    except ImportError:
        message = "gpiozero is missing: pip install gpiozero; outputs are NOT tested"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    Device.pin_factory = MockFactory()
    yield Device.pin_factory
    Device.pin_factory.close()
    Device.pin_factory = None
