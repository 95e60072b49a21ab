"""Lamppost beside what else people use, in one run: python -m tools.bench_rivals [--quick] [--only NAME] [--json FILE]

Each system in turn on the same cores, with the same load, in folders of its own; docs/qa.md says how to read the table.
A full run takes about half an hour with three runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tools.measure.process import ProcessError
from tools.rivals import bridge, ceilings, nats, ours, table, thingsboard, venv
from tools.rivals.nats_wire import NatsError
from tools.rivals.phases import QUICK, Lengths, measure_losses, measure_speed
from tools.rivals.table import Results

KINDS = (
    ours.LISTENER,
    ours.BROKER,
    bridge.BRIDGE,
    thingsboard.MEMORY,
    thingsboard.FILE,
    thingsboard.SQLITE,
    nats.NATS,
)
_TROUBLE = (ProcessError, NatsError, TimeoutError, OSError)


def main() -> int:
    """Measure and print. 1 if one of ours could not be measured; a rival that is missing is named in the table."""
    options = _parser().parse_args()
    kinds = [kind for kind in KINDS if not options.only or any(name in kind.name.lower() for name in options.only)]
    if not kinds:
        print(f"no system is called so; there are: {', '.join(kind.name for kind in KINDS)}", file=sys.stderr)
        return 2
    lengths = QUICK if options.quick else Lengths()
    runs = options.runs or (1 if options.quick else 3)
    results = [Results(kind) for kind in kinds]
    _require_venv(results)
    print("Ceilings, before anything is between load and city:")
    for line in ceilings.lines(lengths):
        print(f"  {line}", flush=True)
    for run in range(runs):
        for one in results:
            _measure(one, lengths, f"run {run + 1} of {runs}", with_faults=run < options.fault_runs)
    print()
    print("\n".join(table.lines(results, lengths, runs=runs)))
    if options.json:
        options.json.write_text(json.dumps([one.as_dict() for one in results], indent=2))
    return 1 if any(one.trouble for one in results if one.kind in (ours.LISTENER, ours.BROKER)) else 0


def _require_venv(results: list[Results]) -> None:
    """Install the rivals from PyPI; who cannot be installed is named and left out."""
    wanting = [one for one in results if one.kind.needs_venv]
    if not wanting:
        return
    try:
        venv.install()
    except ProcessError as error:
        for one in wanting:
            one.trouble.append(f"not installed: {error}")


def _measure(one: Results, lengths: Lengths, which: str, *, with_faults: bool) -> None:
    if one.trouble:
        return
    print(f"{which}: {one.kind.name}", file=sys.stderr, flush=True)
    try:
        one.speeds.append(measure_speed(one.kind, lengths))
        if with_faults:
            one.losses.append(measure_losses(one.kind, lengths))
    except _TROUBLE as error:
        one.trouble.append(f"{which}: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short run: to see that it works, not for figures")
    parser.add_argument("--only", action="append", metavar="NAME", type=str.lower, help="systems whose name has this")
    parser.add_argument("--runs", type=int, help="interleaved runs to take medians of (default: 3)")
    parser.add_argument("--fault-runs", type=int, default=1, help="in how many of them to kill and cut (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
