"""The way to the city, which can be cut: lamppost's relay in a thread, for measurements that are not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from lamppost.relay import Relay


class Link:
    """A context manager; `port` leads to the target. Used at low rates only: the relay costs processor time."""

    def __init__(self, target_port: int, *, delay_s: float = 0.0) -> None:
        self._relay = Relay(target_port, delay_s=delay_s)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)

    def __enter__(self) -> Link:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._relay.__aenter__(), self._loop).result(10)
        return self

    def __exit__(self, *_exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._relay.__aexit__(None, None, None), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def port(self) -> int:
        return self._relay.port

    def cut(self) -> None:
        """End every connection with an RST, and refuse new ones."""
        self._call(self._relay.refuse)
        self._call(self._relay.reset_all)

    def mend(self) -> None:
        """Accept connections again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._relay.listen(), self._loop).result(10)

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)
