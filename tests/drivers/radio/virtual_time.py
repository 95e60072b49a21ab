"""Time for a test that turns the hands itself: sleeping tasks are woken in order, and nothing waits for real."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Coroutine
from typing import Any

from boards.virtual.clock import ManualClock

TICKS = 1 << 30


class VirtualTime:
    """What drivers.clock offers, on a ManualClock. `start_us` lets ticks begin just before they wrap."""

    def __init__(self, *, start_us: int = 0) -> None:
        self.clock = ManualClock()
        self.clock.advance_us(start_us)
        self._sleeping: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def ticks_us(self) -> int:
        return self.clock.now_us() % TICKS

    def ticks_ms(self) -> int:
        return self.clock.now_us() // 1000 % TICKS

    def ticks_add(self, ticks: int, delta: int) -> int:
        return (ticks + delta) % TICKS

    def ticks_diff(self, later: int, earlier: int) -> int:
        return (later - earlier + TICKS // 2) % TICKS - TICKS // 2

    def pause_us(self, duration_us: int) -> None:
        self.clock.advance_us(duration_us)

    async def sleep_ms(self, duration_ms: int) -> None:
        woken = asyncio.get_running_loop().create_future()
        wake_us = self.clock.now_us() + max(duration_ms, 0) * 1000
        heapq.heappush(self._sleeping, (wake_us, next(self._order), woken))
        await woken

    async def run(self, *coroutines: Coroutine[Any, Any, Any], limit_s: int = 3600) -> list[Any]:
        """Run them together to their ends and return what they returned. Fails after `limit_s` of virtual time."""
        tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
        ends_us = self.clock.now_us() + limit_s * 1_000_000
        try:
            while not all(task.done() for task in tasks):
                await self._settle(tasks)
                if all(task.done() for task in tasks):
                    break
                wake_us, _, woken = heapq.heappop(self._sleeping)
                assert wake_us <= ends_us, f"still running after {limit_s} s of virtual time"
                self.clock.advance_us(max(wake_us - self.clock.now_us(), 0))
                if not woken.done():
                    woken.set_result(None)
            return [task.result() for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _settle(self, tasks: list[asyncio.Future[Any]]) -> None:
        """Let every task go on until it sleeps (or is done)."""
        for _ in range(50):
            await asyncio.sleep(0)
            if any(task.done() and not task.cancelled() and task.exception() for task in tasks):
                return
            live = sum(not task.done() for task in tasks)
            if sum(not woken.done() for _, _, woken in self._sleeping) >= live:
                return
        raise AssertionError("a task waits for something other than the virtual clock")
