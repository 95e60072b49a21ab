"""The journal on littlefs under MicroPython, and on CPython, where tools read it."""

import pytest

from tests.firmware import journal_checks
from tests.peers.micropython import check_micropython


@pytest.mark.parametrize("check", journal_checks.CHECKS, ids=lambda check: check.__name__)
def test_rule_on_cpython(check, tmp_path):
    check(str(tmp_path / "journal"))


@pytest.mark.parametrize("name", [check.__name__ for check in journal_checks.CHECKS])
def test_rule_on_littlefs(name):
    check_micropython(f"""
from tests.firmware.bench import Flash, Supply
from tests.firmware.journal_checks import {name}
Flash(Supply()).mount()
{name}("/node/journal")
""")
