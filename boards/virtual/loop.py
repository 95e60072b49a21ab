"""The one thread that serves every board of a street: chips, flash, serial ports, timers and interpreters that end.

All models are touched from this thread alone, so that none needs to know of others. Other threads ask it to run
something with `call`. An exception in a callback ends the loop and is raised again by the next `call` or `close`.
"""

import heapq
import itertools
import os
import selectors
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


class Timer:
    """A callback that is due once; cancel() makes it never."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        if self._callback is not None:
            callback, self._callback = self._callback, None
            callback()


class Loop:
    """Owns its thread from start() to close()."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._asked: list[Callable[[], None]] = []
        self._wake_read, self._wake_write = os.pipe()
        self._is_closing = False
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="virtual-boards", daemon=True)
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._drain_wake_ups)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread and wait for it. Raises what a callback raised."""
        if self._thread.is_alive():
            self._is_closing = True
            os.write(self._wake_write, b"\0")
            self._thread.join()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        self.check()

    def call(self, function: Callable[[], Result]) -> Result:
        """Run `function` in the loop's thread and return, or raise, what it does."""
        if threading.current_thread() is self._thread:
            return function()
        done: Future[Result] = Future()

        def answer() -> None:
            try:
                done.set_result(function())
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
                done.set_exception(error)

        with self._lock:
            self.check()
            if not self._thread.is_alive():
                raise RuntimeError("the boards' thread does not run: start it first, and use nothing after close")
            self._asked.append(answer)
        os.write(self._wake_write, b"\0")
        return done.result()

    # --- for callbacks, in the loop's thread ---

    def watch(self, fd: int, callback: Callable[[], None], *, read: bool = True, write: bool = False) -> None:
        """Call back whenever `fd` can be read, or written; replaces what was. Neither: as unwatch."""
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        if not events:
            self.unwatch(fd)
        elif fd in self._selector.get_map():
            self._selector.modify(fd, events, callback)
        else:
            self._selector.register(fd, events, callback)

    def unwatch(self, fd: int) -> None:
        """Nothing happens if `fd` is not watched."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back once, in real seconds."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), timer))
        return timer

    # --- the thread ---

    def _run(self) -> None:
        try:
            while not self._is_closing:
                self._fire_timers()
                for key, _ in self._selector.select(self._wait_s()):
                    if self._selector.get_map().get(key.fd) is key:  # an earlier callback may have closed it
                        key.data()
        except BaseException as error:  # noqa: BLE001 - raised again by call or close
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure = error
            asked, self._asked = self._asked, []
        for answer in asked:
            answer()

    def _wait_s(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _fire_timers(self) -> None:
        now_s = time.monotonic()
        while self._timers and self._timers[0][0] <= now_s:
            heapq.heappop(self._timers)[2].fire()

    def _drain_wake_ups(self) -> None:
        os.read(self._wake_read, 4096)
        with self._lock:
            asked, self._asked = self._asked, []
        for answer in asked:
            answer()

    def check(self) -> None:
        """Raises what a callback raised, if one did."""
        if self._failure is not None:
            raise RuntimeError(f"the virtual boards stopped: {self._failure!r}") from self._failure
