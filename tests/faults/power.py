"""Mains power for a simulated disk: each thing done to the disk is one step, and one of the steps is the last.

Steps may also fail for once (EIO, ENOSPC), as a disk does that works again afterwards. Record log (power_disk) and
SQLite (power_sqlite) count on the same meter, so that a cut can fall anywhere between what the two do.
"""

from __future__ import annotations

import errno
import threading


class Power:
    """On until `left` more steps were done. Any thread may take steps."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._left: int | None = None
        self._faults: dict[int, int] = {}
        self.is_on = True
        self.steps = 0
        self.failed = 0  # steps that failed for once
        self.failed_since_armed = 0
        self.just_cut = False  # by the very last step

    def arm(self, left: int | None) -> None:
        """Power is on. It goes after `left` more steps, if that is a number."""
        self.is_on, self._left = True, left
        self.failed_since_armed = 0
        self._faults.clear()

    def spoil(self, faults: dict[int, int]) -> None:
        """Let steps from now on fail with these errnos, by their number."""
        self._faults = {self.steps + at: code for at, code in faults.items()}

    def off(self) -> None:
        self.is_on = False

    def step(self) -> int:
        """Take one: 0 if it can be done, else the errno that it fails with."""
        with self._guard:
            self.just_cut = False
            if not self.is_on:
                return errno.EIO
            self.steps += 1
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    self.is_on = False
                    self.just_cut = True
                    return errno.EIO
            code = self._faults.pop(self.steps, 0)
            self.failed += code > 0
            self.failed_since_armed += code > 0
            return code
