"""Registry logs over the LAN: gateways of a site call each other at configured addresses. No broker, no server.

What they say to each other is in lan_peer. A listener has a few places, and fewer for one address; whoever does not
prove within seconds to be a gateway of the site loses its place. Each gateway also calls, so that a crowd at its door
keeps nothing from it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gateway.config_lan import LanConfig, Place
from gateway.errors import ConfigError
from gateway.registry.bundle import Taken
from gateway.registry.lan_peer import DIALS, HELLO_S, LISTENS, Conversation, PeerError
from gateway.registry.registry import Registry, RegistryError
from gateway.registry.statement import Statement

log = logging.getLogger(__name__)
_PLACES = 8
_PLACES_PER_ADDRESS = 2
_EVERY_S = 15.0  # between calls without news: who only listens to us learns of ours then
_FIRST_RETRY_S = 1.0
_AFTER_NEWS_S = 1.0
_CONNECT_S = 5.0
_READ_AHEAD = 1 << 16
_MORE, _FAILED, _DONE = "more", "failed", "done"


class LanSync:
    """The listener and the calls of one gateway. `told` is given what was taken, `count` the name of each refusal."""

    name = "registry.lan"

    def __init__(
        self,
        registry: Registry,
        config: LanConfig,
        *,
        told: Callable[[Taken], None],
        count: Callable[[str], None],
        hello_s: float = HELLO_S,
    ) -> None:
        """`hello_s`: how long a caller may take to prove who it is."""
        if registry.me is None:
            raise RegistryError("this registry has no name in its site, so it cannot sync over the LAN")
        self._registry = registry
        self._config = config
        self._told = told
        self._count = count
        self._hello_s = hello_s
        self._places: Counter[str] = Counter()
        self._news = {peer: asyncio.Event() for peer in config.peer_places}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._states = {_place(peer): "not called yet" for peer in config.peer_places}
        self.port = 0
        registry.listeners.append(self._on_statement)

    async def run(self) -> None:
        """Serve until cancelled; no conversation outlives it. Raises ConfigError if the address cannot be had."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            for peer in self._news:
                tasks.create_task(self._call_for_ever(peer), name="registry.lan.call")
            if self._config.listen_place is not None:
                await self._listen(tasks, *self._config.listen_place)

    def status(self) -> dict[str, Any]:
        """What `gateway status` shows."""
        return {"state": "running", "detail": "", "listening_on": self.port or None, "peers": dict(self._states)}

    async def _listen(self, tasks: asyncio.TaskGroup, host: str, port: int) -> None:
        def on_call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.create_task(self._answer(reader, writer), name="registry.lan.answer")

        try:
            server = await asyncio.start_server(on_call, host, port, limit=_READ_AHEAD)
        except OSError as error:
            raise ConfigError("lan.listen", self._config.listen, f"cannot be listened on ({error.strerror})") from None
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = str((writer.get_extra_info("peername") or ("?",))[0])
        if self._places.total() >= _PLACES or self._places[address] >= _PLACES_PER_ADDRESS:
            self._count("registry_lan_no_place")
            writer.transport.abort()
            return
        self._places[address] += 1
        try:
            await self._hold(reader, writer, LISTENS)
        except (PeerError, OSError) as error:
            log.info("registry: conversation with %s: %s", address, error)
        finally:
            self._places[address] -= 1
            self._places += Counter()  # forget addresses without a place

    async def _call_for_ever(self, peer: Place) -> None:
        """At once, soon after each change, and now and then; after a failure at growing intervals."""
        failures = 0
        while True:
            self._news[peer].clear()
            outcome = await self._call(peer)
            if outcome == _MORE:
                continue
            failures = failures + 1 if outcome == _FAILED else 0
            wait_s = min(_EVERY_S, _FIRST_RETRY_S * 2 ** (failures - 1)) if failures else _EVERY_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s * (0.5 + random.random())):
                    await self._news[peer].wait()
            await asyncio.sleep(_AFTER_NEWS_S * random.random())

    async def _call(self, peer: Place) -> str:
        """One conversation: _MORE if another is worth having at once, _FAILED, or _DONE."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(*peer, limit=_READ_AHEAD)
            has_more = await self._hold(reader, writer, DIALS)
        except TimeoutError:
            self._note(peer, "out of reach: no answer")
            return _FAILED
        except (PeerError, OSError) as error:
            self._note(peer, f"out of reach: {error.strerror or error}" if isinstance(error, OSError) else str(error))
            return _FAILED
        self._note(peer, "catching up" if has_more else "in step")
        return _MORE if has_more else _DONE

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, part: str) -> bool:
        conversation = Conversation(reader, writer, self._registry, part=part, hello_s=self._hello_s)
        try:
            talk = await conversation.hold()
            return talk.has_more
        except PeerError as error:
            self._count(f"registry_lan_{error.reason}")
            raise
        finally:
            if conversation.taken.total or conversation.taken.problems:
                self._told(conversation.taken)
            writer.close()

    def _note(self, peer: Place, state: str) -> None:
        place = _place(peer)
        if self._states.get(place) != state:
            log.info("registry: %s: %s", place, state)
        self._states[place] = state

    def _on_statement(self, one: Statement) -> None:
        """In whatever thread the registry is written by."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for event in self._news.values():
            event.set()


def _place(peer: Place) -> str:
    return f"{peer[0]}:{peer[1]}"
