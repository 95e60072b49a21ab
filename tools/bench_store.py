"""What the store costs and how large it may grow, measured on the running agent: python -m tools.bench_store [--quick]

flash     bytes that the process and the device write per payload byte, at 200 and 10 readings/s, with the latency,
          without the edge's windows and with them
size      start, memory and drain speed with many records stored, beside an empty store
overload  ten times the rate it can take: memory, and whether devices are slowed down instead

Knows nothing of how the store works: the agent is the shipped command, seen through /proc, a loop device and its city.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools.measure.process import ProcessError
from tools.store import flash, overload, size


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how much.

    fast_s, slow_s  seconds at 200 and at 10 readings/s; a checkpoint is made every 900 s, or per segment of 8 MiB
    recycled        readings that go through a store before its flash is counted
    records         what is stored for `size`; 14,500,000 are about 1 GB
    drained         of these, three times, beside a store that holds twice as many
    minutes         of overload
    """

    fast_s: float = 400.0
    slow_s: float = 960.0
    recycled: int = 750_000
    records: int = 1_000_000
    drained: int = 100_000
    minutes: float = 2.0


QUICK = Plan(fast_s=8.0, slow_s=8.0, recycled=0, records=6_000, drained=2_000, minutes=0.2)


def main() -> int:
    """Measure and print; 1 if a part could not be measured."""
    options = _parser().parse_args()
    plan = QUICK if options.quick else Plan()
    parts: dict[str, Callable[[], list[Any]]] = {
        "flash": lambda: flash.measure(
            fast_s=options.seconds or plan.fast_s, slow_s=options.seconds or plan.slow_s, recycled=plan.recycled
        ),
        "size": lambda: size.measure(options.records or plan.records, plan.drained),
        "overload": lambda: overload.measure((options.minutes or plan.minutes) * 60),
    }
    found: dict[str, Any] = {}
    failed = False
    for name, measure in parts.items():
        if options.only and name not in options.only:
            continue
        try:
            found[name] = [asdict(one) for one in measure()]
        except (ProcessError, TimeoutError, OSError) as error:
            print(f"{name} was not measured: {error}", file=sys.stderr)
            failed = True
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short and small: to see that it works, not for figures")
    parser.add_argument("--only", action="append", choices=["flash", "size", "overload"], help="this part; repeatable")
    parser.add_argument("--seconds", type=float, help="length of each rate of `flash`, if not as planned")
    parser.add_argument("--records", type=int, help="records stored for `size`; 14,500,000 are about 1 GB")
    parser.add_argument("--minutes", type=float, help="length of `overload`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
