"""The native city platform: SenML packs over MQTT 5, QoS 1. Keeps the session; the forwarder decides what is sent."""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import quote

from gateway.city.operator import Operators
from gateway.city.platform import PackRefused
from gateway.errors import CityError
from gateway.mqtt.client import ClientOptions
from gateway.mqtt.errors import PacketError, SessionError
from gateway.mqtt.link import Link
from gateway.mqtt.properties import Properties, write_once, write_rows
from gateway.mqtt.session import Session
from gateway.senml import COUNT_PROPERTY, ID_PROPERTY, Content, Pack

_MOST_IN_FLIGHT = 200  # of ours, also where the broker would take 65,535: each costs memory until it is answered


class MqttCity:
    """One broker of one city.

    topic    template; {site} and {node} are filled in, percent-encoded, so that neither can add a level or a wildcard
    content  "json" or "cbor"
    operators  who is heard there; None: nobody
    """

    def __init__(
        self,
        options: ClientOptions,
        *,
        topic: str = "city/{site}/{node}/senml",
        site: str,
        name: str = "city",
        content: Content = "json",
        operators: Operators | None = None,
    ) -> None:
        self._topic = topic.replace("{site}", encoded(site))
        self.content: Content = content
        self.on_room: Callable[[], None] | None = None
        self._operators = operators
        self._link = Link(options, name=f"city {name}", on_message=operators.take if operators else None)
        self._session: Session | None = None
        self._is_ready = asyncio.Event()
        self._is_gone = asyncio.Event()
        self._is_gone.set()

    async def run(self) -> None:
        """Keep a session until cancelled; every outage is a state, and is tried again."""
        await self._link.run(self._serve)

    async def ready(self) -> None:
        await self._is_ready.wait()

    async def gone(self) -> None:
        await self._is_gone.wait()

    @property
    def state(self) -> str:
        return self._link.state

    @property
    def room(self) -> int:
        session = self._session
        return min(session.room, _MOST_IN_FLIGHT - session.in_flight) if session else 0

    @property
    def window(self) -> int:
        return min(self._session.receive_maximum, _MOST_IN_FLIGHT) if self._session else 1

    def most_bytes(self, node: str) -> int | None:
        most = self._session.maximum_packet_size if self._session else None
        return most and most - len(self.topic_of(node))

    def send(self, pack: Pack) -> "asyncio.Future[int]":
        session = self._session
        if session is None:
            raise CityError(f"no connection: {self._link.state}")
        records = write_rows((ID_PROPERTY, pack.record_ids), (COUNT_PROPERTY, pack.record_counts))
        about = about_message(pack.content_type, pack.is_binary, pack.remarks)
        try:
            return session.publish_soon(self.topic_of(pack.node), pack.payload, Properties(written=records + about))
        except SessionError as error:
            raise CityError(str(error)) from None
        except PacketError as error:
            raise PackRefused(str(error)) from None

    def topic_of(self, node: str) -> str:
        """The topic for a node's packs."""
        return self._topic.replace("{node}", encoded(node))

    def status(self) -> dict[str, object]:
        """What `gateway status` shows."""
        session = self._session
        return {
            **self._link.status(),
            "in_flight": session.in_flight if session else 0,
            "receive_maximum": session.receive_maximum if session else None,
            **({"operators": self._operators.state} if self._operators else {}),
        }

    async def _serve(self, session: Session) -> None:
        self._session = session
        session.on_room = self._announce_room
        self._is_gone.clear()
        self._is_ready.set()
        try:
            if self._operators is not None:
                await self._operators.listen(session)
            await session.wait_closed()
        finally:
            self._is_ready.clear()
            self._session = None
            self._is_gone.set()

    def _announce_room(self) -> None:
        if self.on_room is not None:
            self.on_room()


@lru_cache(maxsize=64)
def about_message(content_type: str, is_binary: bool, remarks: tuple[tuple[str, str], ...]) -> bytes:
    """What is said of the message as a whole."""
    properties = Properties(content_type=content_type, user_properties=list(remarks))
    if not is_binary:
        properties["payload_format"] = 1
    return write_once(properties)


@lru_cache(maxsize=4096)
def encoded(name: str) -> str:
    """A name as one topic level: + # / and NUL are percent-encoded; colons stay, as in urn:dev:os:32473-q7c2f0zk."""
    return quote(name, safe=":-._~")
