"""The gateway's own sensors: the nodes' drivers on chip models, with the weather as the expected value."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from boards.virtual.street import GATEWAY, Street
from gateway.config import SensorConfig
from gateway.core import Core
from gateway.reading import Report
from gateway.southbound.sensor import GatewaySensor, readings
from gateway.start import open_core

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize(
    "quantities, mantissas, values",
    [
        (
            ("temperature", "humidity", "pressure"),
            (2_154, 4_520, 101_325),
            [(21.54, "Cel"), (45.2, "%RH"), (101_325, "Pa")],
        ),
        (("pm1", "pm2_5", "pm10"), (5, 12, 30), [(5e-9, "kg/m3"), (12e-9, "kg/m3"), (30e-9, "kg/m3")]),
        (("temperature",), (-5,), [(-0.05, "Cel")]),
    ],
)
def test_driver_integers_become_senml_values(quantities, mantissas, values) -> None:
    """Units from RFC 8428 section 12.1; kg/m3 from RFC 8798."""
    assert [(one.value, one.unit) for one in readings(quantities, mantissas)] == values


async def stored_by(core: Core, config: SensorConfig) -> Report:
    """What the outbox holds after one reading."""
    sensor = GatewaySensor(config, core.intake, count=core.counters.add)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(core.run()), tasks.create_task(sensor.run())]
        batch = await core.outbox.oldest("city", 1)
        for task in running:
            task.cancel()
    return batch.records[0].report


@pytest.mark.parametrize(
    "kind, quantity, fact, tolerance",
    [("bme280", "temperature", "temperature_c", 0.02), ("pms5003", "pm2_5", "pm2_5", 2.0)],
)
async def test_sensor_on_the_gateways_bus_measures_the_weather_under_its_id(
    street: Street, tmp_path: Path, kind: str, quantity: str, fact: str, tolerance: float
) -> None:
    config = SensorConfig(kind=kind, bus=f"virtual:{street.gateway_radio_path}")
    async with open_core(data_dir=tmp_path / "data", gateway_id="gw-1", cities=["city"]) as core:
        report = await stored_by(core, config)
    reading = next(one for one in report.readings if one.quantity == quantity)
    scale = 1e9 if reading.unit == "kg/m3" else 1
    expected = getattr(street.weather(GATEWAY).at(report.measured_at_s), fact)
    assert float(reading.value) * scale == pytest.approx(expected, abs=tolerance)  # type: ignore[arg-type]
    assert report.node == "gw-1"


async def test_absent_sensor_is_a_state_with_the_next_step(tmp_path: Path) -> None:
    config = SensorConfig(kind="bme280", bus=f"virtual:{tmp_path}/none.sock")
    async with open_core(data_dir=tmp_path / "data", gateway_id="gw-1", cities=["city"]) as core:
        sensor = GatewaySensor(config, core.intake, count=core.counters.add)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(sensor.run())
            async with asyncio.timeout(5):
                while sensor.status()["state"] != "missing":
                    await asyncio.sleep(0.01)
            running.cancel()
    assert "start it first" in str(sensor.status()["detail"])
