"""Sampling many times a second: by ticks, not by the schedule in whole seconds. Loaded only where sample_ms says so."""

from drivers.constant import const

_LIMIT_S = const(60)


async def sample_fast(node, clock, watchdog, sample_ms):
    """Sample every `sample_ms` for ever. Samples that come too late are not made up for: the next is due from then on.

    The slowest sensor sets the pace: a water probe takes 50 ms, a BME280 10 ms.
    """
    due = clock.ticks_ms()
    node.counters["samples_late"] = 0
    while True:
        watchdog.promise("sample", _LIMIT_S)
        await node.sample_once()
        due = clock.ticks_add(due, sample_ms)
        wait_ms = clock.ticks_diff(due, clock.ticks_ms())
        if wait_ms < 0:
            node.counters["samples_late"] += 1
            due = clock.ticks_ms()
        await clock.sleep_ms(max(wait_ms, 0))
