"""The dates of certificates, held against the time that the gateway knows and never against the wall clock.

OpenSSL compares with the wall clock, so a machine that starts in 1970 finds every certificate not yet valid. Contexts
from `dated_by_us` leave the dates to `require_dates`: while the time is trusted they must hold now; while it is not, a
certificate is refused if it had ended before the last time that is known to have passed. Chain, name and signature are
OpenSSL's business as ever. Source: RFC 5280 section 4.1.2.5; X509_VERIFY_PARAM_set_flags(3).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import Any

from gateway.clock import ClockTrust
from gateway.errors import GatewayError

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME


class DateError(GatewayError):
    """A certificate does not hold. `state` is certificate_expired or certificate_not_yet_valid."""

    def __init__(self, state: str, detail: str) -> None:
        super().__init__(detail)
        self.state = state


def dated_by_us(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, which no longer looks at dates: whoever uses it calls require_dates after the handshake."""
    context.verify_flags |= _NO_CHECK_TIME
    return context


def is_dated_by_us(context: ssl.SSLContext) -> bool:
    return bool(context.verify_flags & _NO_CHECK_TIME)


def chain_of(connection: Any) -> tuple[bytes, ...]:
    """What the peer showed and OpenSSL verified, DER, its own certificate first; empty if it showed none."""
    if hasattr(connection, "get_verified_chain"):  # Python 3.13
        chain = tuple(connection.get_verified_chain())
    else:
        chain = tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in _chain_before_3_13(connection))
    own = connection.getpeercert(True)
    return chain or ((own,) if own else ())  # a resumed session has no chain


def _chain_before_3_13(connection: Any) -> Sequence[Any]:
    return connection._sslobj.get_verified_chain() or ()


def require_dates(chain: Sequence[bytes], clock: ClockTrust) -> None:
    """Raise DateError unless every certificate of the chain holds, as far as the time is known."""
    from cryptography import x509  # 2 MB, for gateways that use TLS

    now_s, error_s = clock.trusted_s(), clock.error_s or 0.0
    earliest_s = clock.now_s() if now_s is None else now_s - error_s
    latest_s = float("inf") if now_s is None else now_s + error_s
    here = (
        f"{_day(earliest_s)} by the gateway's clock" if now_s else f"{_day(earliest_s)} has passed, more is not known"
    )
    for der in chain:
        certificate = x509.load_der_x509_certificate(der)
        name = certificate.subject.rfc4514_string() or "without a name"
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if ends.timestamp() < earliest_s:
            detail = f"the certificate {name} ended on {ends:%Y-%m-%d} ({here}); renew it"
            raise DateError("certificate_expired", detail)
        if begins.timestamp() > latest_s:
            detail = f"the certificate {name} begins on {begins:%Y-%m-%d} ({here}); check the clock, or the certificate"
            raise DateError("certificate_not_yet_valid", detail)


def _day(time_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(time_s))
