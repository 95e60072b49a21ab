"""A million hostile messages at one entrance: what became of them by name, and that memory stayed where it was."""

from __future__ import annotations

import gc
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MILLION = pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(7_200)], id="million")
_MOST_MIB = 32.0  # of growth: caches fill up, and the allocator keeps some


@contextmanager
def campaign(entrance: str, count: int, capsys: pytest.CaptureFixture[str]) -> Iterator[Counter[str]]:
    """Count what becomes of each message into what this yields. A long one prints it; memory may not grow by much."""
    outcomes: Counter[str] = Counter()
    gc.collect()
    _forget_peak()
    before_mib, began_s = _mib("VmRSS"), time.process_time()
    yield outcomes
    grown_mib = _mib("VmHWM") - before_mib
    if count >= 1_000_000:
        told = {"entrance": entrance, "messages": count, "outcomes": dict(outcomes.most_common())}
        told |= {"peak_growth_mib": round(grown_mib, 1), "cpu_s": round(time.process_time() - began_s)}
        with capsys.disabled():
            print(f"\n{json.dumps(told)}")
    assert grown_mib <= _MOST_MIB, f"memory grew by {grown_mib:.0f} MiB"


def _mib(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def _forget_peak() -> None:
    """VmHWM begins anew. Source: proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5")
