"""Runs a script under the real MicroPython interpreter, with the repository on its path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MICROPYTHON = Path(sys.executable).with_name("micropython")


def run_micropython(
    script: str | Path,
    *,
    heapsize: str | None = None,
    path: list[Path] | None = None,
    env: dict[str, str] | None = None,
    timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `script` (source text, or the path of a file) and return what it printed.

    heapsize  cap of the garbage-collected heap, e.g. "128k"
    path      import path; the repository root unless given
    Raises    subprocess.TimeoutExpired after `timeout_s`
    """
    command = [str(MICROPYTHON)]
    if heapsize is not None:
        command += ["-X", f"heapsize={heapsize}"]
    command += [str(script)] if isinstance(script, Path) else ["-c", script]
    search_path = ":".join(str(p) for p in path or [ROOT])
    return subprocess.run(
        command,
        env={**os.environ, "MICROPYPATH": f"{search_path}:.frozen", **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def check_micropython(script: str | Path, **options: object) -> str:
    """Like run_micropython, but a non-zero exit fails the test with what the interpreter said. Returns stdout."""
    done = run_micropython(script, **options)  # type: ignore[arg-type]
    assert done.returncode == 0, f"MicroPython exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
