"""The rules on the node say what a reference in floating point says of the same series, within rounding.

The node's half runs on MicroPython; the reference is the gateway's definition of each rule, written down anew.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from drivers.link.schema import QUANTITIES
from tests.peers.micropython import check_micropython

BASE = {"bearer": "lora", "sensors": ["bme280", {"kind": "water", "points": [[500000, 0], [2500000, 5000]]}]}
Series = list[tuple[int, dict[str, int]]]


def value(quantity: str, mantissa: int) -> float:
    return mantissa * 10.0 ** QUANTITIES[quantity][1]


def climate_and_water(seed: int, *, count: int, step_ms: int) -> Series:
    """A walk with jumps, stretches of calm, missing sensors and a sampler that comes late."""
    dice = random.Random(seed)
    at_ms, series = 0, []
    calm = {"temperature": 2000, "humidity": 5000, "pressure": 101_325, "water_level": 300}
    now = dict(calm)
    for _ in range(count):
        at_ms += step_ms if dice.random() < 0.97 else step_ms * dice.randrange(2, 40)
        for quantity in now:
            if dice.random() < 0.4:
                now[quantity] += round(dice.gauss((calm[quantity] - now[quantity]) / 50, 6))
            if dice.random() < 0.01:
                now[quantity] += dice.choice((-400, 400))
        kept = {name: mantissa for name, mantissa in now.items() if dice.random() > 0.02}
        series.append((at_ms, kept))
    return series


def of_the_node(tmp_path: Path, config: dict[str, Any], series: Series) -> dict[str, Any]:
    case = tmp_path / "case.jsonl"
    case.write_text(json.dumps({"config": config, "series": series}) + "\n")
    script = f"from tests.firmware.windowed_checks import run\nrun({str(case)!r})"
    return json.loads(check_micropython(script, heapsize="64m", timeout_s=110))


def windows_of(series: Series, quantity: str, length_s: int) -> dict[int, numpy.ndarray]:
    """Values by end of the window; the last one is not over yet."""
    found: dict[int, list[float]] = {}
    for at_ms, mantissas in series:
        if quantity in mantissas:
            end_s = ((at_ms + 500) // 1000 // length_s + 1) * length_s
            found.setdefault(end_s, []).append(value(quantity, mantissas[quantity]))
    last_s = (series[-1][0] + 500) // 1000
    return {end_s: numpy.array(values) for end_s, values in found.items() if end_s <= last_s}


@pytest.mark.parametrize("seed, step_ms, length_s", [(1, 100, 10), (2, 1000, 60), (3, 250, 7)])
def test_windows_are_those_of_numpy(tmp_path: Path, seed: int, step_ms: int, length_s: int) -> None:
    series = climate_and_water(seed, count=3000, step_ms=step_ms)
    quantities = ["temperature", "humidity", "pressure", "water_level"]
    config = {**BASE, "rules": {"windows": [{"quantities": quantities, "length_s": length_s}]}}
    told: dict[tuple[int, str], dict[str, float]] = {}
    for end_s, readings in of_the_node(tmp_path, config, series)["windows"]:
        found = {name: mantissa * 10.0**exponent for name, _, exponent, mantissa in readings}
        if "held_back" in found:
            continue
        assert found.pop("window") == length_s
        for name, figure in found.items():
            quantity, stat = name.split("/")
            told.setdefault((end_s, quantity), {})[stat] = figure
    expected = {
        (end_s, name): values for name in quantities for end_s, values in windows_of(series, name, length_s).items()
    }
    assert told.keys() == expected.keys()
    assert len(told) > 100
    for (end_s, quantity), values in expected.items():
        stats, resolution = told[end_s, quantity], 10.0 ** QUANTITIES[quantity][1]
        assert stats["count"] == len(values)
        assert stats["mean"] == pytest.approx(values.mean(), abs=0.0501 * resolution)  # in tenths of the resolution
        for stat, figure in (("min", values.min()), ("max", values.max()), ("last", values[-1])):
            assert stats[stat] == pytest.approx(figure, abs=1e-6 * resolution)


def due(series: Series, policies: dict[str, dict[str, Any]]) -> Iterator[int]:
    """When a report of a sample goes on, by the gateway's words."""
    sent: dict[str, tuple[float, int]] = {}
    for at_ms, mantissas in series:
        time_s, is_due = (at_ms + 500) // 1000, False
        for quantity, mantissa in mantissas.items():
            policy = policies.get(quantity)
            if policy is None or quantity not in sent:
                is_due = True
                continue
            last, last_s = sent[quantity]
            moved = abs(value(quantity, mantissa) - last)
            is_due |= time_s - last_s >= policy.get("heartbeat_s", 3600)
            is_due |= moved > policy.get("dead_band", float("inf")) + 1e-9
            is_due |= moved > abs(last) * policy.get("dead_band_pct", float("inf")) / 100 + 1e-9
            is_due |= policy.get("on_change", False) and moved > 1e-9
        if is_due:
            sent |= {name: (value(name, mantissas[name]), time_s) for name in mantissas if name in policies}
            yield at_ms


POLICIES = [
    {"temperature": {"dead_band": 0.2}, "humidity": {"dead_band_pct": 2.5}, "pressure": {"dead_band": 40}},
    {"temperature": {"on_change": True}, "humidity": {"heartbeat_s": 120}, "pressure": {"heartbeat_s": 30}},
    {"temperature": {"dead_band": 0.055}, "humidity": {"dead_band": 0.5, "dead_band_pct": 0.4}, "pressure": {}},
]


@pytest.mark.parametrize("policies", POLICIES)
def test_reports_go_as_the_gateway_would_let_them(tmp_path: Path, policies: dict[str, dict[str, Any]]) -> None:
    series = [
        (at_ms, {name: mantissa for name, mantissa in kept.items() if name != "water_level"})
        for at_ms, kept in climate_and_water(4, count=3000, step_ms=1000)
    ]
    series = [(at_ms, kept) for at_ms, kept in series if kept]
    exceptions = [{"quantities": [name], **policy} for name, policy in policies.items()]
    told = of_the_node(tmp_path, {**BASE, "rules": {"exceptions": exceptions, "held_back_s": 600}}, series)
    assert told["reports"] == list(due(series, policies))
    assert 0 < len(told["reports"]) < len(series)
    held = sum(readings[1][3] for _, readings in told["windows"])
    last_told_s = max(end_s for end_s, _ in told["windows"])
    of_their_time = [at_ms for at_ms, _ in series if (at_ms + 500) // 1000 < last_told_s]
    # Told at the first sample after the hour, before it is judged: what was held back until then.
    assert held == len(of_their_time) - sum(at_ms <= of_their_time[-1] for at_ms in told["reports"])


def steps(series: Series, quantity: str, rule: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Raised and cleared, by the gateway's words; hold times by the times of readings."""
    is_raised, since_ms, before = False, None, None
    sign = 1 if "above" in rule or "rate_above" in rule else -1
    is_rate = "rate_above" in rule or "rate_below" in rule
    limit = sign * next(rule[key] for key in ("above", "below", "rate_above", "rate_below") if key in rule)
    clear = sign * rule.get("clear", sign * limit)
    for at_ms, mantissas in series:
        if quantity not in mantissas:
            continue
        now = value(quantity, mantissas[quantity])
        last, before = before, (now, at_ms)
        if is_rate and last is None:
            continue
        figure = sign * ((now - last[0]) / (at_ms - last[1]) * 1000 if is_rate else now)
        if figure > limit + 1e-9:
            since_ms = at_ms if since_ms is None else since_ms
            if not is_raised and at_ms - since_ms >= rule.get("hold_s", 0) * 1000:
                is_raised = True
                yield at_ms, "raised"
            continue
        since_ms = None
        if is_raised and figure <= clear + 1e-9:
            is_raised = False
            yield at_ms, "cleared"


@pytest.mark.parametrize(
    "quantity, rule",
    [
        ("water_level", {"above": 0.5, "clear": 0.4}),
        ("water_level", {"above": 0.5, "clear": 0.4, "hold_s": 5}),
        ("temperature", {"below": 18.5, "clear": 19, "hold_s": 30}),
        ("water_level", {"rate_above": 0.3}),
        ("water_level", {"rate_below": -0.01, "clear": -0.005}),
        ("pressure", {"rate_above": 2.5, "clear": 1, "hold_s": 1}),
    ],
)
def test_alarms_are_raised_and_cleared_as_the_gateway_would(
    tmp_path: Path, quantity: str, rule: dict[str, Any]
) -> None:
    series = climate_and_water(9, count=3000, step_ms=500)
    alarms = [{"quantity": quantity, **rule}, {"quantity": "battery", "below": 3, "hold_s": 1}]
    told = of_the_node(tmp_path, {**BASE, "rules": {}, "alarms": alarms}, series)["alarms"]
    expected = [list(step) for step in steps(series, quantity, rule)]
    assert told == expected
    assert len(expected) >= 2
