"""What drivers.link costs a node: heap that its import from .mpy keeps, and none that a frame keeps."""

from __future__ import annotations

import pytest

from boards.mpy import compile_file
from tests.peers.micropython import check_micropython
from tests.peers.wasm32 import ROOT, check_wasm32

NODE_MODULES = (
    "frame",
    "keys",
    "bits",
    "schema",
    "cbor",
    "ack",
    "pack",
    "seal",
)  # unpack and reasons are the gateway's
RETAINED_MAX = {"64 bits": 29_200, "32 bits": 19_500}  # as measured, and 3 % for another interpreter
IMPORTS = "\n".join(f"import drivers.link.{name}" for name in NODE_MODULES)
MEASURE = (
    "import gc, hashlib, sys\nsys.path.remove('')\ngc.collect()",  # '' is where the sources lie
    f"before = gc.mem_alloc()\n{IMPORTS}\ngc.collect()",
    "print(gc.mem_alloc() - before)",
)
CYCLES = """
import gc, sys
sys.path.remove("")
from drivers.link.ack import pack_ack, unpack_ack
from drivers.link.frame import REPORT, aad_uplink, parse_downlink, uplink_header
from drivers.link.keys import UP, derive, nonce
from drivers.link.pack import Report, pack
from drivers.link.seal import Ccm, aes_ecb

key, iv = derive(bytes(32), 1, UP)
box = Ccm(aes_ecb(key))
reports = [Report(i, 60 * i, 3, (2150 + i, 5500, 101325, i, i, 1023 + i)) for i in range(10)]


def cycle(counter):
    body, count = pack(reports, uptime_s=700, floor=0, max_len=200)
    head = uplink_header(REPORT, 7, counter)
    sealed = box.seal(nonce(iv, counter), aad_uplink(head, 1, counter), body)
    unpack_ack(pack_ack(5, 3)).resolve(counter).holds(7)
    return len(head) + len(sealed)


def retained(cycles):
    for i in range(cycles):
        cycle(i)
    gc.collect()
    return gc.mem_alloc()


retained(10)
gc.collect()
gc.disable()
start = gc.mem_alloc()
size = cycle(7)
used = gc.mem_alloc() - start
gc.enable()
first = later = retained(100)
later = retained(2000)
print(later - first, used, size)
"""


def compiled() -> dict[str, bytes]:
    """The node's part of drivers.link as it is put on a board, by path below /lib."""
    names = [
        "drivers/__init__",
        "drivers/constant",
        "drivers/link/__init__",
        *(f"drivers/link/{name}" for name in NODE_MODULES),
    ]
    return {f"{name}.mpy": compile_file(ROOT / f"{name}.py", name=f"{name}.py") for name in names}


@pytest.fixture
def lib(tmp_path):
    """A folder with the compiled files."""
    for name, content in compiled().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def test_import_keeps_little_heap_on_64_bits(lib) -> None:
    retained = int(check_micropython("\n".join(MEASURE), path=[lib]))
    size = sum(len(content) for content in compiled().values())
    print(f"drivers.link for a node, 64 bits: {retained} bytes of heap from {size} bytes of .mpy")
    assert retained <= RETAINED_MAX["64 bits"]


def test_import_keeps_little_heap_on_32_bits(wasm32) -> None:
    files = {f"/lib/{name}": content for name, content in compiled().items()}
    retained = int(check_wasm32(MEASURE, files, heapsize=65_536))
    print(f"drivers.link for a node, 32 bits: {retained} bytes of heap")
    assert retained <= RETAINED_MAX["32 bits"]


def test_a_node_seals_ten_reports_in_48k_and_keeps_nothing_of_them(lib) -> None:
    growth, used, size = map(int, check_micropython(CYCLES, path=[lib], heapsize="48k").split())
    print(f"ten reports in a frame of {size} bytes: {used} bytes of heap while it is made")
    assert growth == 0
    assert used < 4_096
