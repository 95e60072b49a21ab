"""The shipped command `lamppost gateway run` in a process of its own, as systemd would start it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from gateway.status import read_status

_START_S = 20.0
_TIME = 'time = "assume"\n'


class Agent:
    """A context manager: started and running inside, gone after. `log` keeps what it said on stderr."""

    def __init__(self, folder: Path, text: str, *, command: Sequence[str] = ("-m", "lamppost.cli")) -> None:
        """text  the whole gateway.toml but [gateway], which points to a data folder below `folder`

        The machine that runs the tests may have nothing that speaks for its clock, so the gateway takes its word.
        """
        self.data_dir = folder / "data"
        self.config = folder / "gateway.toml"
        self.log = folder / "agent.log"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(f'[gateway]\nid = "gw-1"\nsite = "test"\ndata_dir = "{self.data_dir}"\n{_TIME}{text}')
        self._command = [sys.executable, *command, "gateway", "run", "--config", str(self.config)]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def start(self) -> None:
        """Start it, and wait until it says in its status file that it runs."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stderr=log, stdout=log)
        self.wait_until(lambda: self._is_up())

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait_until(self, fact: Callable[[], bool], *, deadline_s: float = _START_S) -> None:
        """Poll `fact`; fails with the log if it stays false, or the agent ends."""
        give_up_s = time.monotonic() + deadline_s
        while not fact():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > give_up_s:
                raise AssertionError(f"exit code {self.process.poll()}; its log:\n{self.log.read_text()}")
            time.sleep(0.02)

    def _is_up(self) -> bool:
        status = read_status(self.data_dir)
        return (
            status is not None
            and status.is_running
            and self.process is not None
            and status.content["pid"] == self.process.pid
        )
