"""What every city platform offers the forwarder: one file per platform, all behind this."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.errors import GatewayError
from gateway.senml import Content, Pack


class Platform(Protocol):
    """A way to one platform, with its own connection and its own state.

    content  how packs are written for it
    on_room  set by the forwarder; called in the event loop whenever `room` may have grown
    """

    content: Content
    on_room: Callable[[], None] | None

    async def ready(self) -> None:
        """Return as soon as there is a connection to send over."""

    async def gone(self) -> None:
        """Return as soon as there is none."""

    @property
    def state(self) -> str:
        """The connection's state by name, e.g. "connected" or "silent"."""

    @property
    def room(self) -> int:
        """How many packs it takes at this moment; 0 without a connection."""

    @property
    def window(self) -> int:
        """How many packs it takes at one time without having answered."""

    def most_bytes(self, node: str) -> int | None:
        """The largest pack of `node` it takes, by `Pack.size_bytes`; None if it names no limit."""

    def send(self, pack: Pack) -> "asyncio.Future[int]":
        """Send one pack while there is room. The future is the platform's answer as an MQTT 5 reason code.

        It fails with a GatewayError if the connection ends before the answer: the pack may or may not be there.
        Raises  CityError if there is no connection
                PackRefused if the platform cannot take this pack whatever happens, e.g. because it is too large
        """


class PackRefused(GatewayError):
    """This one pack cannot be sent; trying again is no use."""
