"""An event loop in which everything happens in one order: what is left to a thread is done at once, time is a number.

So a campaign that draws from a seed does the same again for the same seed. When nothing is ready, time jumps to the
next timer. For code that waits for nothing outside its process.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.SelectSelector):
    """Never waits: `jump` is told for how long it was to."""

    jump: Callable[[float], None]

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found:
            assert timeout is not None, "everything waits, and nothing will ever come"
            self.jump(max(0.0, timeout))
        return found


class OneThread(asyncio.SelectorEventLoop):
    """`time` begins at 0."""

    def __init__(self) -> None:
        self._now_s = 0.0
        selector = _Jump()
        selector.jump = self._jump
        super().__init__(selector)

    def _jump(self, seconds: float) -> None:
        self._now_s += seconds

    def time(self) -> float:
        return self._now_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  it is whose who waits
            done.set_exception(error)
        return done


def in_one_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end, in such a loop of its own."""
    with asyncio.Runner(loop_factory=OneThread) as runner:
        return runner.run(work)
