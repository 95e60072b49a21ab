"""Keeps a session to a broker: connects, and connects again after a jittered wait, for as long as it runs.

What the session is for is the caller's business (`serve`); what state the link is in is here, for `gateway status`.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from gateway.mqtt.client import ClientOptions, open_session
from gateway.mqtt.errors import SessionError
from gateway.mqtt.session import OnBurst, OnMessage, Session

log = logging.getLogger(__name__)

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 5.0  # a city that is back is found within it
_BUSY_WAIT_S = 30.0  # a broker that says so itself is given time
_OPERATOR_WAIT_S = 30.0  # an operator has to change something first; do not hammer the broker meanwhile
_OPERATOR_STATES = (
    "refused_credentials",
    "not_authorised",
    "downgraded",
    "tls_failed",
    "certificate_expired",
    "certificate_not_yet_valid",
    "refused",
)
_GOOD_AFTER_S = 10.0  # a connection that lasted this long makes the next wait short again


class Link:
    """The link to one broker, over many connections.

    name   what logs call it, e.g. "city"
    state  connecting, connected, or why it is down: a state of SessionError. `detail` says more, for people
    """

    def __init__(
        self,
        options: ClientOptions,
        *,
        name: str,
        on_message: OnMessage | None = None,
        on_burst: OnBurst | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.state = "connecting"
        self.detail = ""
        self.connects = 0
        self.failures = 0
        self._options = options
        self._name = name
        self._on_message = on_message
        self._on_burst = on_burst
        self._rng = rng or random.Random()
        self._tries = 0
        self._last_failure = ""

    async def run(self, serve: Callable[[Session], Awaitable[None]]) -> None:
        """Until cancelled: connect, `await serve(session)`, which ends by raising SessionError, wait, connect again."""
        while True:
            opened_at_s: float | None = None
            try:
                if not self.failures:
                    self.state = "connecting"
                async with open_session(self._options, on_message=self._on_message, on_burst=self._on_burst) as session:
                    opened_at_s = asyncio.get_running_loop().time()
                    self._connected()
                    await serve(session)
            except SessionError as error:
                self._failed(error)
            if opened_at_s is not None and asyncio.get_running_loop().time() - opened_at_s > _GOOD_AFTER_S:
                self._tries = 0
            await asyncio.sleep(self._next_wait_s())

    def status(self) -> dict[str, object]:
        """What `gateway status` shows."""
        return {
            "endpoint": str(self._options.endpoint),
            "state": self.state,
            "detail": self.detail,
            "connects": self.connects,
            "failures": self.failures,
            "last_failure": self._last_failure,
        }

    def _connected(self) -> None:
        self.connects += 1
        if self.state != "connected":
            log.info("%s: connected to %s", self._name, self._options.endpoint)
        self.state, self.detail = "connected", ""

    def _failed(self, error: SessionError) -> None:
        self.failures += 1
        if self.state != error.state:  # once per change, not once per try
            log.warning("%s: %s", self._name, error)
        self.state, self.detail = error.state, error.detail
        self._last_failure = str(error)

    def _next_wait_s(self) -> float:
        """Full jitter, so that a thousand gateways do not come back in the same moment."""
        if self.state in _OPERATOR_STATES:
            return self._rng.uniform(0.5, 1.0) * _OPERATOR_WAIT_S
        longest_s = _BUSY_WAIT_S if self.state == "busy" else _LONGEST_WAIT_S
        bound_s = min(longest_s, _FIRST_WAIT_S * 2**self._tries)
        self._tries = min(self._tries + 1, 16)
        return self._rng.uniform(0, bound_s)
