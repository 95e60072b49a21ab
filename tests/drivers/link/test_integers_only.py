"""link, journal and airtime use integers only: a board's floats are single precision, the bench's are not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
INTEGER_MODULES = [
    *sorted((ROOT / "drivers/link").glob("*.py")),
    ROOT / "drivers/radio/airtime.py",
    ROOT / "drivers/radio/duty.py",
    *sorted((ROOT / "firmware").glob("journal*.py")),
]


def float_uses(source: str) -> list[str]:
    """Every float literal, use of the name `float`, and true division in `source`, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            found.append(f"line {node.lineno}: literal {node.value!r}")
        elif isinstance(node, ast.Name) and node.id == "float":
            found.append(f"line {node.lineno}: float")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append(f"line {node.lineno}: true division")
        elif isinstance(node, ast.Import | ast.ImportFrom) and "math" in imported(node):
            found.append(f"line {node.lineno}: import math")
    return found


def imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    return {node.module or ""} if isinstance(node, ast.ImportFrom) else {name.name for name in node.names}


@pytest.mark.parametrize("path", INTEGER_MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_uses_integers_only(path: Path) -> None:
    assert float_uses(path.read_text()) == []


@pytest.mark.parametrize(
    "source", ["x = 1.0", "x = 1e3", "x = float(y)", "x = list(map(float, y))", "x = y / 2", "x /= 2", "import math"]
)
def test_the_check_sees_a_float(source: str) -> None:
    assert len(float_uses(source)) == 1


@pytest.mark.parametrize("source", ["x = y // 2", "x //= 2", "x = 'a/b'", "x = 1_000_000  # 1.0", "import mathematics"])
def test_the_check_lets_integers_pass(source: str) -> None:
    assert float_uses(source) == []
