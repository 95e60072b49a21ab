"""Rivals from PyPI live in a virtual environment of their own under .cache: none of them is a dependency of ours.

The versions are pinned in requirements.txt beside this file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.measure.process import ProcessError

_PINS = Path(__file__).with_name("requirements.txt")
_PLACE = Path(__file__).parents[2] / ".cache" / "rivals"
_INSTALL_S = 600


def install() -> None:
    """Make the environment, once per set of pins. Raises ProcessError with what pip said."""
    mark = _PLACE / "installed.txt"
    if mark.exists() and mark.read_bytes() == _PINS.read_bytes():
        return
    print("installing the rivals into .cache/rivals (once, about a minute)", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(_PLACE)])
    pip = [str(_PLACE / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "-r", str(_PINS)])
    mark.write_bytes(_PINS.read_bytes())


def program(name: str) -> str:
    """The path of an installed program. Raises ProcessError if it is not there."""
    path = _PLACE / "bin" / name
    if not path.exists():
        raise ProcessError(f"{name} is not installed in {_PLACE}")
    return str(path)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProcessError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise ProcessError(f"{Path(command[0]).name}: {' '.join((done.stderr or done.stdout).split())[-300:]}")
