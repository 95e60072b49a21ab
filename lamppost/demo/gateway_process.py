"""The gateway of the demo: `lamppost gateway run` in a process of its own, as it would run in a cabinet."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.errors import GatewayError

_START_S = 20.0
_STOP_S = 15.0
_PR_SET_PDEATHSIG = 1
COMMAND = (sys.executable, "-m", "lamppost.cli", "gateway", "run")


class GatewayProcess:
    """Starts and stops it. `command` gets --config and the file's path appended."""

    def __init__(self, config: Path, data_dir: Path, log: Path, *, command: Sequence[str] = COMMAND) -> None:
        self._config = config
        self._data_dir = data_dir
        self._log = log
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, extra: Sequence[str] = ()) -> None:
        """Start it and wait until it says that it runs. Raises GatewayError with the end of its log if it does not."""
        began_s = time.time()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                "--config",
                str(self._config),
                *extra,
                stderr=log,
                stdout=log,
                preexec_fn=_die_with_parent,
            )
        deadline_s = time.monotonic() + _START_S
        while self.status().get("written_at_s", 0.0) < began_s:
            if self._process.returncode is not None:
                raise GatewayError(f"the gateway ended with {self._process.returncode}:\n{self._end_of_log()}")
            if time.monotonic() > deadline_s:
                raise GatewayError(f"the gateway is not up after {_START_S:g} s:\n{self._end_of_log()}")
            await asyncio.sleep(0.05)

    async def stop(self) -> int:
        """SIGTERM, then wait for a clean end. Returns the exit code; SIGKILL and -9 if it takes too long."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        """SIGKILL: the process has no say in it."""
        return await self._end(signal.SIGKILL)

    def reload(self) -> None:
        """SIGHUP: it reads the enrolled nodes anew."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for it to end by itself. False if it did not."""
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._process.wait()
                return True
        return False

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def check_alive(self) -> None:
        """Raises GatewayError with the end of its log if it is gone."""
        if self._process is not None and self._process.returncode is not None:
            raise GatewayError(f"the gateway ended with {self._process.returncode}:\n{self._end_of_log()}")

    def status(self) -> dict[str, Any]:
        """What it last wrote of itself, {} before the first time."""
        try:
            found: dict[str, Any] = json.loads((self._data_dir / "status.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    async def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(how)
            if not await self.wait(_STOP_S):
                self._process.kill()
                await self._process.wait()
        return self._process.returncode or 0

    def _end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


def _die_with_parent() -> None:
    """Whatever ends the demo ends the gateway too."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
