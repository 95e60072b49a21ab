"""Rules on the node: python -m tools.bench_alarm [--floods N] [--sample-ms MS]

First the same weather told sample by sample and by rules: bytes and airtime of each, through the node's own code on
MicroPython. Then from the water to the city: a virtual node measures many times a second and decides by itself; the
water rises above its limit N times, and the time from that moment to the alarm's arrival at the city's broker is
printed, by LoRa and through the gateway as it ships.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from boards import data
from boards.virtual.street import Street
from boards.virtual.weather import Event, Weather
from drivers.radio.lora import Channel
from gateway.endpoint import parse_endpoint
from lamppost.broker import Broker
from lamppost.demo.arrivals import Arrivals
from lamppost.demo.gateway_process import GatewayProcess
from lamppost.demo.subscriber import subscribe
from provisioning.enrol import enrol
from provisioning.provision import files_for
from tests.peers.micropython import check_micropython

NODE, SEED = "pole-1", 7
WATER = {"kind": "water", "points": [[500_000, 0], [2_500_000, 5_000]]}
CLIMATE = ["temperature", "humidity", "pressure"]
BASE = {"bearer": "lora", "sensors": ["bme280", WATER]}
WINDOWS = [{"quantities": [*CLIMATE, "water_level"], "length_s": 600}]
CASES: dict[str, dict[str, Any]] = {
    "each sample, one in 5 s": {**BASE, "sample_s": 5, "report_s": 30},
    "each sample, one a minute": {**BASE, "sample_s": 60, "report_s": 300},
    "by rules, sampled each second": {**BASE, "sample_s": 1, "report_s": 600, "rules": {"windows": WINDOWS}},
}
LIMIT_M, CLEAR_M, FLOOD_M = 1.5, 1.2, 2.0  # the weather alone stays below 0.8 m
HOLD_S, PERIOD_S = 3.0, 11.0
START_S = 45.0  # for a busy machine to boot a node
PATIENCE_S = 60.0
TOLERANCE_S = 2.0
GATEWAY_TOML = """\
[gateway]
id = "gw-bench"
site = "bench"
data_dir = "{data_dir}"

[southbound.lora]
device = "virtual:{radio}"

[[city]]
kind = "mqtt"
url = "{city}"
topic = "city/{{site}}/{{node}}/senml"

[edge]
window_s = 0
"""


def weather_of(*, seconds: int) -> list[dict[str, int]]:
    """Wire integers of one sample a second, from the street's weather."""
    weather, series = Weather(SEED, NODE), []
    for second in range(seconds):
        now = weather.at(1.8e9 + second)
        level_mm = round(now.water_level_m * 1000)
        climate = (round(now.temperature_c * 100), round(now.humidity_pct * 100), round(now.pressure_pa))
        series.append({**dict(zip(CLIMATE, climate, strict=True)), "water_level": level_mm})
    return series


def aired(folder: Path, config: dict[str, Any], series: Sequence[dict[str, int]]) -> dict[str, Any]:
    """{"frames": length of each, "reports": how many} of a node under this configuration."""
    case = folder / "case.json"
    case.write_text(json.dumps({"config": config, "series": series}))
    script = f"from tests.firmware.aired import run\nrun({str(case)!r})"
    found: dict[str, Any] = json.loads(check_micropython(script, heapsize="64m", timeout_s=110).splitlines()[-1])
    return found


def print_airtime(folder: Path) -> None:
    """The table of what each case costs in an hour."""
    series = weather_of(seconds=3600)
    row = "{:<32}{:>9}{:>8}{:>10}{:>14}{:>14}"
    print(row.format("an hour of one weather", "reports", "frames", "bytes", "airtime SF7", "airtime SF9"))
    for name, config in CASES.items():
        told = aired(folder, config, series)
        lengths = told["frames"]
        spent = [sum(Channel(868_100_000, sf, 125_000, 1, 14).airtime_us(n) for n in lengths) / 1e6 for sf in (7, 9)]
        print(row.format(name, told["reports"], len(lengths), sum(lengths), *(f"{one:.2f} s" for one in spent)))


class Floods:
    """When the water rose, and when the city heard of it."""

    def __init__(self, count: int) -> None:
        first_s = time.time() + START_S
        # At odd moments, so that no phase of sampler or reporter is favoured.
        self.starts_s = [first_s + PERIOD_S * at + 0.377 * (at % 7) for at in range(count)]
        self.latencies_s: dict[int, float] = {}
        self.is_heard = asyncio.Event()
        self._arrivals = Arrivals("gw-bench")
        self.changed = asyncio.Event()

    def events(self) -> list[Event]:
        return [
            Event(quantity="water_level_m", amount=FLOOD_M, start_s=at_s, rise_s=0, hold_s=HOLD_S, fall_s=0)
            for at_s in self.starts_s
        ]

    def take(self, payload: bytes, properties: list[tuple[str, str]]) -> None:
        """Note what arrived at the city: the first level above the limit of a flood is its alarm."""
        now_s = time.time()
        self.is_heard.set()
        for record in self._arrivals.add(payload, properties):
            for one in record.measurements:
                if one.name.endswith("_water_level") and isinstance(one.value, int | float) and one.value > LIMIT_M:
                    self._note(one.time_s, now_s)

    def _note(self, measured_at_s: float, now_s: float) -> None:
        """An alarm belongs to the flood it was measured in, however late it comes; its time is in whole seconds."""
        at = max(
            (at for at, start_s in enumerate(self.starts_s) if start_s <= measured_at_s + TOLERANCE_S), default=None
        )
        if at is not None and at not in self.latencies_s:
            self.latencies_s[at] = now_s - self.starts_s[at]
            self.changed.set()

    async def wait(self) -> None:
        """Until all have been heard of, or the last one is too long ago."""
        while len(self.latencies_s) < len(self.starts_s):
            left_s = self.starts_s[-1] + PATIENCE_S - time.time()
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(left_s, 0)):
                    await self.changed.wait()
            if left_s <= 0:
                return


def flood_config(sample_ms: int) -> dict[str, Any]:
    """A node that samples fast, tells a window a minute and each 20 cm, and raises an alarm at the limit."""
    windows = [{"quantities": ["water_level"], "length_s": 60}]
    exceptions = [{"quantities": ["water_level"], "dead_band": 0.2, "heartbeat_s": 600}]
    return {
        "bearer": "lora",
        "sensors": [WATER],
        "report_s": 60,
        "retry_s": 2,
        "repl_window_s": 1,
        "rules": {"sample_ms": sample_ms, "windows": windows, "exceptions": exceptions},
        "alarms": [{"quantity": "water_level", "above": LIMIT_M, "clear": CLEAR_M}],
    }


async def flood(folder: Path, count: int, sample_ms: int) -> Floods:
    """Let the water rise `count` times, and hear of it at the city."""
    data_dir = folder / "gateway"
    with Broker() as broker, Street(folder / "boards", seed=SEED) as street:
        toml = folder / "gateway.toml"
        toml.write_text(GATEWAY_TOML.format(data_dir=data_dir, radio=street.gateway_radio_path, city=broker.url))
        enrolment = enrol(data_dir, alias=NODE)
        gateway = GatewayProcess(toml, data_dir, folder / "gateway.log")
        await gateway.start()
        try:
            floods = Floods(count)
            board = street.add_node(NODE, events=floods.events())
            board.write_files(files_for(board=data.load("heltec_v3"), config=flood_config(sample_ms)))
            board.set_nvs("lamppost", enrolment.nvs())
            async with subscribe(parse_endpoint("broker", broker.url), "city/#", floods.take):
                await asyncio.to_thread(board.power_on)
                await floods.wait()
            if len(floods.latencies_s) < count:
                print(f"the node said:\n{board.console()}\nand the gateway's log ends with")
                print("\n".join((folder / "gateway.log").read_text().splitlines()[-20:]))
        finally:
            await gateway.stop()
    return floods


def main(floods: int, sample_ms: int) -> int:
    """Print both tables; 1 if an alarm never came."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print_airtime(folder)
        found = asyncio.run(flood(folder, floods, sample_ms))
    heard = sorted(found.latencies_s.values())
    print(f"\nwater above the limit -> alarm at the city's broker, by LoRa SF7, sampled every {sample_ms} ms:")
    if heard:
        p50, p99 = numpy.percentile(heard, [50, 99])
        print(f"{len(heard)} of {floods} alarms; p50 {p50:.2f} s, p99 {p99:.2f} s, longest {heard[-1]:.2f} s")
    missed = floods - len(heard)
    if missed:
        print(f"{missed} alarms did not come")
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--floods", type=int, default=20, help="how often the water rises (default 20)")
    parser.add_argument("--sample-ms", type=int, default=200, help="how often it is measured (default 200)")
    arguments = parser.parse_args()
    raise SystemExit(main(arguments.floods, arguments.sample_ms))
