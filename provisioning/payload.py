"""What goes onto a node: the firmware and the drivers it needs, compiled to .mpy, by their paths on the node.

Only boot.py and main.py stay source, as the port runs those by name. Modules for CPython are left at home.
"""

import ast
from pathlib import Path

from boards import mpy
from provisioning.shorten import shorten, spoken_of_elsewhere

_ROOT = Path(__file__).parents[1]
_FOR_CPYTHON = {
    "drivers/bus/linux.py",
    "drivers/bus/remote.py",
    "drivers/link/beacon_pack.py",
    "drivers/link/order.py",
    "drivers/link/reasons.py",
    "drivers/link/unpack.py",
    "drivers/link/window_reading.py",
    "drivers/radio/sx126x.py",
    "firmware/journal_image.py",
}
_RUN_BY_NAME = ("boot.py", "main.py")
_TABLES = ("drivers/link/p256_base.bin",)  # read from flash, never into memory


def node_files() -> dict[str, bytes]:
    """Content by absolute path on the node. Raises boards.mpy.CompileError."""
    files = {f"/{name}": (_ROOT / "firmware" / name).read_bytes() for name in _RUN_BY_NAME}
    files |= {f"/lib/{name}": (_ROOT / name).read_bytes() for name in _TABLES}
    sources = _sources()
    spoken_of = spoken_of_elsewhere(sources)
    for name, source in sources.items():
        path = f"/lib/{name}.mpy"
        text = shorten(source, spoken_of=spoken_of[name])
        files[path] = mpy.compile_text(text, name=path)  # one name in the node's memory, not two
    return files


def _sources() -> dict[str, str]:
    """The modules of a node by path without suffix."""
    found = {}
    for package in ("drivers", "firmware"):
        for source in sorted((_ROOT / package).rglob("*.py")):
            name = source.relative_to(_ROOT).as_posix()
            if _belongs_on_a_node(source, name):
                found[name.removesuffix(".py")] = source.read_text(encoding="utf-8")
    return found


def _belongs_on_a_node(source: Path, name: str) -> bool:
    if name in _FOR_CPYTHON or name in {f"firmware/{run_by_name}" for run_by_name in _RUN_BY_NAME}:
        return False
    return source.name != "__init__.py" or not _is_docstring_only(source)


def _is_docstring_only(source: Path) -> bool:
    """A package needs no file on MicroPython; its docstring would only cost flash."""
    return all(isinstance(statement, ast.Expr) for statement in ast.parse(source.read_bytes()).body)
