"""CPython, 64-bit MicroPython and 32-bit MicroPython make and read the same bytes, each with an AES of its own."""

from __future__ import annotations

from tests.drivers.link.boxes import openssl_ecb
from tests.drivers.link.seeded import lines
from tests.peers.micropython import check_micropython
from tests.peers.wasm32 import ROOT, check_wasm32, repository_files

FRAMES = 300
LINK_TESTS = "tests/drivers/link"
SCRIPT = """
{aes}
from seeded import lines
for line in lines(aes_ecb, {count}):
    print(line)
"""


def test_micropython_on_64_bits_makes_the_bytes_of_cpython() -> None:
    script = SCRIPT.format(aes="from drivers.link.seal import aes_ecb", count=FRAMES)
    made = check_micropython(script, path=[ROOT, ROOT / LINK_TESTS])
    assert made.splitlines() == list(lines(openssl_ecb, FRAMES))


def test_micropython_on_32_bits_makes_the_bytes_of_cpython(wasm32) -> None:
    files = repository_files("drivers/link")
    for name in ("seeded.py", "plain_aes.py"):
        files[f"/lib/{name}"] = (ROOT / LINK_TESTS / name).read_bytes()
    made = check_wasm32(SCRIPT.format(aes="from plain_aes import aes_ecb", count=FRAMES), files)
    assert made.splitlines() == list(lines(openssl_ecb, FRAMES))
