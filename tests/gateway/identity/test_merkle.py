"""Merkle trees against published roots and a naive reading of RFC 9162."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity import merkle

# Inputs and roots of the test data in github.com/google/certificate-transparency (RFC 6962 and 9162 hash alike).
ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
sizes = st.integers(1, 70)


def naive_root(entries: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def leaves(size: int) -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % at) for at in range(size)]


@pytest.mark.parametrize("size", range(1, 9))
def test_published_root(size: int) -> None:
    assert merkle.root_of([merkle.leaf_hash(one) for one in ENTRIES[:size]]).hex() == ROOTS[size - 1]


def test_published_proofs() -> None:
    hashes = [merkle.leaf_hash(one) for one in ENTRIES]
    assert [one.hex() for one in merkle.inclusion_proof(hashes[:8], 5)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [one.hex() for one in merkle.consistency_proof(hashes, 6)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_root_is_that_of_the_naive_reading(entries: list[bytes]) -> None:
    frontier = merkle.Frontier()
    for entry in entries:
        frontier.add(merkle.leaf_hash(entry))
    assert frontier.root() == naive_root(entries) == merkle.root_of([merkle.leaf_hash(one) for one in entries])


@given(sizes, st.data())
def test_inclusion_proof_proves_its_own_leaf_and_no_other(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    proof, root = merkle.inclusion_proof(hashes, index), merkle.root_of(hashes)
    assert merkle.verify_inclusion(hashes[index], index, size, proof, root)
    assert merkle.verify_inclusion(hashes[other], index, size, proof, root) == (other == index)
    if other != index:
        assert not merkle.verify_inclusion(hashes[index], other, size, proof, root)
    assert not merkle.verify_inclusion(hashes[index], index, size, [*proof, root], root)
    if proof:
        assert not merkle.verify_inclusion(hashes[index], index, size, proof[:-1], root)


@given(sizes, st.data())
def test_consistency_proof_proves_growth_and_no_change(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    old = data.draw(st.integers(1, size))
    proof, root = merkle.consistency_proof(hashes, old), merkle.root_of(hashes)
    assert merkle.verify_consistency(old, merkle.root_of(hashes[:old]), size, root, proof)
    changed = list(hashes[:old])
    changed[data.draw(st.integers(0, old - 1))] = bytes(32)
    assert not merkle.verify_consistency(old, merkle.root_of(changed), size, root, proof)
    assert not merkle.verify_consistency(old, merkle.root_of(hashes[:old]), size, bytes(32), proof)
    assert not merkle.verify_consistency(old, merkle.root_of(hashes[:old]), size, root, [*proof, bytes(32)])


def test_proofs_of_what_is_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="no leaf 3"):
        merkle.inclusion_proof(leaves(3), 3)
    with pytest.raises(ValueError, match="no earlier state"):
        merkle.consistency_proof(leaves(3), 4)
    assert not merkle.verify_inclusion(leaves(1)[0], 1, 1, [], leaves(1)[0])
    assert not merkle.verify_consistency(0, merkle.EMPTY_ROOT, 1, leaves(1)[0], [])
