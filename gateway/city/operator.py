"""What operators say through their city platform: that they have seen an alarm. The same path as `lamppost alarm ack`.

Only what the session to that platform brings on the configured topic is heard: nothing that devices or nodes send ever
comes here. A message names the alarm with its number, so that a late or repeated one never acknowledges another:
{"rule": "flood", "node": "lamp-3", "n": 4, "by": "kim"}. It is acknowledged (PUBACK) once what it caused is on disk.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable

from gateway.edge.acknowledgement import Acknowledgement
from gateway.mqtt import codes
from gateway.mqtt.packet import Publish
from gateway.mqtt.session import Session
from gateway.store_errors import StoreError

log = logging.getLogger(__name__)
_MOST_BYTES = 1_000
_LONGEST_TEXT = 128


class Operators:
    """Whoever may publish on one topic of one platform."""

    def __init__(
        self,
        topic: str,
        *,
        city: str,
        acknowledge: Callable[[Acknowledgement], Awaitable[bool]],
        count: Callable[[str], None],
    ) -> None:
        """`acknowledge` stores that an alarm was seen; False if it is not raised. Raises StoreError."""
        self._topic = topic
        self._city = city
        self._acknowledge = acknowledge
        self._count = count
        self.state = "not subscribed"

    async def listen(self, session: Session) -> None:
        """Subscribe; a platform that does not let us is a state, and gets its readings all the same."""
        self.state = "not subscribed"
        (granted,) = await session.subscribe([self._topic], qos=1)
        self.state = "subscribed" if granted < codes.UNSPECIFIED else codes.name_of(granted)
        if self.state != "subscribed":
            log.warning("city %s: nobody there can acknowledge: %s is refused, %s", self._city, self._topic, self.state)

    async def take(self, packet: Publish) -> int | None:
        """One message of the session; the code for its PUBACK, None to have it again."""
        note = self._read(packet)
        if note is None:
            self._count("operator_messages_refused")
            return codes.PAYLOAD_FORMAT_INVALID
        try:
            is_taken = await self._acknowledge(note)
        except StoreError:
            return None
        self._count("operator_acknowledgements" if is_taken else "operator_acknowledgements_void")
        return codes.SUCCESS

    def _read(self, packet: Publish) -> Acknowledgement | None:
        """None for what is no acknowledgement: another topic, retained, not this JSON."""
        if packet.topic != self._topic or packet.retain or len(packet.payload) > _MOST_BYTES:
            return None
        try:
            table = json.loads(packet.payload)
            rule, node, by, n = (table[name] for name in ("rule", "node", "by", "n"))
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        texts = all(isinstance(one, str) and 0 < len(one) <= _LONGEST_TEXT for one in (rule, node, by))
        if not texts or not isinstance(n, int) or isinstance(n, bool):
            return None
        return Acknowledgement(rule=rule, node=node, by=f"{by} ({self._city})", n=n)
