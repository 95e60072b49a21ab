"""The four frauds as an operator meets them: a bundle on a stick, the command, and the word for what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.identity.cbor import encode
from gateway.identity.cose import KeySigner
from gateway.registry import opening
from gateway.registry import statement as st
from gateway.registry.bundle import MAGIC, encode_piece
from gateway.registry.writer import Piece
from lamppost.cli import main
from tests.gateway.registry.sites import Person, Town, about, forged, town


def holder_of(city: Town) -> KeySigner:
    holder = city.gateways["gw-1"].holder
    assert isinstance(holder, KeySigner)
    return holder


def tampered(city: Town) -> Piece:
    """One byte of an honest entry."""
    start = city.gateways["gw-2"].writer("oslo/authority").size
    city.say(Person().enrol(), Person().enrol())
    piece = next(city.authority.own().pieces(start))
    entries = list(piece.entries)
    entries[1] = entries[1][:-1] + bytes([entries[1][-1] ^ 1])
    return Piece(writer=piece.writer, start=start, entries=entries, head=piece.head)


def gateway_signed_enrolment(city: Town) -> Piece:
    return forged(city.gateways["gw-1"].own(), holder_of(city), [Person().enrol()])


def fork(city: Town) -> Piece:
    """Another history than the one that gw-2 has."""
    one, two = city.gateways["gw-1"], city.gateways["gw-2"]
    other = forged(one.own(), holder_of(city), [about(st.SUSPEND, Person().id)])
    one.append([about(st.SUSPEND, Person().id)], one.holder)
    assert two.take(next(one.own().pieces())).taken == 1
    return other


def rolled_back_image(city: Town) -> Piece:
    """gw-2 has two entries of gw-1, whose image of one entry signs its head again, a minute later."""
    one, two = city.gateways["gw-1"], city.gateways["gw-2"]
    for _ in range(2):
        one.append([about(st.SUSPEND, Person().id)], one.holder)
    assert sum(two.take(piece).taken for piece in one.own().pieces()) == 2
    return forged(one.own(), holder_of(city), [], start=1, later_s=60)


@pytest.mark.parametrize(
    "fraud, writer, word",
    [
        (tampered, "oslo/authority", "tampered"),
        (gateway_signed_enrolment, "oslo/gw-1", "not_allowed"),
        (fork, "oslo/gw-1", "fork"),
        (rolled_back_image, "oslo/gw-1", "rolled_back"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_each_fraud_is_refused_and_named(
    tmp_path: Path, capsys, fraud: Callable[[Town], Piece], writer: str, word: str
) -> None:
    with town(tmp_path) as city:
        for name in ("gw-1", "gw-2"):
            city.add_gateway(name)
        piece = encode_piece(fraud(city))
        store = city.folder_of("gw-2")
    header = encode({1: "oslo", 2: "oslo/gw-1", 3: 0})
    stick = tmp_path / "stick.bundle"
    stick.write_bytes(MAGIC + b"".join(len(one).to_bytes(4, "big") + one for one in (header, piece)))
    with opening.open_registry(store, read_only=True) as before:
        digest = before.state_digest()
    assert main(["registry", "sync", "--store", str(store), "--import", str(stick)]) == 1
    said = capsys.readouterr().out
    assert f"REFUSED  {writer}: {word}: " in said
    with opening.open_registry(store, read_only=True) as after:
        assert after.state_digest() == digest
    with capsys.disabled():
        print(f"\n{said.splitlines()[-1]}")
