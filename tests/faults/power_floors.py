"""floors.json on a disk whose power goes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

from gateway import floors
from gateway.database import write_durably
from tests.faults.power import Power


@contextlib.contextmanager
def powered_floors(power: Power, chance: random.Random) -> Iterator[None]:
    """floors.json is replaced by a rename: after a cut it is the old one or the new one."""

    def write(path: Path, content: bytes) -> None:
        code = power.step()
        if not code or (power.just_cut and chance.random() < 0.5):
            write_durably(path, content)
        if code:
            raise OSError(code, "Input/output error", str(path))

    floors.write_durably = write
    try:
        yield
    finally:
        floors.write_durably = write_durably
