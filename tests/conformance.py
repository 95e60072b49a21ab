"""The requirement register and what a test run says about its claims."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REGISTER = ROOT / "docs" / "conformance" / "requirements.toml"
CLAIMS = ("met", "part")


def requirements(text: str | None = None) -> list[dict[str, Any]]:
    """Every requirement of the register."""
    table = tomllib.loads(REGISTER.read_text() if text is None else text)
    found: list[dict[str, Any]] = table["requirement"]
    return found


def faults(found: Iterable[Mapping[str, Any]], root: Path = ROOT) -> list[str]:
    """What is wrong with the register itself: claims without a test, tests that are not there."""
    told, seen = [], set()
    for one in found:
        name, claim, tests = one["id"], one["status"] in CLAIMS, one.get("tests", [])
        if name in seen:
            told.append(f"{name} is there twice")
        seen.add(name)
        if one["status"] not in (*CLAIMS, "open"):
            told.append(f"{name} has the status {one['status']}")
        if claim and not tests:
            told.append(f"{name} is claimed and names no test")
        if one["status"] == "part" and not one.get("missing"):
            told.append(f"{name} is part and does not say what is missing")
        told += [f"{name} names {test}, which does not exist" for test in tests if not exists(test, root)]
    return told


def exists(test: str, root: Path = ROOT) -> bool:
    """Whether this file has this function."""
    path, _, function = test.partition("::")
    if not (root / path).is_file():
        return False
    tree = ast.parse((root / path).read_text())
    return any(isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) and one.name == function for one in tree.body)


def refuted(found: Iterable[Mapping[str, Any]], outcomes: Mapping[str, set[str]], *, is_ci: bool) -> list[str]:
    """Claims that a test run contradicts. `outcomes`: by file::function, of what ran of it."""
    told = []
    for one in found:
        for test in one.get("tests", []) if one["status"] in CLAIMS else ():
            ended = outcomes.get(test, set())
            if "failed" in ended:
                told.append(f"{one['id']} is claimed, and {test} failed")
            elif is_ci and ended == {"skipped"}:
                told.append(f"{one['id']} is claimed, and {test} was skipped")
    return told
