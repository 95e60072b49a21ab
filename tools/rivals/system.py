"""What a measured system is: where devices publish, which processes belong to it, and how it starts, dies and ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tools.measure.load import READING
from tools.measure.process import Use, Watched
from tools.measure.tally import Tally


class CityBroker(Protocol):
    """The platform: a broker and who listens at it. Running while entered."""

    @property
    def port(self) -> int: ...
    def __enter__(self) -> CityBroker: ...
    def __exit__(self, *exc: object) -> None: ...
    def listen(self, tally: Tally) -> AbstractContextManager[object]: ...


class System:
    """One configured system.

    port    where devices publish
    own     the process that is measured and killed
    beside  what it needs on the same machine; its processor time is told apart
    """

    def __init__(self, own: Watched, *, port: int, own_port: int | None, beside: Sequence[Watched] = ()) -> None:
        self.own = own
        self.port = port
        self._own_port = own_port
        self._beside = list(beside)

    def __enter__(self) -> System:
        try:
            for one in self._beside:
                one.start(port=self.port)
            self.revive()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        for one in (self.own, *self._beside):
            one.stop()

    def kill(self) -> None:
        """SIGKILL its own process, not what is beside it."""
        self.own.kill()

    def revive(self) -> None:
        """Start its own process with what it left on the disk."""
        self.own.start(port=self._own_port)

    def use(self) -> tuple[Use, float]:
        """What its own process has used, and the processor seconds of those beside it."""
        return self.own.use(), sum(one.use().cpu_s for one in self._beside)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How to set up one system, and what to know of it when reading its row.

    open     (folder, port of the city) -> System
    city     folder -> the platform it delivers to
    about    what it does with a reading before it acknowledges it
    reading  the payload's format: serial, seconds, milliseconds
    """

    name: str
    about: str
    open: Callable[[Path, int], System]
    city: Callable[[Path], CityBroker]
    reading: bytes = READING
    needs_venv: bool = False
