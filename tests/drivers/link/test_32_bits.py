"""link, airtime and journal on a 32-bit MicroPython, with ticks that wrap meanwhile.

It has 31-bit small integers as a board has, no cryptolib (AES is the tests' own) and POSIX files instead of littlefs.
The link's vectors and hostile frames run there too: test_seal, test_keys, test_cbor, test_hostile_frames.
"""

from __future__ import annotations

from tests.drivers.link.boxes import openssl_ecb
from tests.drivers.link.seeded import lines
from tests.peers.wasm32 import JUST_BEFORE_THE_WRAP_MS, ROOT, TICKS_PERIOD_MS, check_wasm32, repository_files

AIRTIME = repository_files("drivers/radio", "tests/drivers/radio/airtime_rows.py")
JOURNAL = repository_files(
    *(f"firmware/{path.name}" for path in (ROOT / "firmware").glob("journal*.py")),
    "drivers/link",
    "tests/firmware/journal_checks.py",
)
LINK = repository_files("drivers/link")
for name in ("seeded.py", "plain_aes.py"):
    LINK[f"/lib/{name}"] = (ROOT / "tests/drivers/link" / name).read_bytes()

ALL_CHECKS = """
from {module} import CHECKS
for check in CHECKS:
    check({given})
print(len(CHECKS))
"""


def test_the_interpreter_is_a_32_bit_one_and_its_ticks_are_about_to_wrap(wasm32) -> None:
    printed = check_wasm32("import sys, time\nprint(sys.maxsize, time.ticks_ms(), time.ticks_add(0, -1))")
    maxsize, ticks_ms, last_tick_ms = map(int, printed.split())
    assert (maxsize, last_tick_ms) == ((1 << 31) - 1, TICKS_PERIOD_MS - 1)
    assert JUST_BEFORE_THE_WRAP_MS <= ticks_ms < TICKS_PERIOD_MS


def test_link_makes_the_bytes_of_cpython_while_ticks_wrap(wasm32) -> None:
    printed = check_wasm32(
        """
import time
from plain_aes import aes_ecb
from seeded import lines
start = time.ticks_ms()
for line in lines(aes_ecb, 20):
    print(line)
while time.ticks_ms() >= start:
    pass
print(0 < time.ticks_diff(time.ticks_ms(), start) < 60000)
""",
        LINK,
    ).splitlines()
    assert printed[-1] == "True"
    assert printed[:-1] == list(lines(openssl_ecb, 20))


def test_airtime_is_exact_on_32_bits(wasm32) -> None:
    script = "from drivers.radio import airtime\nfrom tests.drivers.radio.airtime_rows import failures\n"
    assert check_wasm32(script + "print(failures(airtime))", AIRTIME) == "[]\n"


def test_journal_holds_every_rule_on_32_bits(wasm32) -> None:
    assert (
        int(check_wasm32(ALL_CHECKS.format(module="tests.firmware.journal_checks", given="'/journal'"), JOURNAL)) >= 12
    )


def test_duty_ledger_holds_every_rule_on_32_bits(wasm32) -> None:
    files = repository_files("drivers/constant.py", "drivers/radio", "tests/drivers/radio/region_checks.py")
    assert int(check_wasm32(ALL_CHECKS.format(module="tests.drivers.radio.region_checks", given=""), files)) >= 10
