"""P-256 and the EDHOC initiator: RFC 9529 on CPython, on 64-bit MicroPython from source and .mpy, and on 32 bits."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from boards.mpy import compile_file
from drivers.link import p256, p256_base
from tests.drivers.link import edhoc_checks
from tests.drivers.link.boxes import openssl_ecb
from tests.peers.micropython import check_micropython
from tests.peers.wasm32 import ROOT, check_wasm32, repository_files

VECTOR_FILES = {
    name: ROOT / f"tests/vectors/rfc9529_{file}.json"
    for name, file in (
        ("trace", "ch3_summary"),
        ("invalid", "ch4_invalid"),
    )
}
VECTORS = {name: json.loads(path.read_text()) for name, path in VECTOR_FILES.items()}
MODULES = ("frame", "seal", "keys", "cbor", "edhoc", "p256", "p256_base", "initiator")
ON_A_BOARD = """
import json, sys
{aes}
from {module} import CHECKS
vectors = {{}}
for name, path in {paths!r}.items():
    with open(path) as file:
        vectors[name] = json.load(file)
for check in CHECKS:
    check(vectors, aes_ecb)
print(len(CHECKS), "checks hold")
"""
JOIN = """
import gc, json, sys
from drivers.link.seal import aes_ecb
from drivers.link import edhoc, p256, p256_base
from drivers.link.initiator import Offer, Owner
octets = bytes.fromhex
with open({path!r}) as file:
    trace = json.load(file)
x = p256.scalar(octets(trace["X"]))
owner = Owner(p256.scalar(octets(trace["I"])), octets(trace["CRED_I"]), octets(trace["kid_I"]))
gateway = p256_base.public(p256.scalar(octets(trace["R"])))
gc.collect()
idle = gc.mem_alloc()
offer = Offer(owner, x, p256_base.public(x)[0], c_i=octets(trace["C_I"]), suites=(6, 2))
offer.expect(gateway)
gc.collect()
waiting = gc.mem_alloc()
answer = offer.read(octets(trace["message_2"]))
gc.collect()
proven = answer.verify([(gateway, octets(trace["CRED_R"]))])
gc.collect()
agreement = proven.finish((), aes=aes_ecb)
gc.collect()
assert agreement.message_3 == octets(trace["message_3"])
print(waiting - idle, gc.mem_alloc() - idle, idle)
"""


@pytest.mark.parametrize("check", edhoc_checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_on_cpython(check) -> None:
    check(VECTORS, openssl_ecb)


def base_table() -> dict[str, bytes]:
    """The table that lies beside p256_base, by its path on a board."""
    return {"/lib/drivers/link/p256_base.bin": (ROOT / "drivers/link/p256_base.bin").read_bytes()}


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    """A folder with what a join needs, compiled as for a board."""
    names = ["drivers/__init__", "drivers/constant", "drivers/link/__init__", *(f"drivers/link/{m}" for m in MODULES)]
    for name in names:
        path = tmp_path / f"{name}.mpy"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(compile_file(ROOT / f"{name}.py", name=f"{name}.py"))
    (tmp_path / "drivers/link/p256_base.bin").write_bytes((ROOT / "drivers/link/p256_base.bin").read_bytes())
    return tmp_path


def script(module: str, aes: str, paths: dict[str, str]) -> str:
    return ON_A_BOARD.format(aes=aes, module=module, paths=paths)


def test_on_micropython_from_source() -> None:
    paths = {name: str(path) for name, path in VECTOR_FILES.items()}
    text = script("tests.drivers.link.edhoc_checks", "from drivers.link.seal import aes_ecb", paths)
    assert check_micropython(text) == f"{len(edhoc_checks.CHECKS)} checks hold\n"


def test_on_micropython_from_mpy(lib: Path) -> None:
    (lib / "edhoc_checks.py").write_bytes(Path(edhoc_checks.__file__).read_bytes())
    paths = {name: str(path) for name, path in VECTOR_FILES.items()}
    text = "import sys\nsys.path.remove('')\n"
    text += script("edhoc_checks", "from drivers.link.seal import aes_ecb", paths)
    assert check_micropython(text, path=[lib]) == f"{len(edhoc_checks.CHECKS)} checks hold\n"


def test_on_32_bits(wasm32) -> None:
    files = repository_files("drivers/link")
    files["/lib/plain_aes.py"] = (ROOT / "tests/drivers/link/plain_aes.py").read_bytes()
    files["/lib/edhoc_checks.py"] = Path(edhoc_checks.__file__).read_bytes()
    files |= base_table()
    files |= {f"/{name}.json": path.read_bytes() for name, path in VECTOR_FILES.items()}
    text = script("edhoc_checks", "from plain_aes import aes_ecb", {name: f"/{name}.json" for name in VECTORS})
    assert check_wasm32(text, files, heapsize=16 << 20) == f"{len(edhoc_checks.CHECKS)} checks hold\n"


def test_a_whole_join_fits_a_small_heap(lib: Path) -> None:
    """64-bit objects; a board's are half as large."""
    text = "import sys\nsys.path.remove('')\n" + JOIN.format(path=str(VECTOR_FILES["trace"]))
    waiting, joined, loaded = map(int, check_micropython(text, path=[lib], heapsize="64k").split())
    print(f"loaded {loaded} bytes, {waiting} while waiting for message_2, {joined} when agreed (64 bits)")
    assert max(waiting, joined) < 4_000


@pytest.mark.parametrize("round_", range(8))
def test_products_and_signatures_are_those_of_openssl(round_: int) -> None:
    mine, theirs = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    numbers = theirs.public_key().public_numbers()
    point, private = (numbers.x, numbers.y), mine.private_numbers().private_value
    assert p256_base.public(theirs.private_numbers().private_value) == point
    assert p256.to_octets(p256.multiply(point, private)[0]) == mine.exchange(ec.ECDH(), theirs.public_key())
    message = secrets.token_bytes(round_)
    signature = b"".join(map(p256.to_octets, decode_dss_signature(theirs.sign(message, ec.ECDSA(hashes.SHA256())))))
    hashed = hashlib.sha256(message).digest()
    assert p256_base.is_signed(point, hashed, signature)
    assert not p256_base.is_signed(p256.lift(5), hashed, signature)


def test_the_comb_in_flash_is_the_generators() -> None:
    generator = p256_base.public(1)
    for entry in range(1, 64):
        factor = sum(1 << 43 * tooth for tooth in range(6) if entry >> tooth & 1)
        with p256_base.Base() as base:
            assert base.entry(entry) == p256.multiply(generator, factor)


@pytest.mark.parametrize("octets", [bytes(33), b"\x04" + bytes(32), b"\x02" + b"\xff" * 32, b"\x02" * 32])
def test_what_is_no_point_is_refused(octets: bytes) -> None:
    with pytest.raises(p256.CurveError):
        p256.decompress(octets)


class Counted(int):
    """An integer that counts products of large numbers."""

    products = 0

    def __mul__(self, other):
        if isinstance(other, int) and abs(other) > 16 and abs(self) > 16:
            Counted.products += 1
        return Counted(int(self) * int(other))

    def __rmul__(self, other):
        return Counted(int(self) * int(other))  # by a small constant

    def __mod__(self, other):
        return Counted(int(self) % other)

    def __add__(self, other):
        return Counted(int(self) + int(other))

    __radd__ = __add__

    def __sub__(self, other):
        return Counted(int(self) - int(other))

    def __rsub__(self, other):
        return Counted(int(other) - int(self))


def counted(call) -> int:
    Counted.products = 0
    call()
    return Counted.products


def test_products_are_few(monkeypatch) -> None:
    """Modular products of 256 bits, without those inside pow: an inversion is one call of it."""
    factor = 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95
    point = tuple(map(Counted, p256_base.public(factor)))
    unpacked = p256.unpacked
    for module in (p256, p256_base):
        monkeypatch.setattr(module, "unpacked", lambda octets: tuple(map(Counted, unpacked(octets))))
    signer = tuple(map(Counted, edhoc_checks._SIGNER))
    digest = hashlib.sha256(b"sample").digest()
    counts = {
        "ECDH": counted(lambda: p256.multiply(point, factor)),
        "two products of one point": counted(lambda: p256.multiply_by_both(point, factor, factor ^ 0xABCDEF)),
        "key generation": counted(lambda: p256_base.public(factor)),
        "ECDSA verify": counted(lambda: p256_base.is_signed(signer, digest, edhoc_checks._SIGNATURE)),
    }
    print(counts)
    limits = {"ECDH": 2_720, "two products of one point": 4_120, "key generation": 810, "ECDSA verify": 3_200}
    assert all(0 < counts[name] <= limit for name, limit in limits.items()), counts
