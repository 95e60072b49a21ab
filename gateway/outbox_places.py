"""How far each lane of one platform has been read: in memory only, so that several batches can be on their way.

The cursors on disk say what is settled; a place says what was handed out. Both lanes read one stored copy: backlog from
the cursor to the tail of the last reconnect, live from there on.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Iterable
from typing import Any, Literal

from gateway.reading import STREAMS

Lane = Literal["live", "backlog"]
_EVER = 2**62


class Place:
    """One lane of one stream. `returned`: records handed out and given back, oldest first."""

    __slots__ = ("ends_at", "lane", "read_to", "returned", "stream")

    def __init__(self, lane: Lane, stream: int, *, read_to: int, ends_at: int) -> None:
        self.lane: Lane = lane
        self.stream = stream
        self.read_to = read_to
        self.ends_at = ends_at
        self.returned: list[Any] = []


class Places:
    """All lanes and streams of one platform. `tail` is None until it was looked up after a reconnect."""

    def __init__(self) -> None:
        self.tail: int | None = None
        self.news: dict[Lane, asyncio.Event] = {"live": asyncio.Event(), "backlog": asyncio.Event()}
        self._by_lane: dict[tuple[Lane, int], Place] = {}

    def rewind(self) -> None:
        """Forget what was handed out; the tail is looked up anew."""
        self.tail = None
        self.announce("live")
        self.announce("backlog")

    def start(self, tail: int) -> None:
        """Backlog ends at `tail`, live begins behind it."""
        if self.tail is not None:  # another lane was faster
            return
        self.tail = tail
        self._by_lane.clear()
        for stream in range(len(STREAMS)):
            self._by_lane["backlog", stream] = Place("backlog", stream, read_to=0, ends_at=tail)
            self._by_lane["live", stream] = Place("live", stream, read_to=tail, ends_at=_EVER)

    def of(self, lane: Lane, stream: int) -> Place:
        return self._by_lane[lane, stream]

    def give_back(self, lane: Lane, stream: int, records: Iterable[Any]) -> None:
        """Records come again, in their order. What was handed out before the last rewind is owed anyway."""
        if self.tail is None:
            return
        returned = self.of(lane, stream).returned
        known = {one.id for one in returned}
        for one in records:
            if one.id not in known:
                insort(returned, one, key=lambda stored: int(stored.id))
        self.announce(lane)

    def announce(self, lane: Lane) -> None:
        """Wake whoever waits for this lane, and let the next wait for the next news."""
        self.news[lane].set()
        self.news[lane] = asyncio.Event()
