"""Private names get shorter; what a module does, and on which line, stays."""

import ast
from pathlib import Path

import pytest

from provisioning.payload import node_files
from provisioning.shorten import shorten, spoken_of_elsewhere

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "source, expected",
    [
        ("def _far():\n    return _far\n", "def _0():\n    return _0\n"),
        ("_b = 1\n_a = _b + _b\n", "_1 = 1\n_0 = _1 + _1\n"),
        ("_K = const(3)\nprint(_K)\n", "_K = const(3)\nprint(_K)\n"),  # folded, and kept nowhere
        ("def far(_x):\n    return _x\n_x = 1\n", "def far(_x):\n    return _x\n_x = 1\n"),  # an argument too
        ("_x = 1\nprint(self._x)\n", "_x = 1\nprint(self._x)\n"),  # an attribute too
        ("class A:\n    _x = 1\n_x = 2\n", "class A:\n    _x = 1\n_x = 2\n"),
        ("_x = 1\nprint(f'{_x}')\n", "_x = 1\nprint(f'{_x}')\n"),  # inside of an f-string
        ("_x = 1\nprint('_x')  # _x\n", "_0 = 1\nprint('_x')  # _x\n"),
        (
            "def public():\n    global _seen\n    _seen = 1\n_seen = 0\n",
            "def public():\n    global _0\n    _0 = 1\n_0 = 0\n",
        ),
        ("__version__ = 1\n", "__version__ = 1\n"),
    ],
)
def test_only_names_that_nobody_else_sees_are_shortened(source: str, expected: str) -> None:
    assert shorten(source) == expected


OWN = "class A:\n    def _go(self):\n        self._at = 1\n"


@pytest.mark.parametrize(
    ("source", "others", "expected"),
    [
        (OWN, "", OWN.replace("_at", "_0")),
        (OWN, "x._go()\n", OWN.replace("_at", "_0")),
        (OWN, "getattr(x, '_at')\n", OWN),
        (OWN, "from m import A\nclass B(A):\n    pass\n", OWN),  # B has names of its own in the same object
        (OWN.replace("A:", "A(Other):"), "", OWN.replace("A:", "A(Other):")),
        (OWN + "print('_at')\n", "", OWN + "print('_at')\n"),
    ],
)
def test_attributes_that_only_their_module_knows_are_shortened(source: str, others: str, expected: str) -> None:
    spoken_of = spoken_of_elsewhere({"m": source, "others": others})
    assert shorten(source, spoken_of=spoken_of["m"]) == expected


@pytest.mark.parametrize("path", sorted(path[5:-4] for path in node_files() if path.startswith("/lib/")))
def test_every_module_of_a_node_keeps_its_lines_and_its_public_names(path: str) -> None:
    source = (ROOT / f"{path}.py").read_text()
    short = shorten(source)
    assert _shape(short) == _shape(source)
    assert "import _" not in source  # a private name of another module would not be found any more


def _shape(source: str) -> list[tuple[str, int, str]]:
    """Every node by kind and line, with the names that are not private."""
    return [
        (type(node).__name__, getattr(node, "lineno", 0), _public(getattr(node, "name", getattr(node, "id", ""))))
        for node in ast.walk(ast.parse(source))
    ]


def _public(name: object) -> str:
    return "" if str(name).startswith("_") else str(name)
