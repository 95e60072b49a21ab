"""Gateways that call each other over real sockets: all comes to all; strangers get nothing and cost little."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.config_lan import LanConfig, place_of
from gateway.errors import ConfigError
from gateway.identity.cbor import decode, encode
from gateway.identity.cose import sign1
from gateway.registry import statement as st
from gateway.registry.bundle import Taken, encode_piece
from gateway.registry.lan_sync import LanSync
from gateway.registry.registry import Registry
from lamppost.broker import free_ports
from tests.gateway.registry.sites import Person, about, carry, forged, new_key, town
from tests.gateway.registry.test_mqtt_sync import until_equal

_CONTEXT = b"lamppost lan 1"


@dataclass
class Office:
    """A gateway's registry on the LAN, and what it said."""

    sync: LanSync
    counted: Counter[str]
    told: list[Taken] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.sync.port


@asynccontextmanager
async def on_the_lan(
    registries: Sequence[Registry], calls: Sequence[Sequence[int]], *, hello_s: float = 10.0
) -> AsyncIterator[list[Office]]:
    """Each listens; `calls` says whom each calls, by number."""
    ports = free_ports(len(registries))
    offices = []
    async with asyncio.TaskGroup() as tasks:
        running = []
        for at, registry in enumerate(registries):
            peers = tuple(f"127.0.0.1:{ports[other]}" for other in calls[at])
            told: list[Taken] = []
            counted: Counter[str] = Counter()
            config = LanConfig(listen=f"127.0.0.1:{ports[at]}", peers=peers)
            sync = LanSync(
                registry,
                config,
                told=told.append,
                count=lambda name, into=counted: into.update([name]),
                hello_s=hello_s,
            )
            offices.append(Office(sync, counted, told))
            running.append(tasks.create_task(sync.run()))
        await until(lambda: all(one.port for one in offices))
        yield offices
        for task in running:
            task.cancel()


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not fact():
            await asyncio.sleep(0.02)


async def test_what_each_knows_comes_to_all_along_a_line(tmp_path: Path) -> None:
    with town(tmp_path) as oslo:
        gateways = [oslo.add_gateway(name) for name in ("gw-1", "gw-2", "gw-3")]
        nodes = [Person() for _ in range(600)]  # more than one piece
        oslo.say(*(one.enrol() for one in nodes))
        carry(oslo.authority, gateways[0])
        for gateway in gateways:
            gateway.append([about(st.SUSPEND, nodes[0].id)], gateway.holder)
        async with on_the_lan(gateways, [[1], [0, 2], [1]]):
            await until_equal(gateways)
            assert len({one.state_digest() for one in gateways}) == 1
            oslo.say(about(st.REVOKE, nodes[1].id))
            carry(oslo.authority, gateways[2])  # and while they are linked
            await until_equal(gateways)
        assert [one.identity(nodes[1].id).status for one in gateways] == ["revoked"] * 3  # type: ignore[union-attr]


class Stranger:
    """Somebody at the listener's door."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Stranger:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def send(self, item: bytes) -> None:
        self.writer.write(len(item).to_bytes(4, "big") + item)

    async def receive(self) -> bytes:
        """The next item; b"" once it was hung up on."""
        try:
            return await self.reader.readexactly(int.from_bytes(await self.reader.readexactly(4), "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def meet(self, signer, writer: str, *, part: str = "dials") -> bytes:  # type: ignore[no-untyped-def]
        """Say who we are. Returns what is said after the proof: sizes, or b"" if it hung up."""
        own = secrets.token_bytes(16)
        self.send(encode([1, own]))
        _, other = decode(await self.receive())
        self.send(sign1(signer, encode([writer, part, own, other]), external=_CONTEXT))
        await self.receive()
        return await self.receive()


async def test_only_gateways_of_the_site_that_count_are_spoken_with(tmp_path: Path) -> None:
    with town(tmp_path) as oslo:
        one, two = oslo.add_gateway("gw-1"), oslo.add_gateway("gw-2")
        for gateway in (one, two):
            carry(oslo.authority, gateway)
        async with on_the_lan([one], [[]]) as (office,):

            async def met(signer, writer: str, **how: str) -> bool:  # type: ignore[no-untyped-def]
                async with Stranger(office.port) as stranger:
                    return bool(await stranger.meet(signer, writer, **how))

            assert await met(two.holder, "oslo/gw-2")
            assert not await met(new_key(), "oslo/gw-2")  # the name without the key
            assert not await met(two.holder, "oslo/gw-9")
            assert not await met(oslo.key, "oslo/authority")
            assert not await met(two.holder, "oslo/gw-1")  # its own name
            assert not await met(two.holder, "oslo/gw-2", part="listens")
            oslo.say(about(st.GATEWAY_REVOKE, "oslo/gw-2", limit=0))
            carry(oslo.authority, one)
            assert not await met(two.holder, "oslo/gw-2")
            await until(lambda: office.counted.total() >= 6)
        assert office.counted == {
            "registry_lan_stranger": 3,
            "registry_lan_impostor": 3,
            "registry_lan_broken_off": 1,
        }


async def test_a_proof_holds_for_one_conversation(tmp_path: Path) -> None:
    with town(tmp_path) as oslo:
        one, two = oslo.add_gateway("gw-1"), oslo.add_gateway("gw-2")
        for gateway in (one, two):
            carry(oslo.authority, gateway)
        async with on_the_lan([one], [[]]) as (office,):
            async with Stranger(office.port) as first:
                own = secrets.token_bytes(16)
                first.send(encode([1, own]))
                _, other = decode(await first.receive())
                proof = sign1(two.holder, encode(["oslo/gw-2", "dials", own, other]), external=_CONTEXT)
                first.send(proof)
                await first.receive()
                assert await first.receive()
            async with Stranger(office.port) as second:  # the recording, played again
                second.send(encode([1, own]))
                await second.receive()
                second.send(proof)
                await second.receive()
                assert not await second.receive()
            await until(lambda: office.counted["registry_lan_impostor"] == 1)


async def test_a_crowd_at_the_door_gets_no_place_and_keeps_nobody_from_calling(tmp_path: Path) -> None:
    with town(tmp_path) as oslo:
        one, two = oslo.add_gateway("gw-1"), oslo.add_gateway("gw-2")
        node = Person()
        oslo.say(node.enrol())
        carry(oslo.authority, two)
        async with on_the_lan([one, two], [[1], []], hello_s=0.5) as (office, _):
            crowd = [await asyncio.open_connection("127.0.0.1", office.port) for _ in range(40)]
            crowd[0][1].write(b"\xff\xff\xff\xff" + bytes(100_000))  # 4 GiB, it says
            await until_equal([one, two])  # it calls
            assert office.counted["registry_lan_no_place"] >= 30
            await until(lambda: office.counted["registry_lan_broken_off"] >= 1)  # who says nothing loses its place
            assert office.counted["registry_lan_too_long"] == 1
            for _, writer in crowd:
                writer.transport.abort()
            async with Stranger(office.port) as late:
                assert await late.meet(two.holder, "oslo/gw-2")
        assert one.identity(node.id) is not None


async def test_a_false_piece_ends_the_conversation_by_name(tmp_path: Path) -> None:
    with town(tmp_path) as oslo:
        one, two = oslo.add_gateway("gw-1"), oslo.add_gateway("gw-2")
        for gateway in (one, two):
            carry(oslo.authority, gateway)
        node = Person()
        false = forged(one.writer("oslo/authority"), two.holder, [node.enrol()])  # type: ignore[arg-type]
        async with on_the_lan([one], [[]]) as (office,):
            async with Stranger(office.port) as insider:
                assert await insider.meet(two.holder, "oslo/gw-2")
                insider.send(encode({}))
                while await insider.receive():
                    pass
                insider.send(encode_piece(false))
                assert not await insider.receive()
            await until(lambda: bool(office.told))
        assert office.told[0].problems[0].problem == "unknown_key"
        assert office.counted["registry_lan_refused_piece"] == 1
        assert one.identity(node.id) is None


@pytest.mark.parametrize("text", ["", "host", ":7117", "host:0", "host:99999", "u@host:1", "host:1/x", "h o:1"])
def test_what_is_no_place_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        place_of("peers[0]", text)
