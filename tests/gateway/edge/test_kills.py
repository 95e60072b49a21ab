"""Killed at any point, begun again from the last checkpoint and the log: the same records as an uninterrupted run."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from gateway.config_alarm import RuleConfig
from gateway.config_edge import GroupConfig, PrivacyConfig, ReportConfig, WindowConfig
from gateway.edge import engine
from gateway.edge.basis import Recent
from gateway.reading import Report
from tests.gateway.edge.machine import Commit, Machine, alarms, measured, windows

ALL = ("count", "mean", "min", "max", "std", "last", "time_mean", "rate")
SETTINGS = {
    "groups": (
        GroupConfig(name="park", nodes=("a", "b")),
        GroupConfig(name="north", kind="zone", nodes=("b", "c")),
    ),
    "window_s": 60,
    "withheld_every_s": 60,
    "window": (
        WindowConfig(name="full", length_s=30, stats=ALL, quantiles=(0.5, 0.9), lateness_s=300),
        WindowConfig(name="slide", kind="sliding", length_s=60, slide_s=20, stats=ALL, quantiles=(0.5,)),
        WindowConfig(name="visit", kind="session", gap_s=25, stats=("count", "last", "time_mean")),
        WindowConfig(name="park", length_s=60, by="group", quantities=("t*",), lateness_s=0),
        WindowConfig(name="zones", length_s=90, by="zone", nodes=("zone:*",), delay_s=0),
    ),
    "report": (
        ReportConfig(quantities=("t",), dead_band=4.0, heartbeat_s=200),
        ReportConfig(quantities=("u",), on_change=True, heartbeat_s=500),
    ),
    "privacy": (PrivacyConfig(quantities=("u",), nodes=("c",), action="local"),),
    "rule": (
        RuleConfig(name="hot", kind="threshold", quantity="t", above=12.0, hysteresis=3.0),
        RuleConfig(name="held", kind="threshold", quantity="t", above=10.0, hold_s=20, latching=True),
        RuleConfig(name="fast", kind="rate", quantity="t", above=0.8, below=-0.8),
        RuleConfig(name="quiet", kind="silent", for_s=45),
        RuleConfig(name="stuck", kind="stuck", quantity="u", for_s=40),
        RuleConfig(name="jump", kind="jump", quantity="t", step=9.0),
        RuleConfig(name="both", kind="expression", expression="hot && u > 1.0 || quiet", hold_s=5),
    ),
}
FED = {name: value for name, value in SETTINGS.items() if name not in ("report", "privacy")}  # every reading is logged
BOTH = pytest.mark.parametrize("settings", [SETTINGS, FED], ids=["rows_in_each_commit", "windows_fed_again"])


def run(seed: int, disturb: Callable[[Machine], None], settings: dict[str, object] = SETTINGS) -> Machine:
    """The same history for the same seed, with `disturb` called after every step."""
    chance = random.Random(seed)
    machine = Machine(**settings)
    level = dict.fromkeys("abc", 8.0)
    for seq in range(250):
        machine.now_s += chance.choice((0.0, 0.5, 1.0, 3.0, 12.0))
        what = chance.random()
        if what < 0.7:
            node = chance.choice("aabbc")
            level[node] += chance.gauss(0, 2.5)
            late_s = chance.choice((0, 0, 0, 1, 15, 40, 400))
            machine.add(measured(node, machine.now_s - late_s, seq, t=level[node], u=seq // 40))
        elif what < 0.95:
            machine.tick()
        elif what < 0.98:
            machine.acknowledge("held", chance.choice("abc"))
        else:
            machine.move(chance.choice("abc"))
        disturb(machine)
    for late_s in (80, 1000):  # less than the pause that Pulse knows, and the half minute that it may forget
        machine.tick(machine.now_s + late_s)
    return machine


def checks(seeds: int, settings: dict[str, object]) -> None:
    for seed in range(seeds):
        whole = run(seed, lambda machine: None, settings)
        chance = random.Random(seed + 1)

        def disturb(machine: Machine, chance: random.Random = chance) -> None:
            if chance.random() < 0.1:
                machine.checkpoint()
            if chance.random() < 0.1:
                machine.fail(measured(chance.choice("abc"), machine.now_s, t=99.0, u=1))
            if chance.random() < 0.1:
                machine.kill()

        killed = run(seed, disturb, settings)
        must_be_same(killed.produced, whole.produced, seed)
        must_be_same(killed.forwarded, whole.forwarded, seed)
        assert killed.withheld == whole.withheld
        assert (whole.withheld > 0) is ("report" in settings)
        kinds = {one.kind for one in whole.produced}
        assert kinds == {"window", "alarm", "gap"} - ({"gap"} if settings is FED else set())
        assert len(whole.produced) > 80


def must_be_same(found: Sequence[Report], expected: Sequence[Report], seed: int) -> None:
    """Fails without the difference that pytest makes of two such lists, which takes minutes where there is one."""
    if found != expected:
        pairs = enumerate(zip(found, expected, strict=False))
        at = next((at for at, (one, other) in pairs if one != other), min(len(found), len(expected)))
        raise AssertionError(f"seed {seed}, record {at}: {found[at : at + 1]} instead of {expected[at : at + 1]}")


@BOTH
def test_kills_between_commits_change_no_record(settings: dict[str, object]) -> None:
    checks(2, settings)


@pytest.mark.soak
@pytest.mark.timeout(600)
@BOTH
def test_kills_between_commits_change_no_record_in_many_histories(settings: dict[str, object]) -> None:
    checks(200, settings)


def not_fed(patch: pytest.MonkeyPatch) -> None:
    """A start takes the windows as the checkpoint has them."""
    patch.setattr(engine.basis, "catch_up", lambda *_: None)


def fed_own_records_only(patch: pytest.MonkeyPatch) -> None:
    """A start knows which windows were told, not what came."""
    whole = engine.basis.catch_up
    patch.setattr(engine.basis, "catch_up", lambda tx, basis, groups, recent: whole(tx, basis, groups, _own_of(recent)))


def _own_of(recent: Iterable[Recent]) -> Iterator[Recent]:
    return (one for one in recent if one.is_produced)


def fed_twice(patch: pytest.MonkeyPatch) -> None:
    """What is in each commit is fed again as well: it counts twice."""
    patch.setattr(Commit, "unlogged", property(lambda self: self))


@pytest.mark.parametrize("mutant", [not_fed, fed_own_records_only, fed_twice], ids=lambda one: one.__name__)
def test_a_start_that_feeds_wrongly_is_noticed(
    monkeypatch: pytest.MonkeyPatch, mutant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        checks(2, FED)


@pytest.mark.parametrize("seed", [1])
def test_other_settings_at_any_moment_lose_no_reading(seed: int) -> None:
    """Windows whose rows are in each commit begin to be fed, and the other way round; a kill may come between."""
    chance = random.Random(seed)

    def disturb(machine: Machine) -> None:
        if chance.random() < 0.05:
            held_back = {"report": (ReportConfig(quantities=("none",), on_change=True, heartbeat_s=9),)}
            now = {**FED, **(held_back if chance.random() < 0.5 else {})}
            machine.reconfigure(**now)
        if chance.random() < 0.2:
            machine.kill()

    changed = run(seed, disturb, FED)
    assert changed.produced == run(seed, lambda machine: None, FED).produced


def test_a_memory_that_is_too_small_changes_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(5, lambda machine: None)
    for room in (0, 100):
        monkeypatch.setattr(engine, "_CACHED", room)
        assert run(5, Machine.commit).produced == whole.produced


@BOTH
def test_own_records_that_were_torn_off_the_log_are_made_again(settings: dict[str, object]) -> None:
    whole = run(1, lambda machine: None, settings)
    chance = random.Random(1)
    torn = []

    def disturb(machine: Machine) -> None:
        if chance.random() < 0.1:
            machine.checkpoint()
        before = len(machine.produced)
        if chance.random() < 0.3:
            machine.kill(torn=chance.choice((1, 2, 9)))
        torn.append(before - len(machine.produced))

    killed = run(1, disturb, settings)
    assert sum(torn) > 3
    last, expected = windows(killed.produced), windows(whole.produced)
    assert set(last) == set(expected)
    for key, values in expected.items():
        assert {**last[key], "revision": 0} == {**values, "revision": 0}
    made = [step for step in alarms(killed.produced) if step[0] in ("hot", "jump", "fast", "stuck")]
    wanted = [step for step in alarms(whole.produced) if step[0] in ("hot", "jump", "fast", "stuck")]
    assert sorted(made) == sorted(wanted)


def test_the_history_is_one_that_shows_everything() -> None:
    """So that the tests above can fail."""
    seen: set[str] = set()
    steps = set()
    for seed in range(4):
        machine = run(seed, lambda machine: None)
        seen |= {name for values in windows(machine.produced).values() for name in values}
        seen |= set(machine.counters.snapshot())
        steps |= {(rule, state) for rule, _, state in alarms(machine.produced)}
    assert {"revision", "partial", "withdrawn", "t/p90", "t/time_mean", "edge_too_late"} <= seen
    raised = {rule for rule, state in steps if state == "raised"}
    assert raised == {rule.name for rule in SETTINGS["rule"]}  # type: ignore[attr-defined]
    assert ("held", "acknowledged") in steps
