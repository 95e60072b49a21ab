"""What every city platform offers the forwarder: one file per platform, all behind this."""

from typing import Literal, Protocol

from gateway.errors import GatewayError
from gateway.senml import Pack


class Platform(Protocol):
    """A way to one platform, with its own connection and its own state."""

    content: Literal["json", "cbor"]  # how packs are written for it

    async def ready(self) -> None:
        """Return as soon as there is a connection to send over."""

    async def publish(self, pack: Pack) -> int:
        """Send one pack and return the platform's answer as an MQTT 5 reason code.

        Raises  CityError if there is no connection, or it ended before the answer: the pack may or may not be there
                PackRefused if the platform cannot take this pack whatever happens, e.g. because it is too large
        """

    @property
    def window(self) -> int:
        """How many packs it takes at one time without having answered."""


class PackRefused(GatewayError):
    """This one pack cannot be sent; trying again is no use."""
