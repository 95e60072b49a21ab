"""Imports go one way: drivers know nothing of ours, and nothing reaches upwards."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "drivers": set(),
    "boards": {"drivers"},
    "firmware": {"drivers"},
    "gateway": {"drivers"},
    "provisioning": {"gateway", "boards", "drivers", "firmware"},
    "lamppost": {"gateway", "boards", "drivers", "firmware", "provisioning"},
}
OURS = {*MAY_IMPORT, "hil_tests", "tests", "tools"}


def imported_packages(source: str) -> Iterator[str]:
    """The top-level package of every import in `source`, also those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_package_imports_only_what_lies_below_it(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in imported_packages(path.read_text())
        if name in OURS - MAY_IMPORT[package] - {package}
    ]
    assert wrong == []


def test_the_check_sees_an_upward_import() -> None:
    assert set(imported_packages("def f():\n    from gateway.run import main\n    import boards.data\n")) == {
        "gateway",
        "boards",
    }
