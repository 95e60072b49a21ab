"""The MQTT way in: devices connect to our listener, or publish at an external broker where we subscribe.

Both take the same topics: `n/<address>/up` carries a sealed node frame, `up/<device>/senml` a third party's SenML.
Each message goes to the intake, and its PUBACK waits for the intake's verdict, which follows the commit. The answer to
a node goes out on `n/<address>/down`. Who a device is, is the topic level; who may use it, the access list (or the
broker's).
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from ssl import SSLContext
from types import TracebackType

from gateway.clock import ClockTrust
from gateway.endpoint import Endpoint
from gateway.intake import Intake
from gateway.mqtt import codes
from gateway.mqtt.access import AccessList, Peer
from gateway.mqtt.client import ClientOptions
from gateway.mqtt.device import ListenerLimits, Origin, assigned_client_id, is_loopback
from gateway.mqtt.errors import SessionError
from gateway.mqtt.link import Link
from gateway.mqtt.listener import Listener
from gateway.mqtt.packet import Connect, Publish, Publishes
from gateway.mqtt.session import Session
from gateway.southbound.ingest import Ingest
from gateway.trust import CertificateDevices
from gateway.validity import DateError, require_dates

log = logging.getLogger(__name__)

FRAME_FILTER = "n/+/up"
SENML_FILTER = "up/+/senml"
_ACTION_TOPIC = re.compile(r"act/[A-Za-z0-9._-]{1,64}")
_NODE_CLIENT_ID = re.compile(r"n-([0-9a-f]{4})-[0-9a-f]{8}")
_PASSWORD_CHECKS = 4  # at one time: each takes a thread, 16 MiB and some 40 ms


class IngestListener:
    """Devices and nodes connect to us. Bound while entered; `run` serves.

    access           who may connect; None: anybody, and what they send is passed on as assurance "none"
    allow_plaintext  take readable SenML from other machines without TLS
    clock            what the dates of client certificates are held against
    certificate_devices  asks the registry who a verified certificate (DER, common name) may speak for, or why not
    """

    def __init__(
        self,
        intake: Intake,
        endpoint: Endpoint,
        *,
        count: Callable[[str], None],
        access: AccessList | None = None,
        tls: SSLContext | None = None,
        allow_plaintext: bool = False,
        max_frames_per_s: float = 50,
        limits: ListenerLimits | None = None,
        now_s: Callable[[], float] = time.time,
        clock: ClockTrust | None = None,
        certificate_devices: CertificateDevices | None = None,
    ) -> None:
        self._certificate_devices = certificate_devices
        self._endpoint = endpoint
        self._clock = clock or ClockTrust()
        self._count = count
        self._access = access or AccessList.anonymous()
        self._allow_plaintext = allow_plaintext
        self._password_checks = asyncio.Semaphore(_PASSWORD_CHECKS)
        self._listener = Listener(
            endpoint,
            on_publish=self.take,
            on_burst=self.take_burst,
            policy=self,
            count=count,
            limits=limits,
            tls=tls,
        )
        self._ingest = Ingest(
            intake,
            count=count,
            downlink=self._listener.publish,
            max_frames_per_s=max_frames_per_s,
            now_s=now_s,
        )

    async def __aenter__(self) -> "IngestListener":
        await self._listener.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.__aexit__(kind, error, trace)

    @property
    def port(self) -> int:
        """Where it listens, once entered; useful if the endpoint asked for port 0."""
        return self._listener.port

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._listener.run()

    def status(self) -> dict[str, object]:
        """What `gateway status` shows."""
        return {"endpoint": str(self._endpoint), "state": "listening", "clients": self._listener.clients}

    async def admit(self, connect: Connect, origin: Origin) -> Peer | int:
        """Who this is (listener.Policy). A node needs no password: its frames are sealed, and only they are taken."""
        client_id = connect.client_id or assigned_client_id()
        is_private = origin.is_tls or self._allow_plaintext or is_loopback(origin.host)
        try:
            require_dates(origin.certificates, self._clock)
        except DateError as error:
            self._count(f"mqtt_refused_{error.state}")
            log.warning("client %s is refused: %s", client_id, error)
            return codes.NOT_AUTHORISED
        if origin.certificates and self._certificate_devices is not None:
            return self._admit_certificate(client_id, origin, origin.certificates[0])
        if origin.certificate_name is not None:
            devices = self._access.devices_of(origin.certificate_name) or frozenset((origin.certificate_name,))
            return Peer(client_id, origin.certificate_name, devices, "mtls", is_private)
        if self._access.is_anonymous:
            return Peer(client_id, is_private=is_private)
        if connect.username is None:
            return Peer(client_id, devices=frozenset(), is_private=is_private)
        async with self._password_checks:
            is_right = await asyncio.to_thread(self._access.check, connect.username, connect.password or b"")
        if not is_right:
            return codes.BAD_CREDENTIALS
        return Peer(client_id, connect.username, self._access.devices_of(connect.username), "password", is_private)

    def _admit_certificate(self, client_id: str, origin: Origin, certificate: bytes) -> Peer | int:
        """Who holds the certificate's key, as the site's registry knows it."""
        assert self._certificate_devices is not None
        devices, reason = self._certificate_devices(certificate, origin.certificate_name or "")
        if reason is not None:
            self._count(f"mqtt_refused_certificate_{reason}")
            return codes.NOT_AUTHORISED
        return Peer(client_id, origin.certificate_name, devices, "mtls", is_private=True)

    def may_subscribe(self, peer: Peer, topic: str) -> int:
        """A node may hear its own downlinks, a device whose SenML is taken what alarms say (listener.Policy)."""
        node = _NODE_CLIENT_ID.fullmatch(peer.client_id)
        if _ACTION_TOPIC.fullmatch(topic) and peer.is_private and peer.devices != frozenset():
            return codes.SUCCESS
        return codes.SUCCESS if node and topic == f"n/{node[1]}/down" else codes.NOT_AUTHORISED

    def publish(self, topic: str, payload: bytes) -> int:
        """Send a message to who subscribed to it. Returns to how many it went."""
        return self._listener.publish(topic, payload)

    def take(self, packet: Publish, peer: Peer) -> Awaitable[int | None]:
        """One message of an admitted peer; the code for its PUBACK, None to leave it with the peer."""
        return self._ingest.take(packet, peer)

    def take_burst(self, burst: Publishes, peer: Peer) -> "asyncio.Future[list[int | None]]":
        """The same of messages that came together."""
        return self._ingest.take_burst(burst, peer)


class BrokerSubscription:
    """We subscribe at an external broker. What it acknowledged and has not handed to us is the broker's, not ours.

    options      fixed client id, clean_start False and a session expiry, so that it keeps messages while we are away
    sealed_only  hear node frames alone
    """

    def __init__(
        self,
        intake: Intake,
        options: ClientOptions,
        *,
        count: Callable[[str], None],
        sealed_only: bool = False,
        max_frames_per_s: float = 5_000,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._count = count
        self._filters = [FRAME_FILTER] if sealed_only else [FRAME_FILTER, SENML_FILTER]
        self._peer = Peer(options.client_id)
        self._session: Session | None = None
        self.hears = asyncio.Event()  # set while subscribed
        self._link = Link(options, name="southbound broker", on_message=self._on_message, on_burst=self._on_burst)
        self._ingest = Ingest(
            intake, count=count, downlink=self._send_downlink, max_frames_per_s=max_frames_per_s, now_s=now_s
        )

    async def run(self) -> None:
        """Hear until cancelled; every outage of the broker is a state, and is tried again."""
        await self._link.run(self._serve)

    def status(self) -> dict[str, object]:
        """What `gateway status` shows."""
        note = "what the broker acknowledged and has not handed over is kept by the broker"
        return {**self._link.status(), "is_subscribed": self.hears.is_set(), "note": note}

    def publish(self, topic: str, payload: bytes) -> int:
        """Publish at the broker, QoS 0. Returns 1, or 0 while we are not there."""
        if self._session is None:
            return 0
        self._send_downlink(topic, payload)
        return 1

    async def _serve(self, session: Session) -> None:
        self._session = session
        try:
            granted = await session.subscribe(self._filters, qos=1)
            for topic_filter, code in zip(self._filters, granted, strict=True):
                if code != 1:
                    what = codes.name_of(code) if code >= 0x80 else f"QoS {code}, which may lose messages"
                    raise SessionError(
                        "not_authorised", f"subscribing to {topic_filter}: {what}; check its access list"
                    )
            self.hears.set()
            await session.wait_closed()
        finally:
            self.hears.clear()
            self._session = None

    def _on_message(self, packet: Publish) -> Awaitable[int | None]:
        return self._ingest.take(packet, self._peer)

    def _on_burst(self, burst: Publishes) -> "asyncio.Future[list[int | None]]":
        return self._ingest.take_burst(burst, self._peer)

    def _send_downlink(self, topic: str, payload: bytes) -> None:
        if self._session is None:
            self._count("mqtt_downlinks_dropped")
            return
        try:
            self._session.publish_unacknowledged(topic, payload)
        except SessionError:
            self._count("mqtt_downlinks_dropped")
