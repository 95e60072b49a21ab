"""mosquitto where a measurement needs a broker: as the city, as a broker that devices use, or as the thing measured."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from lamppost.broker import free_ports
from tools.measure.process import ProcessError, Watched

_PLACES = "/usr/sbin:/usr/local/sbin"  # Debian puts the broker where a user's PATH does not look


def program() -> str:
    """Its path. Raises ProcessError naming the package where it is missing."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=_PLACES)
    if found is None:
        raise ProcessError("mosquitto is missing; install it: apt-get install mosquitto (make bench does it)")
    return found


class Mosquitto(Watched):
    """A broker on a free loopback port that drops nothing for want of queue. `lines`: more configuration."""

    def __init__(self, folder: Path, *, lines: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_ports(1)[0]
        settings = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 10000000"]
        # As root it drops to user mosquitto, and then cannot write its database, in silence.
        settings += ["user root"] if os.geteuid() == 0 else []
        settings += ["set_tcp_nodelay true", "log_type error", "log_type warning"]
        (folder / "mosquitto.conf").write_text("\n".join([*settings, *lines]) + "\n")
        super().__init__([program(), "-c", str(folder / "mosquitto.conf")], log=folder / "mosquitto.log")

    def __enter__(self) -> Mosquitto:
        self.start(port=self.port)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
