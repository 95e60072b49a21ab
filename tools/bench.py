"""`make bench`: one figure after the other, each by its own tool. Machines differ: compare ratios, not rates."""

from __future__ import annotations

import subprocess
import sys

BENCHES = ("tools.bench_mqtt", "tools.bench_intake", "tools.bench_edge")


def main() -> int:
    """Run each bench in a process of its own; returns 1 if one of them failed."""
    failed = []
    for name in BENCHES:
        print(f"\n== {name.rpartition('_')[2]} ==", flush=True)
        if subprocess.run([sys.executable, "-m", name], check=False).returncode:
            failed.append(name)
    for name in failed:
        print(f"{name} failed; run it alone with: python -m {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
