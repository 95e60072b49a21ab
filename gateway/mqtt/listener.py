"""The ingest listener: devices connect to the gateway itself, and their PUBACK follows our commit.

It is no broker. It takes PUBLISH of QoS 0 and 1, sends a client the downlinks it subscribed to, keeps no session when
a client is away, retains nothing, and routes nothing between clients. Each connection is bounded; none waits for
another.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol

from gateway.endpoint import Endpoint
from gateway.errors import GatewayError
from gateway.mqtt import codes
from gateway.mqtt.access import Peer
from gateway.mqtt.connection import Budget, new_buffer
from gateway.mqtt.device import DeviceConnection, ListenerLimits, Origin
from gateway.mqtt.encode import encode_publish
from gateway.mqtt.packet import V5, V311, Connect, Publish, Publishes

log = logging.getLogger(__name__)

OnPublish = Callable[[Publish, Peer], Awaitable[int | None]]
OnBurst = Callable[[Publishes, Peer], asyncio.Future[list[int | None]]]
_CHECK_S = 0.5
_BACKLOG = 256


class Policy(Protocol):
    """Who may do what; the southbound has one."""

    async def admit(self, connect: Connect, origin: Origin) -> Peer | int:
        """Who this is, or the reason code to refuse with."""

    def may_subscribe(self, peer: Peer, topic: str) -> int:
        """0 to grant QoS 0, or the reason code to refuse with."""


class ListenError(GatewayError):
    """The address cannot be listened on."""


class Listener:
    """Binds on entering, serves in `run`, and leaves no connection behind.

    on_publish  handles one message; its result is the PUBACK's reason code, and the PUBACK is sent only then. None
                leaves the message with the device: the connection ends unacknowledged, so that it delivers again
    on_burst    the same of messages that came together; without it each is handled by itself
    count       called with the name of every counter that moves
    tls         a server context exactly if the endpoint is mqtts://
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        on_publish: OnPublish,
        on_burst: OnBurst | None = None,
        policy: Policy,
        count: Callable[[str], None],
        limits: ListenerLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.limits = limits or ListenerLimits()
        self.budget = Budget(self.limits.max_total_bytes)
        self.buffer = new_buffer()
        self.on_publish = on_publish
        self.takes_bursts = on_burst is not None
        self._on_burst = on_burst
        self.port = endpoint.port
        self._endpoint = endpoint
        self._policy = policy
        self._count = count
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._early: list[tuple[DeviceConnection, Connect]] = []  # before run; bounded by the connections
        self._failure: asyncio.Future[None] | None = None
        self._connections: set[DeviceConnection] = set()
        self._leaving: set[DeviceConnection] = set()
        self._by_client: dict[tuple[str | None, str], DeviceConnection] = {}
        self._subscribers: dict[str, set[DeviceConnection]] = {}

    async def __aenter__(self) -> "Listener":
        loop = asyncio.get_running_loop()
        self._failure = loop.create_future()
        try:
            self._server = await loop.create_server(
                lambda: DeviceConnection(self),
                self._endpoint.host,
                self._endpoint.port,
                ssl=self._tls,
                backlog=_BACKLOG,
                ssl_handshake_timeout=self.limits.connect_s if self._tls else None,
                ssl_shutdown_timeout=1.0 if self._tls else None,
            )
        except OSError as error:
            raise ListenError(
                f"cannot listen at {self._endpoint}: {error.strerror or error}; is another program there?"
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        waiting = []
        for connection in [*self._connections, *self._leaving]:
            connection.disconnect(codes.SERVER_SHUTTING_DOWN)
            waiting += connection.cancel_waiting()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def run(self) -> None:
        """Serve until cancelled. An unexpected error of `on_publish` comes out here."""
        assert self._failure is not None
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for connection, connect in self._early:
                self.begin_admission(connection, connect)
            tasks.create_task(self._check(), name="mqtt.check")
            await self._failure

    def publish(self, topic: str, payload: bytes) -> int:
        """Send a downlink (QoS 0) to who subscribed to this very topic. Returns to how many it was written."""
        sent = 0
        for connection in self._subscribers.get(topic, ()):
            if connection.is_writing_paused or not connection.is_open:
                self.count("mqtt_downlinks_dropped")
                continue
            connection.send(encode_publish(Publish(topic, payload), connection.version))
            sent += 1
        return sent

    @property
    def clients(self) -> int:
        """Connections that were admitted and are open."""
        return len(self._by_client)

    async def _check(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_CHECK_S)
            now_s = loop.time()
            for connection in tuple(self._connections):
                connection.check(now_s)
            self._bound_memory()
            self._leaving = {connection for connection in self._leaving if not connection.is_idle}

    def _bound_memory(self) -> None:
        """Packets that never end cost memory too: beyond the common bound, who holds most of it has to go."""
        waiting = sorted(self._connections, key=lambda one: one.bytes_waiting)
        total = sum(one.bytes_waiting for one in waiting)
        while total > self.limits.max_total_bytes and waiting:
            greedy = waiting.pop()
            total -= greedy.bytes_waiting
            self.count("mqtt_memory_over_limit")
            greedy.disconnect(codes.QUOTA_EXCEEDED)

    # What connections call (device.Host)

    def count(self, name: str) -> None:
        self._count(name)

    def on_burst(self, burst: Publishes, peer: Peer) -> asyncio.Future[list[int | None]]:
        assert self._on_burst is not None
        return self._on_burst(burst, peer)

    def opened(self, connection: DeviceConnection) -> None:
        if len(self._connections) + len(self._leaving) >= self.limits.max_connections:
            self.count("mqtt_connections_over_limit")
            connection.end()
            return
        self._connections.add(connection)

    def begin_admission(self, connection: DeviceConnection, connect: Connect) -> None:
        if self._tasks is None:
            self._early.append((connection, connect))
            return
        self._tasks.create_task(self._admit(connection, connect), name="mqtt.admit")

    def may_subscribe(self, peer: Peer, topic_filter: str) -> int:
        return self._policy.may_subscribe(peer, topic_filter)

    def subscribe(self, connection: DeviceConnection, topic: str) -> None:
        self._subscribers.setdefault(topic, set()).add(connection)

    def unsubscribe(self, connection: DeviceConnection, topic: str) -> None:
        subscribers = self._subscribers.get(topic, set())
        subscribers.discard(connection)
        if not subscribers:
            self._subscribers.pop(topic, None)

    def lost(self, connection: DeviceConnection) -> None:
        self._connections.discard(connection)
        if not connection.is_idle:
            self._leaving.add(connection)
        for topic in connection.topics:
            self.unsubscribe(connection, topic)
        if connection.peer is not None and self._by_client.get(_key(connection.peer)) is connection:
            del self._by_client[_key(connection.peer)]

    def failed(self, error: BaseException) -> None:
        assert self._failure is not None
        if not self._failure.done():
            self._failure.set_exception(error)

    # Admission

    async def _admit(self, connection: DeviceConnection, connect: Connect) -> None:
        refusal = _refusal_of(connect)
        answer: Peer | int = refusal or await self._policy.admit(connect, connection.origin())
        if not connection.is_open:
            return
        if isinstance(answer, int):
            self.count("mqtt_connects_refused")
            log.info("refused client %r: %s", connect.client_id, codes.name_of(answer))
            connection.refuse(answer)
            return
        older = self._by_client.get(_key(answer))
        if older is not None:
            self.count("mqtt_takeovers")
            older.disconnect(codes.SESSION_TAKEN_OVER)
        self._by_client[_key(answer)] = connection
        self.count("mqtt_connects")
        connection.welcome(answer, connect)


def _key(peer: Peer) -> tuple[str | None, str]:
    """One connection per user and client id: a stranger cannot push a device out by using its name."""
    return peer.user, peer.client_id


def _refusal_of(connect: Connect) -> int:
    """What MQTT itself says about a CONNECT that this listener cannot serve; 0 if nothing."""
    if connect.version == V311:
        return codes.BAD_CLIENT_ID if not connect.client_id and not connect.clean_start else 0
    if "authentication_method" in connect.properties:
        return codes.BAD_AUTHENTICATION_METHOD
    if connect.version == V5 and connect.will is not None:
        if connect.will.qos == 2:
            return codes.QOS_NOT_SUPPORTED
        if connect.will.retain:
            return codes.RETAIN_NOT_SUPPORTED
    return 0
