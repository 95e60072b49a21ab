"""Mutated messages at the registry's entrance: refused by name, nothing believed, nothing grows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.identity.cbor import decode, encode
from gateway.identity.cose import Signer, sign1
from gateway.registry import statement as st
from gateway.registry.bundle import BundleError, decode_piece, encode_piece
from gateway.registry.mqtt_sync import _read_have
from tests.campaign import MILLION, campaign
from tests.gateway.registry.sites import Person, about, carry, forged, town
from tests.gateway.registry.test_lan_sync import Stranger, on_the_lan, until


def mutated(rng: random.Random, message: bytes, other: bytes) -> bytes:
    """One of the things that happen to bytes."""
    changed = bytearray(message)
    at = rng.randrange(len(changed))
    match rng.randrange(6):
        case 0:
            changed[at] ^= 1 << rng.randrange(8)
        case 1:
            changed[at] = rng.randrange(256)
        case 2:
            del changed[at : at + rng.randrange(1, 9)]
        case 3:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        case 4:
            changed[at:] = other[rng.randrange(len(other)) :]
        case _:
            changed = bytearray(rng.randbytes(rng.randrange(200)))
    return bytes(changed)


@pytest.mark.parametrize("count", [3_000, MILLION])
def test_mutated_pieces_are_refused_by_name_and_change_nothing(tmp_path: Path, count: int, capsys) -> None:
    rng = random.Random(2026)
    with town(tmp_path) as oslo, campaign("registry sync", count, capsys) as names:
        gateway = oslo.add_gateway("gw-1")
        oslo.say(*(Person().enrol(label=f"lamp-{at}") for at in range(3)))
        honest = encode_piece(next(oslo.authority.own().pieces(gateway.writer("oslo/authority").size)))
        suspension = forged(oslo.authority.writer("oslo/gw-1"), gateway.holder, [about(st.SUSPEND, "x")])  # type: ignore[arg-type]
        other = encode_piece(suspension)
        before = gateway.state_digest()
        size = gateway.writer("oslo/authority").file.size()
        for _ in range(count):
            message = mutated(rng, honest, other)
            if message in (honest, other):
                continue
            try:
                outcome = gateway.take(decode_piece(message))
            except BundleError:
                names["no piece"] += 1
                continue
            assert outcome.taken == 0
            names[outcome.problem or "nothing new"] += 1
        assert gateway.state_digest() == before
        assert gateway.writer("oslo/authority").file.size() == size
        assert len(gateway._logs) <= 2
        assert not gateway.forked
        assert {"no piece", "tampered", "malformed", "unknown_writer"} <= set(names)


@pytest.mark.parametrize("count", [3_000, MILLION])
def test_mutated_sizes_are_read_or_refused(count: int, capsys) -> None:
    rng = random.Random(2027)
    honest = encode(["gw-1", {"oslo/authority": 99, "oslo/gw-1": 5}])
    assert _read_have(honest)[1]["oslo/gw-1"] == 5
    with campaign("registry sync, sizes", count, capsys) as outcomes:
        for _ in range(count):
            try:
                _read_have(mutated(rng, honest, honest))
                outcomes["read"] += 1
            except BundleError:
                outcomes["malformed"] += 1
    assert outcomes["malformed"]


@pytest.mark.parametrize("count", [200, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(3_600)])])
async def test_mutated_conversations_are_refused_by_name(tmp_path: Path, count: int, capsys) -> None:
    """At the listener of the LAN: each message is one item of a conversation, spoilt; the rest of it is honest."""
    rng = random.Random(2028)
    with town(tmp_path) as oslo:
        one, two = oslo.add_gateway("gw-1"), oslo.add_gateway("gw-2")
        for gateway in (one, two):
            carry(oslo.authority, gateway)
        oslo.say(Person().enrol())
        piece = encode_piece(next(oslo.authority.own().pieces(one.writer("oslo/authority").size)))
        before = one.state_digest()
        async with on_the_lan([one], [[]]) as (office,):
            with campaign("registry LAN", count, capsys) as outcomes:
                for _ in range(count):
                    await _converse(office.port, two.holder, rng, piece)
                await until(lambda: not office.sync._places)
                outcomes.update(office.counted)
        assert one.state_digest() == before
        assert {"registry_lan_malformed", "registry_lan_impostor"} <= set(outcomes)


async def _converse(port: int, holder: Signer, rng: random.Random, piece: bytes) -> None:
    """One conversation in which one of four items is not what it should be; then the line is cut."""
    spoilt = rng.randrange(4)

    def item(at: int, honest: bytes) -> bytes:
        return mutated(rng, honest, piece) if at == spoilt else honest

    async with Stranger(port) as stranger:
        own = rng.randbytes(16)
        stranger.send(item(0, encode([1, own])))
        hello = await stranger.receive()
        other = decode(hello)[1] if hello else bytes(16)
        stranger.send(item(1, sign1(holder, encode(["oslo/gw-2", "dials", own, other]), external=b"lamppost lan 1")))
        await stranger.receive()
        stranger.send(item(2, encode({"oslo/authority": 1})))
        if spoilt == 3 and (false := mutated(rng, piece, encode({}))) != piece:
            stranger.send(false)
        stranger.writer.write_eof()
        while await stranger.receive():
            pass
