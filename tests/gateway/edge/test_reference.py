"""Windows against numpy: shuffled, late and repeated readings; quantiles within the error that the sketch promises."""

import numpy as np
import pytest

from gateway.config_edge import WindowConfig
from gateway.edge.tally import RANK_ERROR
from tests.gateway.edge.machine import START_S, Machine, measured, windows

LENGTH_S, SLIDE_S, LATENESS_S, GAP_S = 300, 100, 450, 3  # at most 512 readings in a window: so time_mean is exact
ALL = ("count", "mean", "min", "max", "std", "last", "time_mean", "rate")
QUANTILES = (0.01, 0.25, 0.5, 0.9, 0.99)
NODES = 4


def history(count, seed):
    """Event times in seconds, values, and which node: shuffled over some minutes, some very late, some twice."""
    chance = np.random.default_rng(seed)
    at_s = START_S + np.sort(np.round(chance.uniform(0, count * 0.7 / NODES, count), 3))
    came_s = at_s + chance.exponential(60, count) + np.where(chance.random(count) < 0.02, 3 * LENGTH_S, 0)
    order = np.argsort(came_s, kind="stable")
    values = chance.normal(15, 8, count) + 10 * np.sin(at_s / 5000)
    nodes = chance.integers(0, NODES, count)
    return at_s[order], came_s[order], values[order], nodes[order]


def accepted(at_s, length_s, lateness_s):
    """Which of one series are not too late, by the definition: the newest time so far decides."""
    watermark = np.maximum.accumulate(at_s)
    ends = at_s // length_s * length_s + length_s
    return ends + lateness_s >= watermark


def check_values(told, at_s, values, end_s, rank_error):
    """One window's record against its readings, in order of arrival."""
    order = np.argsort(at_s, kind="stable")
    at, held = at_s[order], values[order]
    assert told["x/count"] == len(values)
    assert told["x/mean"] == pytest.approx(np.mean(values))
    assert (told["x/min"], told["x/max"], told["x/last"]) == (values.min(), values.max(), held[-1])
    if len(values) > 1:
        assert told["x/std"] == pytest.approx(np.std(values, ddof=1))
    spans = np.diff(np.append(at, end_s))
    if spans.sum() > 0:
        assert told["x/time_mean"] == pytest.approx(np.sum(held * spans) / spans.sum(), rel=1e-9)
    if at[-1] > at[0]:
        assert told["x/rate"] == pytest.approx((held[-1] - held[0]) / (at[-1] - at[0]))
    ranked = np.sort(values)
    for q in QUANTILES:
        value = told[f"x/p{q * 100:g}"]
        low, high = np.searchsorted(ranked, value, "left"), np.searchsorted(ranked, value, "right")
        step = 1 / len(ranked)  # between two neighbours any value is right
        assert low / len(ranked) - rank_error - step <= q <= high / len(ranked) + rank_error + step


def run(count, seed, config):
    machine = Machine(window=(config,))
    at_s, came_s, values, nodes = history(count, seed)
    kept = []
    ticked_s = came_s[0]
    for at, came, value, node in zip(at_s.tolist(), came_s.tolist(), values.tolist(), nodes.tolist(), strict=True):
        machine.now_s = came
        machine.add(measured(f"n{node}", at, x=value))
        if came - ticked_s >= 30:
            ticked_s = came
            machine.tick()
            machine.checkpoint()
        kept.append((node, at, value))
    for _ in range(2):
        machine.tick(machine.now_s + 100_000)
    rows = np.array(kept)
    return machine, {node: rows[rows[:, 0] == node][:, 1:] for node in range(NODES)}


def check_tumbling(count, seed):
    config = WindowConfig(name="w", length_s=LENGTH_S, stats=ALL, quantiles=QUANTILES, lateness_s=LATENESS_S)
    machine, series = run(count, seed, config)
    told = windows(machine.produced)
    too_late = checked = 0
    for node, rows in series.items():
        fits = accepted(rows[:, 0], LENGTH_S, LATENESS_S)
        too_late += int((~fits).sum())
        starts = rows[:, 0] // LENGTH_S * LENGTH_S
        for start in np.unique(starts[fits]):
            mine = fits & (starts == start)
            record = told["w", f"n{node}", start]
            check_values(record, rows[mine, 0], rows[mine, 1], start + LENGTH_S, RANK_ERROR)
            checked += 1
    assert checked == len(told) > 10
    assert machine.counters["edge_too_late"] == too_late > 0
    assert any("revision" in record for record in told.values())


def check_sliding(count, seed):
    config = WindowConfig(
        name="w",
        kind="sliding",
        length_s=LENGTH_S,
        slide_s=SLIDE_S,
        stats=ALL,
        quantiles=QUANTILES,
        lateness_s=10 * LENGTH_S,
    )
    machine, series = run(count, seed, config)
    told = windows(machine.produced)
    checked = 0
    for node, rows in series.items():
        panes = rows[:, 0] // SLIDE_S * SLIDE_S
        starts = {start - back for start in np.unique(panes) for back in range(0, LENGTH_S, SLIDE_S)}
        for start in starts:
            mine = (panes >= start) & (panes < start + LENGTH_S)
            record = told["w", f"n{node}", start]
            check_values(record, rows[mine, 0], rows[mine, 1], start + LENGTH_S, RANK_ERROR)
            checked += 1
    assert checked == len(told) > 10


def check_sessions(count, seed):
    config = WindowConfig(
        name="w", kind="session", gap_s=GAP_S, stats=ALL, quantiles=QUANTILES, lateness_s=100 * LENGTH_S
    )
    machine, series = run(count, seed, config)
    told = {key: record for key, record in windows(machine.produced).items() if "withdrawn" not in record}
    checked = 0
    for node, rows in series.items():
        ordered = rows[np.argsort(rows[:, 0], kind="stable")]
        cuts = np.flatnonzero(np.diff(ordered[:, 0]) > GAP_S) + 1
        for session in np.split(ordered, cuts):
            record = told["w", f"n{node}", session[0, 0]]
            assert record["window"] == pytest.approx(session[-1, 0] - session[0, 0])
            mine = np.isin(rows[:, 0], session[:, 0])
            check_values(record, rows[mine, 0], rows[mine, 1], session[-1, 0], RANK_ERROR)
            checked += 1
    assert checked == len(told) > 3


@pytest.mark.parametrize("check", [check_tumbling, check_sliding])
def test_windows_equal_numpy(check):
    check(15_000, 1)


def test_sessions_equal_numpy():
    check_sessions(1_500, 2)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("check", [check_tumbling, check_sliding])
def test_windows_equal_numpy_on_a_million_readings(check):
    check(1_000_000, 7)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_sessions_equal_numpy_on_many_readings():
    check_sessions(20_000, 8)
