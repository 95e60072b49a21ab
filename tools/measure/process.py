"""A process as the kernel sees it: bytes it had written, memory, processor time; started and ended by its pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# What is installed has its bytecode beside it: a setting of who measures must not have it compiled anew at each start.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class ProcessError(Exception):
    """A measured process did not come up, or has ended; the message has the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a process has used so far. `peak_rss_bytes`: the most it had in memory since its start."""

    written_bytes: int
    cpu_s: float
    rss_bytes: int
    peak_rss_bytes: int


class Watched:
    """One program. `log` takes what it prints."""

    def __init__(
        self, command: Sequence[str], *, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._command = list(command)
        self._log = log
        self._cwd = cwd
        self._env = {**_ENVIRONMENT, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, port: int | None = None, within_s: float = 30.0) -> None:
        """Start it and, with `port`, wait until something listens there. Raises ProcessError."""
        with self._log.open("ab") as log:
            try:
                self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._cwd, env=self._env)
            except OSError as error:
                raise ProcessError(f"{self._command[0]}: {error.strerror}") from None
        give_up_s = time.monotonic() + within_s
        while port is not None and not is_listening(port):
            self.check()
            if time.monotonic() > give_up_s:
                raise ProcessError(
                    f"{self._command[0]} does not listen on {port} after {within_s:.0f} s: {self._end()}"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not enough."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """SIGKILL: it has no say in it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def check(self) -> None:
        """Raises ProcessError if it is gone."""
        if self._process is None or self._process.poll() is not None:
            code = self._process.returncode if self._process else "nothing"
            raise ProcessError(f"{Path(self._command[0]).name} ended with {code}: {self._end()}")

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def use(self) -> Use:
        """Raises ProcessError if it is gone."""
        self.check()
        return use_of(self.pid)

    def _end(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])


def use_of(pid: int) -> Use:
    """Source: proc(5), /proc/PID/io, stat and status."""
    place = Path(f"/proc/{pid}")
    io = _table(place / "io")
    status = _table(place / "status")
    times = (place / "stat").read_text().rpartition(") ")[2].split()
    return Use(
        written_bytes=int(io["write_bytes"]),
        cpu_s=(int(times[11]) + int(times[12])) * _TICK_S,
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        peak_rss_bytes=int(status["VmHWM"].split()[0]) * 1024,
    )


def _table(path: Path) -> dict[str, str]:
    rows = (line.partition(":") for line in path.read_text().splitlines())
    return {name: value.strip() for name, _, value in rows}


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
