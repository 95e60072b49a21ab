"""The node's schedule, in a time that moves only when told. Run by test_rules."""

import asyncio

from firmware.node import Node
from tests.firmware.bench import Clock
from tests.firmware.cycles import make_parts


def a_late_sample_and_the_next_do_not_share_a_second():
    clock = Clock()
    parts = make_parts(clock)
    parts.sample_s = 1
    node = Node(parts, clock, None)
    clock.now_us += 950_000  # something held the sample up
    asyncio.run(node.sample_once())
    first_s = parts.uptime.nearest_s()
    asyncio.run(clock.sleep_ms(parts.uptime.ms_until(parts.state.sample_at_s)))
    assert parts.uptime.nearest_s() > first_s, (first_s, parts.uptime.nearest_s())
