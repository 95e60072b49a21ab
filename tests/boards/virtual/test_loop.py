"""The boards' thread: in order, and not silent when something goes wrong."""

import threading
from collections.abc import Iterator

import pytest

from boards.virtual.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    loop.start()
    yield loop
    loop.close()


def test_call_runs_in_the_loops_thread_and_returns_or_raises(loop: Loop) -> None:
    assert loop.call(lambda: threading.current_thread().name) == "virtual-boards"
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda: 1 // 0)
    assert loop.call(lambda: loop.call(lambda: 7)) == 7


def test_timers_fire_in_order_of_time_and_not_after_cancel(loop: Loop) -> None:
    fired: list[str] = []
    done = threading.Event()

    def arm() -> None:
        loop.after(0.02, done.set)
        loop.after(0.01, lambda: fired.append("second"))
        loop.after(0.005, lambda: fired.append("first"))
        loop.after(0.001, lambda: fired.append("never")).cancel()

    loop.call(arm)
    assert done.wait(5)
    assert fired == ["first", "second"]


def test_a_callback_that_raises_stops_the_loop_and_says_so() -> None:
    loop = Loop()
    loop.start()
    waits = threading.Event()
    loop.call(lambda: loop.after(0, lambda: waits.set() or 1 // 0))
    assert waits.wait(5)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        loop.call(lambda: threading.Event().wait(0))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        loop.close()
