"""One device's connection to our listener, MQTT 3.1.1 or 5: what may come in which order, and how it is answered."""

import asyncio
import contextlib
import ipaddress
import itertools
import socket
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from gateway.mqtt import codes
from gateway.mqtt.access import Peer
from gateway.mqtt.connection import Budget, Connection, Limits
from gateway.mqtt.encode import encode
from gateway.mqtt.errors import ProtocolError
from gateway.mqtt.packet import (
    V5,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Publish,
    Publishes,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from gateway.mqtt.properties import Properties
from gateway.validity import chain_of

_GRACE = 1.5  # a client may be late by half its keep-alive time (MQTT 5 section 3.1.2.10)
_assigned = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class ListenerLimits(Limits):
    """What all connections together, and each, may cost.

    max_total_bytes    of messages being handled, over all connections
    max_connections    open ones, and those whose last messages are still being stored
    connect_s          time for TLS and CONNECT
    max_keep_alive_s   told to MQTT 5 clients that ask for more, or for none
    stalled_s          a client that does not read what we write is dropped after it
    max_subscriptions  per connection
    """

    max_total_bytes: int = 33_554_432
    max_connections: int = 1_000
    connect_s: float = 10.0
    max_keep_alive_s: int = 300
    stalled_s: float = 20.0
    max_subscriptions: int = 8


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a connection comes from.

    host              the address, empty if unknown
    certificate_name  the common name of its verified certificate, if it showed one
    certificates      that certificate and its issuers, DER; whether they are out of date is the policy's to say
    """

    host: str
    is_tls: bool
    certificate_name: str | None
    certificates: tuple[bytes, ...] = ()


class Host(Protocol):
    """What a connection needs of the listener it belongs to."""

    limits: ListenerLimits
    budget: Budget
    buffer: bytearray
    takes_bursts: bool

    def count(self, name: str) -> None: ...
    def begin_admission(self, connection: "DeviceConnection", connect: Connect) -> None: ...
    def on_publish(self, packet: Publish, peer: Peer) -> Awaitable[int | None]: ...
    def on_burst(self, burst: Publishes, peer: Peer) -> asyncio.Future[list[int | None]]: ...
    def may_subscribe(self, peer: Peer, topic_filter: str) -> int: ...
    def subscribe(self, connection: "DeviceConnection", topic: str) -> None: ...
    def unsubscribe(self, connection: "DeviceConnection", topic: str) -> None: ...
    def opened(self, connection: "DeviceConnection") -> None: ...
    def lost(self, connection: "DeviceConnection") -> None: ...
    def failed(self, error: BaseException) -> None: ...


class DeviceConnection(Connection):
    """Ends with its socket. Knows who is there once CONNECT was admitted."""

    def __init__(self, host: Host) -> None:
        super().__init__(
            version=None,
            limits=host.limits,
            budget=host.budget,
            buffer=host.buffer,
            takes_bursts=host.takes_bursts,
        )
        self._host = host
        self._deadline_s = self._loop.time() + host.limits.connect_s
        self._keep_alive_s = 0
        self._stalled_since_s: float | None = None
        self._has_connect = False
        self.peer: Peer | None = None
        self.topics: set[str] = set()

    @property
    def is_idle(self) -> bool:
        """Nothing of it is being stored any more."""
        return not self._waiting

    def origin(self) -> Origin:
        """Where it comes from, for whoever decides on its admission."""
        assert self._transport is not None
        address = self._transport.get_extra_info("peername")
        certificate = self._transport.get_extra_info("peercert")
        subject = dict(pair for part in (certificate or {}).get("subject", ()) for pair in part)
        tls = self._transport.get_extra_info("ssl_object")
        return Origin(
            host=str(address[0]) if address else "",
            is_tls=tls is not None,
            certificate_name=subject.get("commonName"),
            certificates=chain_of(tls) if certificate else (),
        )

    # Coming in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        _watch_by_tcp(transport.get_extra_info("socket"))
        self._host.opened(self)

    def on_packet(self, packet: Packet | Publishes) -> None:
        if isinstance(packet, Publishes) and self.peer is not None:
            self._note_excess(len(packet.payloads))
            self.take_burst(packet, self._host.on_burst(packet, self.peer))
        elif isinstance(packet, Publish) and self.peer is not None:
            self._on_publish(packet, self.peer)
        elif isinstance(packet, Connect) and not self._has_connect:
            self._has_connect = True
            self.hold()
            self._host.begin_admission(self, packet)
        elif self.peer is None:
            raise ProtocolError("connect_expected", type(packet).__name__, code=codes.PROTOCOL_ERROR)
        elif isinstance(packet, Subscribe):
            granted = [self._subscribe(packet, one.topic_filter) for one in packet.subscriptions]
            self.send(encode(Suback(packet.packet_id, granted), self.version))
        elif isinstance(packet, Unsubscribe):
            self._on_unsubscribe(packet)
        elif isinstance(packet, Pingreq):
            self.send(Pingresp.BYTES)
        elif isinstance(packet, Disconnect):
            self.end()
        else:
            raise ProtocolError("unexpected_packet", type(packet).__name__, code=codes.PROTOCOL_ERROR)

    def _on_publish(self, packet: Publish, peer: Peer) -> None:
        if packet.qos == 2:
            raise ProtocolError("qos_2", "this listener takes QoS 0 and 1", code=codes.QOS_NOT_SUPPORTED)
        if packet.properties and "topic_alias" in packet.properties:
            raise ProtocolError("topic_alias", "we announced none", code=codes.TOPIC_ALIAS_INVALID)
        if packet.properties and "subscription_ids" in packet.properties:
            raise ProtocolError("misplaced_property", "subscription_ids from a client", code=codes.PROTOCOL_ERROR)
        self._note_excess(packet.qos)
        self.take(packet, self._host.on_publish(packet, peer))

    def _note_excess(self, count: int) -> None:
        """Count what comes above the Receive Maximum that we told.

        MQTT 5 would have us disconnect. paho sends all it has after a reconnect, so it would come back with the same
        for ever; like a client of 3.1.1 it is slowed down instead (Connection stops reading).
        """
        if self.version == V5:
            excess = self.unacknowledged + count - self._limits.max_waiting
            for _ in range(min(count, excess)):
                self._host.count("mqtt_receive_maximum_exceeded")

    def _subscribe(self, packet: Subscribe, topic_filter: str) -> int:
        assert self.peer is not None
        if "subscription_ids" in packet.properties:
            code = codes.SUBSCRIPTION_IDS_NOT_SUPPORTED
        elif topic_filter.startswith("$share/"):
            code = codes.SHARED_NOT_SUPPORTED
        elif "+" in topic_filter or "#" in topic_filter:
            code = codes.WILDCARDS_NOT_SUPPORTED
        elif topic_filter not in self.topics and len(self.topics) >= self._host.limits.max_subscriptions:
            code = codes.QUOTA_EXCEEDED
        else:
            code = self._host.may_subscribe(self.peer, topic_filter)
        if code:
            self._host.count("mqtt_subscriptions_refused")
        else:
            self.topics.add(topic_filter)
            self._host.subscribe(self, topic_filter)
        return code

    def _on_unsubscribe(self, packet: Unsubscribe) -> None:
        for topic in packet.topic_filters:
            if topic in self.topics:
                self.topics.discard(topic)
                self._host.unsubscribe(self, topic)
        answers = [codes.SUCCESS] * len(packet.topic_filters)
        self.send(encode(Unsuback(packet.packet_id, answers), self.version))

    # Admission

    def welcome(self, peer: Peer, connect: Connect) -> None:
        """CONNECT is admitted; what the client sent behind it is taken now."""
        self.peer = peer
        limits = self._host.limits
        self._keep_alive_s = connect.keep_alive_s
        told = Properties()
        if self.version == V5:
            told = _capabilities(limits)
            if not 0 < connect.keep_alive_s <= limits.max_keep_alive_s:
                self._keep_alive_s = told["server_keep_alive_s"] = limits.max_keep_alive_s
            if not connect.client_id:
                told["assigned_client_id"] = peer.client_id
            if connect.properties.get("session_expiry_s"):
                told["session_expiry_s"] = 0
        self.send(encode(Connack(False, codes.SUCCESS, told), self.version))
        self.release()

    def refuse(self, code: int) -> None:
        """Answer CONNECT with a refusal and close."""
        self.end(encode(Connack(False, code), self.version))

    # Ending

    def on_error(self, error: ProtocolError) -> None:
        self._host.count(f"mqtt_{error.reason}")
        if self.peer is None:
            # MQTT 3.1.1 has a code for a wrong version only; in MQTT 5 a CONNACK says it (section 4.13.1).
            code = codes.RETURN_CODES_V311.get(error.code)
            self.end(bytes((0x20, 2, 0, code)) if error.code == codes.UNSUPPORTED_VERSION and code else b"")
        else:
            self.disconnect(error.code)

    def disconnect(self, code: int) -> None:
        """End the connection; MQTT 5 has words for why."""
        self.end(encode(Disconnect(code), V5) if self.version == V5 and self.peer is not None else b"")

    def on_unstored(self) -> None:
        self._host.count("mqtt_unstored")
        self.disconnect(codes.QUOTA_EXCEEDED)

    def on_failure(self, error: BaseException) -> None:
        self._host.failed(error)

    def on_lost(self, error: Exception | None) -> None:
        self._host.lost(self)

    def check(self, now_s: float) -> None:
        """End the connection if its CONNECT, its keep-alive or its reading is overdue. Called about twice a second."""
        if not self.is_open:
            return
        self.read_on()  # others may have made room in the common budget
        self._stalled_since_s = (self._stalled_since_s or now_s) if self.is_writing_paused else None
        if self._is_reading_paused:  # we do not listen, so silence says nothing
            self.heard_at_s = now_s
        if self.peer is None and now_s > self._deadline_s:
            self._host.count("mqtt_connect_timeout")
            self.end()
        elif self._keep_alive_s and now_s - self.heard_at_s > self._keep_alive_s * _GRACE:
            self._host.count("mqtt_keep_alive_timeout")
            self.disconnect(codes.KEEP_ALIVE_TIMEOUT)
        elif self._stalled_since_s is not None and now_s - self._stalled_since_s > self._host.limits.stalled_s:
            self._host.count("mqtt_stalled")
            self.end()


def assigned_client_id() -> str:
    """A name for a client that brought none; unique while we run."""
    return f"lamppost-{next(_assigned)}"


def is_loopback(host: str) -> bool:
    """Whether an address of a peer is on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _capabilities(limits: ListenerLimits) -> Properties:
    return Properties(
        receive_maximum=min(limits.max_waiting, 65_535),
        maximum_qos=1,
        retain_available=0,
        maximum_packet_size=limits.max_packet_size,
        wildcards_available=0,
        subscription_ids_available=0,
        shared_available=0,
    )


def _watch_by_tcp(sock: socket.socket | None) -> None:
    """Let TCP find peers that vanished: a 3.1.1 client may ask for no keep-alive of its own."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    with contextlib.suppress(AttributeError, OSError):  # not every system has all three
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
