"""Connecting to a broker over MQTT 5: `open_session` gives a Session, or says by name why there is none.

Refuses a downgrade: MQTT 3.1.1 has no reason codes in its PUBACK, so a broker that speaks nothing newer is an error.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.clock import ClockTrust
from gateway.endpoint import Endpoint
from gateway.mqtt import codes
from gateway.mqtt.connection import Limits
from gateway.mqtt.errors import SessionError
from gateway.mqtt.packet import Connack, Connect
from gateway.mqtt.properties import Properties
from gateway.mqtt.session import OnBurst, OnMessage, Session
from gateway.validity import DateError, chain_of, is_dated_by_us, require_dates

_STATES = {
    codes.BAD_CREDENTIALS: "refused_credentials",
    codes.BAD_AUTHENTICATION_METHOD: "refused_credentials",
    codes.NOT_AUTHORISED: "not_authorised",
    codes.UNSUPPORTED_VERSION: "downgraded",
    **dict.fromkeys(codes.DISCONNECT_REASONS_BUSY, "busy"),
}
_NEXT_STEPS = {
    "refused_credentials": "check username and password_file",
    "not_authorised": "the broker's access list must admit this client id and user",
    "downgraded": "the broker must speak MQTT 5",
    "busy": "trying again",
}


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """How to connect. The password is in no repr.

    session_expiry_s  how long the broker keeps the session when we are away (with clean_start False)
    keep_alive_s      a dead link is found within this time; 0 never looks
    ack_timeout_s     longest wait for a PUBACK before the connection counts as dead
    tls               a context exactly if the endpoint is mqtts://
    clock             what the dates of certificates are held against, if tls leaves that to us (gateway/validity)
    """

    endpoint: Endpoint
    client_id: str
    clean_start: bool = True
    session_expiry_s: int = 0
    keep_alive_s: int = 30
    connect_timeout_s: float = 10.0
    ack_timeout_s: float = 20.0
    limits: Limits = field(default_factory=Limits)
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    clock: ClockTrust | None = field(default=None, repr=False)


@asynccontextmanager
async def open_session(
    options: ClientOptions, *, on_message: OnMessage | None = None, on_burst: OnBurst | None = None
) -> AsyncIterator[Session]:
    """Connect; the session is open inside the block and gone after it.

    on_message  handles one message; its result is the reason code of the PUBACK, which is sent only then. None leaves
                the message with the broker and ends the session with state "unstored".
    on_burst    the same of messages that came together; without it each is handled by itself
    Raises      SessionError, whose `state` is unreachable, tls_failed, certificate_expired, certificate_not_yet_valid,
                silent, closed, downgraded, refused_credentials, not_authorised, busy, refused or protocol_error
    """
    session: Session | None = None
    try:
        async with asyncio.timeout(options.connect_timeout_s):
            session = await _open(options, on_message, on_burst)
            _require_welcome(await session.start(_connect_packet(options)))
    except TimeoutError:
        await _stop(session)
        what = "no answer to CONNECT" if session else "no connection"
        state = "silent" if session else "unreachable"
        raise SessionError(state, f"{what} from {options.endpoint} in {options.connect_timeout_s:.0f} s") from None
    except BaseException:
        await _stop(session)
        raise
    try:
        yield session
    finally:
        await session.stop()


async def _stop(session: Session | None) -> None:
    if session is not None:
        await session.stop()


async def _open(options: ClientOptions, on_message: OnMessage | None, on_burst: OnBurst | None) -> Session:
    where = options.endpoint
    try:
        transport, session = await asyncio.get_running_loop().create_connection(
            lambda: Session(
                on_message=on_message,
                on_burst=on_burst,
                limits=options.limits,
                keep_alive_s=options.keep_alive_s,
                ack_timeout_s=options.ack_timeout_s,
            ),
            where.host,
            where.port,
            ssl=options.tls,
            ssl_shutdown_timeout=1.0 if options.tls else None,
        )
    except ssl.SSLError as error:
        raise SessionError("tls_failed", f"{where}: {error.reason or error}; check the certificates") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: what is no host name at all, e.g. "a..b"
        raise SessionError("unreachable", f"{where}: {getattr(error, 'strerror', None) or error}") from None
    if options.tls is not None and is_dated_by_us(options.tls):
        try:
            require_dates(chain_of(transport.get_extra_info("ssl_object")), options.clock or ClockTrust())
        except DateError as error:
            transport.abort()
            raise SessionError(error.state, f"{where}: {error}") from None
    return session


def _connect_packet(options: ClientOptions) -> Connect:
    properties = Properties(
        session_expiry_s=options.session_expiry_s,
        receive_maximum=min(options.limits.max_waiting, 65_535),
        maximum_packet_size=options.limits.max_packet_size,
    )
    return Connect(
        client_id=options.client_id,
        clean_start=options.clean_start,
        keep_alive_s=options.keep_alive_s,
        username=options.username,
        password=options.password,
        properties=properties,
    )


def _require_welcome(answer: Connack) -> None:
    if not answer.reason_code:
        return
    state = _STATES.get(answer.reason_code, "refused")
    reason = answer.properties.get("reason_string")
    parts = [f"the broker refused us: {codes.name_of(answer.reason_code)}", reason, _NEXT_STEPS.get(state)]
    raise SessionError(state, "; ".join(part for part in parts if part))
