"""Tables of rules that only MicroPython can run: NVS, reports and acks, alarms and samples."""

import re
from pathlib import Path

import pytest

from tests.peers.micropython import check_micropython

HERE = Path(__file__).parent
CHECKS = [
    (path.stem, name)
    for path in sorted(HERE.glob("*_checks.py"))
    for name in re.findall(r"^def (\w+)\(\):", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("module, name", CHECKS)
def test_rule(module, name):
    check_micropython(f"from tests.firmware.{module} import {name}\n{name}()", heapsize="8m")
