"""The gateway's own sensors: the drivers of the nodes, on a bus of this machine. Records carry the gateway's id."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from drivers.bus import linux
from drivers.bus.remote import RemoteBoard
from drivers.link.schema import QUANTITIES
from drivers.sensor.bme280 import BME280
from drivers.sensor.errors import SensorError
from drivers.sensor.pms5003 import PMS5003
from gateway.config import SensorConfig
from gateway.reading import Reading
from gateway.store_errors import StoreError

log = logging.getLogger(__name__)

_QUANTITIES = {"bme280": ("temperature", "humidity", "pressure"), "pms5003": ("pm1", "pm2_5", "pm10")}
_BME280_ADDR = 0x76


class OwnRecords(Protocol):
    """The intake's side of a reading of ours."""

    async def submit_own(self, readings: Sequence[Reading]) -> str: ...


class GatewaySensor:
    """One sensor, read every period_s. One that is absent is tried again at the next."""

    def __init__(self, config: SensorConfig, intake: OwnRecords, *, count: Callable[[str, int], None]) -> None:
        self._config = config
        self._intake = intake
        self._count = count
        self._state, self._detail = "starting", ""

    async def run(self) -> None:
        """Serve until cancelled."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        driver: Any = None
        while True:
            try:
                driver = driver or open_driver(self._config)
                await self._measure(driver)
            except (SensorError, linux.BusError, OSError) as error:
                driver = None
                self._enter("missing", getattr(error, "strerror", None) or str(error))
                self._count("sensor_failures", 1)
            due_s = max(due_s + self._config.period_s, loop.time())
            await asyncio.sleep(due_s - loop.time())

    def status(self) -> dict[str, object]:
        """For `gateway status`."""
        return {"kind": self._config.kind, "bus": self._config.bus, "state": self._state, "detail": self._detail}

    async def _measure(self, driver: Any) -> None:
        mantissas = await driver.measure()
        self._enter("measuring", "")
        try:
            await self._intake.submit_own(readings(_QUANTITIES[self._config.kind], mantissas))
        except StoreError as error:
            self._count("sensor_readings_lost", 1)  # nobody holds it for us; counted, as the disk cannot say so
            log.warning("a reading of %s is lost: %s", self._config.kind, error)

    def _enter(self, state: str, detail: str) -> None:
        if (state, detail) != (self._state, self._detail):
            level = logging.INFO if state == "measuring" else logging.WARNING
            log.log(level, "%s on %s is %s%s", self._config.kind, self._config.bus, state, detail and f": {detail}")
        self._state, self._detail = state, detail


def readings(quantities: Sequence[str], mantissas: Sequence[int]) -> list[Reading]:
    """Driver integers as readings in SenML's units. Source: docs/protocol.md, "Schemas and quantities"."""
    made = []
    for quantity, mantissa in zip(quantities, mantissas, strict=True):
        unit, exponent = QUANTITIES[quantity]
        value = mantissa * 10**exponent if exponent >= 0 else mantissa / 10**-exponent
        made.append(Reading(quantity=quantity, value=value, unit=unit))
    return made


def open_driver(config: SensorConfig) -> Any:
    """The driver on its bus. Raises OSError or linux.BusError, with the next step."""
    way, _, where = config.bus.partition(":")
    if way == "virtual":
        remote = RemoteBoard(where)
        bus = remote.I2C(0) if config.kind == "bme280" else remote.UART(1, 9_600)
    else:
        bus = linux.I2C(int(where)) if way == "i2c" else linux.UART(where, 9_600)
    return BME280(bus, addr=config.addr or _BME280_ADDR) if config.kind == "bme280" else PMS5003(bus)
