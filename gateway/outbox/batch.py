"""What the outbox hands to a forwarder, and gets back with an outcome; and what still waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.outbox.stored import Stored

Lane = Literal["live", "backlog"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Records of one stream for one platform, oldest first. `size`: bytes in the outbox, of a batch as it was taken.

    connection  which reconnect it was taken after: an older one cannot be given back
    """

    city: str
    stream: int
    lane: Lane
    records: tuple[Stored, ...]
    size: int = 0
    connection: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What still waits for one platform. `bytes`: of all records stored, those of other platforms too."""

    records: int
    bytes: int
    oldest_at_s: float | None
