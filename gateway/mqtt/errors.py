"""What can go wrong on an MQTT connection, each with a name that a counter or a status page can show."""

from gateway.errors import GatewayError
from gateway.mqtt.codes import MALFORMED_PACKET


class MqttError(GatewayError):
    """Anything between us and an MQTT peer."""


class ProtocolError(MqttError):
    """The peer sent bytes that MQTT does not allow: close the connection, count `reason`.

    reason  the counter's name, e.g. "bad_utf8"
    code    the MQTT 5 reason code a DISCONNECT should carry
    """

    def __init__(self, reason: str, detail: str = "", *, code: int = MALFORMED_PACKET) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.code = code


class PacketError(MqttError):
    """We were asked to send something MQTT cannot carry, e.g. a wildcard in a topic, or more than the peer takes."""


class SessionError(MqttError):
    """The connection to a broker is not there, or no more.

    state  what to show an operator: unreachable, tls_failed, certificate_expired, certificate_not_yet_valid, unstored,
           refused_credentials, not_authorised, busy, refused,
           downgraded, silent, unacknowledged, protocol_error, closed
    """

    def __init__(self, state: str, detail: str) -> None:
        super().__init__(f"{state}: {detail}")
        self.state = state
        self.detail = detail
