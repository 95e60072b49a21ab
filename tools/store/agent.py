"""The shipped agent with devices on one side and a city on the other, for the measurements of its store."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lamppost.broker import free_ports
from tools.measure.load import READING
from tools.measure.process import ProcessError, Watched
from tools.measure.tally import FIRST
from tools.rivals import ours

READING_BYTES = len(READING % (FIRST, 1_700_000_000, 0))
_UNBOUNDED = """\
[outbox]
max_records = 1000000000
max_bytes = 100000000000
min_free_bytes = 0
"""


class Agent:
    """`lamppost gateway run` with everything in `folder`. Started and stopped as often as wanted."""

    def __init__(self, folder: Path, *, city_port: int, window_s: int = 0) -> None:
        """`window_s`: length of the edge's windows; 0: none."""
        (self.port,) = free_ports(1)
        self.data_dir = folder / "data"
        config = ours.gateway_toml(data_dir=self.data_dir, way="listen", port=self.port, city_port=city_port)
        config = config.replace("window_s = 0", f"window_s = {window_s}")
        self.process: Watched = ours.gateway(folder, config + _UNBOUNDED)

    def start(self, *, within_s: float = 120.0) -> float:
        """Returns how many seconds it took from exec until devices can connect."""
        began_s = time.monotonic()
        self.process.start(port=self.port, within_s=within_s)
        return time.monotonic() - began_s

    def row(self) -> dict[str, Any]:
        """The counters of its platform, as `gateway status --json` prints them. Raises ProcessError."""
        found: dict[str, Any] = self.status()["cities"]["city"]
        return found

    def status(self) -> dict[str, Any]:
        """What `gateway status --json` prints. Raises ProcessError."""
        command = [
            sys.executable,
            "-m",
            "lamppost.cli",
            "gateway",
            "status",
            "--data-dir",
            str(self.data_dir),
            "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise ProcessError(f"gateway status says no more than: {(done.stderr or done.stdout)[-300:]}") from None
        return found

    def stored_bytes(self) -> int:
        """Everything under its data_dir."""
        return sum(path.stat().st_size for path in self.data_dir.rglob("*") if path.is_file())


@contextmanager
def running(folder: Path, *, city_port: int, window_s: int = 0) -> Iterator[Agent]:
    """An agent that is gone after the block."""
    agent = Agent(folder, city_port=city_port, window_s=window_s)
    try:
        agent.start()
        yield agent
    finally:
        agent.process.stop()
