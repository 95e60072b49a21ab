"""Registry logs over MQTT: gateways of a site tell each other at a broker how much they have, and send what is lacking.

Topics: <topic>/have/<gateway> tells sizes, <topic>/to/<gateway> carries pieces. Nothing that comes is believed but what
its writer signed; a stranger at the broker can at most make gateways send what they have, a few pieces at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from gateway.identity.cbor import CborError, decode, encode
from gateway.mqtt.client import ClientOptions
from gateway.mqtt.codes import PAYLOAD_FORMAT_INVALID, SUCCESS
from gateway.mqtt.errors import PacketError, SessionError
from gateway.mqtt.link import Link
from gateway.mqtt.packet import Publish
from gateway.mqtt.session import Session
from gateway.registry.bundle import BundleError, Taken, decode_piece, encode_piece, pieces_for, read_sizes, take_pieces
from gateway.registry.registry import Registry, RegistryError
from gateway.registry.statement import Statement

log = logging.getLogger(__name__)
_HEARTBEAT_S = 60.0
_PIECES_PER_ANSWER = 16
_MOST_PEERS = 256


class MqttSync:
    """One link to one broker. `told` is given what came of each piece."""

    name = "registry.sync"

    def __init__(
        self, registry: Registry, options: ClientOptions, *, topic: str, told: Callable[[Taken], None]
    ) -> None:
        if registry.me is None:
            raise RegistryError("this registry has no name in its site, so it cannot sync over MQTT")
        self._registry = registry
        self._topic = topic
        self._me = registry.me.partition("/")[2]
        self._told = told
        self._link = Link(options, name="registry sync", on_message=self._on_message)
        self._peers: dict[str, Mapping[str, int]] = {}
        self._has_news = True
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.pieces_sent = 0
        self.pieces_taken = 0
        registry.listeners.append(self._on_statement)

    async def run(self) -> None:
        """Serve until cancelled; every outage of the broker is a state, and is tried again."""
        self._loop = asyncio.get_running_loop()
        await self._link.run(self._serve)

    def status(self) -> dict[str, Any]:
        """What `gateway status` shows."""
        return {**self._link.status(), "pieces_sent": self.pieces_sent, "pieces_taken": self.pieces_taken}

    async def _serve(self, session: Session) -> None:
        filters = [f"{self._topic}/have/+", f"{self._topic}/to/{self._me}"]
        for topic_filter, code in zip(filters, await session.subscribe(filters), strict=True):
            if code >= 0x80:
                raise SessionError("not_authorised", f"subscribing to {topic_filter}; check the broker's access list")
        self._has_news = True
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._tell(session), name="registry.sync.tell")
            try:
                await session.wait_closed()
            finally:
                telling.cancel()

    async def _tell(self, session: Session) -> None:
        """What we have: at once, after each change, and now and then; to each who lacks something: a few pieces."""
        while True:
            self._wake.clear()
            try:
                if self._has_news:
                    self._has_news = False
                    await session.publish(f"{self._topic}/have/{self._me}", self._have())
                while self._peers:
                    peer, sizes = self._peers.popitem()
                    await self._answer(session, peer, sizes)
            except (SessionError, PacketError) as error:
                log.debug("registry sync: %s", error)
                return  # the session's end is seen by who waits for it
            try:
                async with asyncio.timeout(_HEARTBEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                self._has_news = True

    async def _answer(self, session: Session, peer: str, sizes: Mapping[str, int]) -> None:
        pieces = await asyncio.to_thread(self._pieces_for, sizes)
        for piece in pieces:
            await session.publish(f"{self._topic}/to/{peer}", piece)
            self.pieces_sent += 1

    def _pieces_for(self, sizes: Mapping[str, int]) -> list[bytes]:
        with self._registry.lock:
            lacking = (piece for piece in pieces_for(self._registry, sizes) if piece.entries)
            return [encode_piece(piece) for piece in islice(lacking, _PIECES_PER_ANSWER)]

    def _have(self) -> bytes:
        with self._registry.lock:
            return encode([self._me, {one.writer: one.size for one in self._registry.writers()}])

    async def _on_message(self, packet: Publish) -> int:
        if packet.topic == f"{self._topic}/to/{self._me}":
            return await self._take(packet.payload)
        try:
            peer, sizes = _read_have(packet.payload)
        except BundleError:
            return PAYLOAD_FORMAT_INVALID
        if peer != self._me and len(self._peers) < _MOST_PEERS and packet.topic == f"{self._topic}/have/{peer}":
            self._hear(peer, sizes)
        return SUCCESS

    def _hear(self, peer: str, sizes: Mapping[str, int]) -> None:
        ours = {one.writer: one.size for one in self._registry.writers()}
        if any(size > sizes.get(writer, 0) for writer, size in ours.items()):
            self._peers[peer] = sizes
            self._wake.set()
        if any(size > ours.get(writer, 0) for writer, size in sizes.items()):
            self._has_news = True  # say what we lack
            self._wake.set()

    async def _take(self, payload: bytes) -> int:
        try:
            piece = decode_piece(payload)
        except BundleError:
            return PAYLOAD_FORMAT_INVALID
        taken = await asyncio.to_thread(take_pieces, self._registry, [piece])
        self.pieces_taken += bool(taken.total)
        self._told(taken)
        return SUCCESS

    def _on_statement(self, one: Statement) -> None:
        """In whatever thread the registry is written by."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._news)

    def _news(self) -> None:
        self._has_news = True
        self._wake.set()


def _read_have(payload: bytes) -> tuple[str, dict[str, int]]:
    try:
        peer, sizes = decode(payload, largest=1 << 18)
    except (CborError, TypeError, ValueError):
        raise BundleError("this says nothing about logs") from None
    if not isinstance(peer, str):
        raise BundleError("this says nothing about logs")
    return peer, read_sizes(sizes)
