"""What must outlive the database: if that is set aside, no downlink counter, command or id of ours may come again.

A small file, `floors.json`, replaced durably and seldom: when a database is begun, and once per 65,536 downlink
counters or commands of a node.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from gateway.clock import RELEASED_AT_S
from gateway.database import write_durably

log = logging.getLogger(__name__)
_NAME = "floors.json"
_STEP = 65_536


class Floors:
    """Three numbers.

    epoch     the highest that the gateway used for its own records
    downlink  no node got a downlink counter from here on
    command   nor a command with this number or a higher one
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / _NAME
        self.epoch = 0
        self.downlink = 0
        self.command = 0

    def load(self, *, now_s: float) -> None:
        """Read the file; without it this is a new gateway.

        If it cannot be read all go on from the seconds since 2026: to have used higher numbers, the gateway would have
        had to begin a database, or answer a node, every second.
        """
        try:
            table = json.loads(self._path.read_text())
            self.epoch, self.downlink = int(table["epoch"]), int(table["downlink"])
            self.command = int(table.get("command", 0))  # an earlier version knew none
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            elapsed = _elapsed(now_s)
            log.error("%s cannot be read (%s); numbering goes on from %d, by the clock", self._path, error, elapsed)
            self.epoch = self.downlink = self.command = elapsed

    def begin_again(self, *, epoch: int, downlink: int, command: int, now_s: float) -> None:
        """Go on above what a back-up says, and above what its gateway may have used since. Raises OSError."""
        self.epoch = max(epoch, _elapsed(now_s))
        self.downlink = max(downlink + _STEP, _elapsed(now_s))
        self.command = max(command + _STEP, _elapsed(now_s))
        self._save()

    def next_epoch(self) -> int:
        """A new epoch for the gateway's own records, on disk when this returns. Raises OSError."""
        self.epoch += 1
        self._save()
        return self.epoch

    def cover(self, downlink: int) -> None:
        """Have a floor at or above `downlink` on disk before a counter below it is used. Raises OSError."""
        if downlink > self.downlink:
            self.downlink = downlink + _STEP
            self._save()

    def cover_command(self, number: int) -> None:
        """The same for the number of a command."""
        if number >= self.command:
            self.command = number + _STEP
            self._save()

    def _save(self) -> None:
        table = {"epoch": self.epoch, "downlink": self.downlink, "command": self.command}
        write_durably(self._path, json.dumps(table).encode() + b"\n")


def _elapsed(now_s: float) -> int:
    """Seconds since 2026: no gateway began an epoch, or answered a node, every second since then."""
    return max(1, int(now_s - RELEASED_AT_S))
