"""One identity at two gateways: seen once their logs meet, and not mistaken for a node that moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.audit import AuditLog, read_entries
from gateway.identity.admission import Admission
from gateway.registry.clones import Heard, clone_of
from gateway.registry.keeper import Keeper
from tests.gateway.registry.sites import Person, carry, town


def audit_of(folder: Path, name: str) -> AuditLog:
    made = AuditLog(folder / name, actor=name)
    made.open()
    return made


@pytest.mark.parametrize(
    "records, is_clone",
    [
        ([(0, "a", 1)], False),
        ([(0, "a", 1), (500, "b", 2)], False),  # it moved, and joined there
        ([(0, "a", 1), (500, "b", 2), (900, "a", 3)], False),  # and came back
        ([(0, "a", 1), (500, "b", 2), (900, "a", 1)], True),  # heard at a under the old session again
        ([(0, "a", 1), (500, "b", 1)], True),  # one session at two gateways
        ([(0, "a", 5), (500, "b", 2)], True),  # the epoch ran backwards
        ([(0, "a", 1), (30, "b", 1)], False),  # two clocks may be as far apart as this
        ([(0, "a", 5), (500, "a", 5), (900, "a", 6)], False),  # one gateway hears it on and on
    ],
)
def test_contradiction_between_records(records: list[tuple[int, str, int]], is_clone: bool) -> None:
    heard = [Heard(*one) for one in records]
    assert (clone_of(heard) is not None) == is_clone
    assert (clone_of(reversed(heard)) is not None) == is_clone


def test_clone_is_told_where_logs_meet(tmp_path: Path) -> None:
    now_s = 1_800_000_000
    counted: list[str] = []
    with town(tmp_path) as oslo:
        keepers = {}
        for name in ("gw-1", "gw-2"):
            registry = oslo.add_gateway(name)
            registry.now_s = lambda: now_s
            admission = Admission(registry, now_s=lambda: now_s, is_time_trusted=lambda: True)
            keepers[name] = Keeper(registry, admission, count=counted.append, audit=audit_of(tmp_path, name))
        one, two = (oslo.gateways[name] for name in ("gw-1", "gw-2"))
        node = Person()
        oslo.say(node.enrol())
        for gateway in (one, two):
            carry(oslo.authority, gateway)
        keepers["gw-1"].heard(node.id, 7, now_s)
        keepers["gw-1"]._work()
        now_s += 600
        keepers["gw-2"].heard(node.id, 7, now_s)  # a copy, with the same session
        keepers["gw-2"]._work()
        assert "clone_alarms" not in counted
        carry(one, two)
        assert counted == ["clone_alarms"]
        keepers["gw-2"]._work()
        *_, last = read_entries(tmp_path / "gw-2")
        assert (last.what, last.device) == ("clone alarm", node.id)
        assert "heard at oslo/gw-2 in epoch 7, 600 s after oslo/gw-1 heard it in epoch 7" in last.detail
        assert keepers["gw-2"].status()["state"] == "in doubt"
        assert node.id in keepers["gw-2"].status()["detail"]


def test_node_is_recorded_once_per_epoch_also_across_restarts(tmp_path: Path) -> None:
    with town(tmp_path) as oslo:
        gateway, node = oslo.add_gateway("gw-1"), Person()
        for _ in range(2):  # the second one is a gateway that was started again
            admission = Admission(gateway, now_s=lambda: 0, is_time_trusted=lambda: True)
            keeper = Keeper(gateway, admission, count=lambda name: None, audit=audit_of(tmp_path, "gw-1"))
            for at_s in range(5):
                keeper.heard(node.id, 7, at_s)
                keeper._work()
        assert gateway.own().size == 1
        keeper.heard(node.id, 8, 9)
        keeper._work()
        assert gateway.own().size == 2
