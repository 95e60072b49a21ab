"""What the requirement register claims is named by tests that exist and pass."""

from __future__ import annotations

import pytest

from tests.conformance import ROOT, exists, faults, refuted, requirements

IDS = [*(f"EC-S{n}" for n in range(1, 10)), *(f"EC-F{n}" for n in range(1, 26)), *(f"7.2.{n}" for n in range(1, 8))]
ROW = {"id": "X", "status": "met", "tests": ["tests/test_conformance.py::test_register_names_every_requirement_once"]}


def test_register_names_every_requirement_once() -> None:
    found = [one["id"] for one in requirements()]
    assert set(IDS) <= set(found)
    assert len(found) == len(set(found))


def test_every_claim_names_tests_that_exist() -> None:
    assert faults(requirements()) == []


@pytest.mark.parametrize(
    "change, told",
    [
        ({}, []),
        ({"tests": ["tests/nowhere.py::test_x"]}, ["X names tests/nowhere.py::test_x, which does not exist"]),
        (
            {"tests": ["tests/test_conformance.py::test_nobody_wrote"]},
            ["X names tests/test_conformance.py::test_nobody_wrote, which does not exist"],
        ),
        ({"tests": []}, ["X is claimed and names no test"]),
        ({"status": "part"}, ["X is part and does not say what is missing"]),
        ({"status": "done"}, ["X has the status done"]),
    ],
)
def test_fault_of_the_register_is_told(change: dict[str, object], told: list[str]) -> None:
    assert faults([ROW | change]) == told
    assert exists(ROW["tests"][0], ROOT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ended, is_ci, is_refuted",
    [
        ({"passed"}, True, False),
        ({"failed"}, False, True),
        ({"passed", "failed"}, False, True),
        ({"skipped"}, False, False),
        ({"skipped"}, True, True),
        ({"passed", "skipped"}, True, False),
        (set(), True, False),
    ],
)
def test_claim_falls_with_its_test(ended: set[str], is_ci: bool, is_refuted: bool) -> None:
    test = ROW["tests"][0]
    assert bool(refuted([ROW], {test: ended}, is_ci=is_ci)) == is_refuted  # type: ignore[dict-item]
    assert not refuted([ROW | {"status": "open"}], {test: ended}, is_ci=is_ci)  # type: ignore[dict-item]
