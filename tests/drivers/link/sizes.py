"""How long frames get: PHY payload bytes of one and of ten reports of BME280 and PMS5003, case by case.

`python -m tests.drivers.link.sizes` prints the table that docs/protocol.md shows.
"""

from __future__ import annotations

import random

from drivers.link.frame import FULL_UPLINK_OVERHEAD, MAX_FRAME, UPLINK_OVERHEAD
from drivers.link.pack import JOURNAL_FULL, Report, pack

ONE_MAX = 28  # bytes of PHY payload that one report may take
TEN_MAX = 120  # and ten
SEQ = 20_000
NOW_S = 900_000
OLD = {"older_boot": 6}
BEGAN_S = 1_790_000_000


def phy_len(reports: list[Report], *, full: bool = False, floor: int = SEQ, **said: object) -> int:
    """Length of the frame that carries all of `reports`."""
    overhead = FULL_UPLINK_OVERHEAD if full else UPLINK_OVERHEAD
    body, count = pack(reports, uptime_s=NOW_S, floor=floor, max_len=MAX_FRAME - overhead, full=full, boot=7, **said)
    assert count == len(reports), f"only {count} of {len(reports)} reports fit"
    return overhead + len(body)


def worst(count: int, *, age_s: int = 4095, step_s: int = 60, jitter_s: int = 0, wide: bool = False) -> list[Report]:
    """Reports that no delta makes shorter: every quantity jumps between the ends of its range."""
    ends = [(-4000, 0, 30000, 0, 0, 0), (8500, 10000, 110000, *[65535 if wide else 1022] * 3)]
    times = [NOW_S - age_s + i * step_s + (jitter_s if i % 4 in (1, 2) else 0) for i in range(count)]
    return [Report(SEQ + i, times[i], 3, ends[1 - i % 2]) for i in range(count)]


def calm(count: int, *, age_s: int = 4095, step_s: int = 60) -> list[Report]:
    """Reports of an ordinary evening: every quantity walks by a little (seeded)."""
    walk = random.Random(1)
    values = [1850, 6200, 101325, 8, 12, 19]
    found = []
    for i in range(count):
        found.append(Report(SEQ + i, NOW_S - age_s + i * step_s, 3, tuple(values)))
        steps = (30, 60, 12, 2, 3, 4)
        values = [max(0, value + walk.randint(-step, step)) for value, step in zip(values, steps, strict=True)]
    return found


def irregular(reports: list[Report], step_s: int) -> list[Report]:
    """The same reports at times of no schedule: steps of `step_s`, 10 s more, 20 s more and so on."""
    length_s = sum(step_s + 10 * i for i in range(len(reports)))
    time_s = NOW_S - length_s
    for i, report in enumerate(reports):
        time_s += step_s + 10 * i
        report.time_s = time_s
    return reports


def table() -> list[tuple[str, int, int]]:
    """(case, bytes for one report, bytes for ten)."""

    def case(name: str, **said: object) -> tuple[str, int, int]:
        return name, phy_len(worst(1), **said), phy_len(worst(10), **said)

    def aged(name: str, age_s: int, distance: int) -> tuple[str, int, int]:
        floor = SEQ - distance
        return name, phy_len(worst(1, age_s=age_s), floor=floor), phy_len(worst(10, age_s=age_s), floor=floor)

    opened = [(3, 40_000, True)]
    lost = (100, JOURNAL_FULL)
    return [
        ("ordinary weather", phy_len(calm(1)), phy_len(calm(10))),
        ("worst values", phy_len(worst(1)), phy_len(worst(10))),
        aged("worst values, 3 days old", 262_143, 0),
        aged("worst values, 1023 above the floor, 68 minutes old", 4095, 1023),
        aged("worst values, 15 above the floor, 3 days old", 262_143, 15),
        ("worst values, 16383 above the floor, 2 minutes old", phy_len(worst(1, age_s=127), floor=SEQ - 16_383),
         phy_len(worst(10, age_s=127, step_s=10), floor=SEQ - 16_383)),
        ("worst values, steps of a day", phy_len(worst(1)), phy_len(worst(10, age_s=777_600 + 60, step_s=86_400))),
        ("worst values, clock jitters by 1 s", phy_len(worst(1)), phy_len(worst(10, jitter_s=1))),
        ("worst values, no two steps alike (below 256 s)", phy_len(worst(1)), phy_len(irregular(worst(10), 40))),
        ("worst values, no two steps alike (an hour and more)", phy_len(worst(1)), phy_len(irregular(worst(10), 3600))),
        ("ordinary weather, no two steps alike (an hour and more)", phy_len(calm(1)),
         phy_len(irregular(calm(10), 3600))),
        aged("far above the floor and old (16383, 3 days)", 262_143, 16_383),
        aged("older than 3 days, of this boot", 300_000, 0),
        ("particles off the scale (all above 1022 ug/m3)", phy_len(worst(1, wide=True)),
         phy_len(worst(10, wide=True))),
        case("FULL", full=True),
        case("FULL, with when the boot began", full=True, began_s=BEGAN_S),
        case("older boot", **OLD),
        case("older boot, with when it began", began_s=BEGAN_S, **OLD),
        case("FULL, older boot", full=True, **OLD),
        case("FULL, older epoch and boot", full=True, other_epoch=3, **OLD),
        case("raised floor", floor_lost=lost),
        case("FULL, raised floor", full=True, floor_lost=lost),
        case("FULL, one epoch opened", full=True, epochs_opened=opened),
        case("FULL, older epoch and boot, raised floor, one epoch opened", full=True, other_epoch=2,
             floor_lost=lost, epochs_opened=opened, **OLD),
        case("all that a frame can say", full=True, other_epoch=2, floor_lost=lost, epochs_opened=opened,
             began_s=BEGAN_S, **OLD),
    ]  # fmt: skip


def lines() -> list[str]:
    """The table in Markdown."""
    head = ["| frame | one report | over 28 | ten reports | over 120 |", "| --- | --- | --- | --- | --- |"]
    return head + [
        f"| {name} | {one} | {max(0, one - ONE_MAX) or '-'} | {ten} | {max(0, ten - TEN_MAX) or '-'} |"
        for name, one, ten in table()
    ]


if __name__ == "__main__":
    print("\n".join(lines()))
