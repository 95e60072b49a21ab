"""`make bench`: one figure after the other, each by its own tool. Machines differ: compare ratios, not rates.

What is given behind it, such as --quick (make bench BENCH_ARGS=--quick), goes to the long ones.
"""

from __future__ import annotations

import subprocess
import sys

BENCHES = ("tools.bench_mqtt", "tools.bench_intake", "tools.bench_edge", "tools.bench_drain", "tools.bench_alarm")
LONG_BENCHES = ("tools.bench_store", "tools.bench_rivals")


def main() -> int:
    """Run each bench in a process of its own; returns 1 if one of them failed."""
    failed = []
    for name in (*BENCHES, *LONG_BENCHES):
        print(f"\n== {name.rpartition('_')[2]} ==", flush=True)
        options = sys.argv[1:] if name in LONG_BENCHES else []
        if subprocess.run([sys.executable, "-m", name, *options], check=False).returncode:
            failed.append(name)
    for name in failed:
        print(f"{name} failed; run it alone with: python -m {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
