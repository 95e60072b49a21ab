"""The control packets of MQTT 3.1.1 and 5 as plain objects. decode and encode turn them into bytes and back."""

from dataclasses import dataclass, field
from typing import ClassVar

from gateway.mqtt.properties import Properties

V311 = 4  # protocol levels as CONNECT carries them
V5 = 5


@dataclass(slots=True)
class Publish:
    """One message. packet_id is 0 exactly if qos is 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties | None = None


@dataclass(slots=True)
class Publishes:
    """Messages that came right after each other, each of QoS 1, not retained, no repetition, without properties.

    packet_ids  the two bytes of each, as on the wire
    size        bytes of all these packets
    """

    topics: list[str]
    payloads: list[bytes]
    packet_ids: list[bytes]
    size: int


@dataclass(slots=True, kw_only=True)
class Will:
    """The message a broker would publish for a client that vanished."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True, kw_only=True)
class Connect:
    """A client's first packet. `version` is V311 or V5."""

    client_id: str
    version: int = V5
    clean_start: bool = True
    keep_alive_s: int = 0
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties = field(default_factory=Properties)

    def __repr__(self) -> str:  # a password must not reach a log
        return f"Connect(client_id={self.client_id!r}, version={self.version}, username={self.username!r})"


@dataclass(slots=True)
class Connack:
    """The server's answer. In 3.1.1 reason_code is the return code of table 3.1."""

    session_present: bool
    reason_code: int
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Ack:
    """What PUBACK, PUBREC, PUBREL and PUBCOMP share."""

    packet_id: int
    reason_code: int = 0
    properties: Properties | None = None


class Puback(Ack):
    """A QoS 1 message was taken, or refused by a code of 0x80 and above."""

    __slots__ = ()


class Pubrec(Ack):
    """First answer to a QoS 2 message."""

    __slots__ = ()


class Pubrel(Ack):
    """Second half of a QoS 2 delivery, from the sender."""

    __slots__ = ()


class Pubcomp(Ack):
    """End of a QoS 2 delivery."""

    __slots__ = ()


@dataclass(slots=True)
class Subscription:
    """One topic filter and how it is to be served. The options after qos exist in MQTT 5 only."""

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(slots=True)
class Subscribe:
    packet_id: int
    subscriptions: list[Subscription]
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Suback:
    packet_id: int
    reason_codes: list[int]
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Unsubscribe:
    packet_id: int
    topic_filters: list[str]
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Unsuback:
    """reason_codes is empty in 3.1.1."""

    packet_id: int
    reason_codes: list[int] = field(default_factory=list)
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Pingreq:
    BYTES: ClassVar[bytes] = b"\xc0\x00"


@dataclass(slots=True)
class Pingresp:
    BYTES: ClassVar[bytes] = b"\xd0\x00"


@dataclass(slots=True)
class Disconnect:
    """A polite end. From a server, and with a code, in MQTT 5 only."""

    reason_code: int = 0
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Auth:
    """A step of extended authentication, MQTT 5 only."""

    reason_code: int = 0
    properties: Properties = field(default_factory=Properties)


Packet = (
    Publish | Connect | Connack | Puback | Pubrec | Pubrel | Pubcomp | Subscribe | Suback | Unsubscribe | Unsuback
    | Pingreq | Pingresp | Disconnect | Auth
)  # fmt: skip
