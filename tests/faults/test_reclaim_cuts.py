"""The power goes at every single step of a checkpoint that moves records: each is there afterwards, once, as it was.

What `reclaim` moves goes into a commit of its own, outside the store's transactions; this shows what that may cost.
"""

import copy
import errno
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.outbox.frame import Frame
from gateway.outbox.log import Log
from gateway.reading import STREAMS, Report
from gateway.vault import Vault
from tests.faults.power import Power
from tests.faults.power_disk import PowerDisk
from tests.faults.power_sqlite import PowerSqlite
from tests.gateway.outbox.stores import made

ALARM, TELEMETRY = STREAMS.index("alarm"), STREAMS.index("telemetry")
SEGMENT = 64 << 10
ALARMS, MANY = 60, 30  # and so many others after each alarm, which go, so that segments hold little


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


class Machine:
    """A store that holds alarms far apart. Copied for each cut."""

    def __init__(self, folder: Path, disk: PowerDisk, power: Power, seed: int) -> None:
        self.folder = folder
        self.power = power
        self.disk = disk
        self.sqlite = PowerSqlite(power, random.Random(seed))

    @classmethod
    def filled(cls, folder: Path) -> "Machine":
        folder.mkdir()
        power = Power()
        machine = cls(folder, PowerDisk(power, random.Random(1)), power, 1)
        with machine.running() as vault:
            vault.begin().set_cities(["city"])
            vault.commit()
            for number in range(ALARMS):
                tx = vault.begin()
                tx.put(made("a", number, kind="alarm"), ALARM, is_produced=False, now_s=number)
                for more in range(MANY):
                    one = made("t", number * MANY + more, pad=300)
                    tx.put(one, TELEMETRY, is_produced=False, now_s=number)
                vault.commit()
        return machine

    def copied(self, folder: Path, seed: int) -> "Machine":
        shutil.copytree(self.folder, folder)
        chance, power = random.Random(seed), Power()
        old = self.disk
        disk = copy.deepcopy(old, {id(old._power): power, id(old._chance): chance})
        disk._names = {name.replace(str(self.folder), str(folder)): file for name, file in disk._names.items()}
        disk._durable_names = dict(disk._names)
        return Machine(folder, disk, power, seed)

    def running(self) -> "_Running":
        return _Running(self)

    def cut(self) -> None:
        self.power.off()
        self.disk.cut()
        self.sqlite.cut()
        self.power.arm(None)


class _Running:
    """The vault, opened and closed in the machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._vault = Vault(machine.folder, machine.disk, segment_bytes=SEGMENT)

    def __enter__(self) -> Vault:
        self._installed = self._machine.sqlite.installed()
        self._installed.__enter__()
        self._vault.open()
        return self._vault

    def __exit__(self, *_exc: object) -> None:
        self._vault.close()
        self._installed.__exit__(None, None, None)


def deliver_others(vault: Vault) -> None:
    vault.begin().settle("city", TELEMETRY, "delivered", [(0, ALARMS * MANY)])
    vault.commit()


def problems(vault: Vault, alarms: range) -> Iterator[str]:
    """What is wrong if exactly these alarms wait."""
    runs = list(vault.published.gone[ALARM].missing(0, vault.published.ends[ALARM]))
    found, unreadable = vault.reader.read(ALARM, runs, most=10_000)
    if unreadable or vault.damaged:
        yield f"{unreadable} cannot be read, {vault.damaged} damaged"
    if [one.report for one in found] != [_alarm(number) for number in alarms]:
        yield f"{[one.report.seq for one in found]} wait"
    if [one.stored_at_s for one in found] != list(alarms):
        yield "the times of storing are others"
    (row,) = vault.published.audit()
    if not row.holds or row.stored != len(alarms):
        yield f"{row}"


def _alarm(number: int) -> Report:
    return made("a", number, kind="alarm")


def cut_at_each_step(filled: Machine, tmp_path: Path, *, seeds: int, fault: int = 0) -> list[str]:
    """A cut, or a step that fails with `fault`, at each step of the checkpoint. Returns what went wrong."""
    wrong: list[str] = []
    step, is_through = 0, False
    while not is_through:
        for seed in range(seeds):
            machine = filled.copied(tmp_path / f"{step}-{seed}", seed * 1000 + step)
            is_through = _cut_once(machine, step, fault, wrong)
            shutil.rmtree(machine.folder)
        step += 1
    assert step > 20, "the checkpoint moves nothing any more"
    return wrong


def _cut_once(machine: Machine, step: int, fault: int, wrong: list[str]) -> bool:
    """Returns whether the checkpoint was through before."""
    with machine.running() as vault:
        deliver_others(vault)
        machine.power.spoil({step + 1: fault}) if fault else machine.power.arm(step)
        steps = machine.power.steps
        vault._checkpoint_if_possible()
        is_through = machine.power.is_on and machine.power.steps - steps <= step
        if fault:
            machine.power.spoil({})
            wrong += [f"step {step}, going on: {one}" for one in problems(vault, range(ALARMS))]
        machine.power.off()
    machine.cut()
    with machine.running() as vault:
        wrong += [f"step {step}: {one}" for one in problems(vault, range(ALARMS))]
        vault.begin().settle("city", ALARM, "delivered", [(0, ALARMS // 2)])
        vault.commit()
        vault.checkpoint()
        wrong += [f"step {step}, later: {one}" for one in problems(vault, range(ALARMS // 2, ALARMS))]
    return is_through


def test_a_cut_at_any_step_of_moving_records_loses_none(tmp_path: Path) -> None:
    assert not cut_at_each_step(Machine.filled(tmp_path / "filled"), tmp_path, seeds=1)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_cuts_at_any_step_of_moving_records_lose_none_however_the_disk_forgets(tmp_path: Path) -> None:
    assert not cut_at_each_step(Machine.filled(tmp_path / "filled"), tmp_path, seeds=30)


@pytest.mark.parametrize("fault", [errno.EIO, errno.ENOSPC])
def test_a_failure_at_any_step_of_moving_records_loses_none(tmp_path: Path, fault: int) -> None:
    assert not cut_at_each_step(Machine.filled(tmp_path / "filled"), tmp_path, seeds=1, fault=fault)


def moved_without_a_sync(patch: pytest.MonkeyPatch) -> None:
    commit: Callable[[Log, Frame], int] = Log.commit

    def hasty(self: Log, frame: Frame) -> int:
        with pytest.MonkeyPatch.context() as inner:
            if frame.moved:
                inner.setattr(PowerDisk, "sync", lambda self, fd: None)
            return commit(self, frame)

    patch.setattr(Log, "commit", hasty)


def test_a_move_that_is_not_on_disk_before_its_segment_goes_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = Machine.filled(tmp_path / "filled")
    moved_without_a_sync(monkeypatch)
    assert cut_at_each_step(filled, tmp_path, seeds=3)
