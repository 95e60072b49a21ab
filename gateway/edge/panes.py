"""The rows of the windows step: a pane with the tallies of a span of time, a series with how far its time has come.

A tumbling window is one pane. A sliding one is made of panes as long as its slide, which it shares with others; the row
of a pane also says of the window that begins with it whether it is to be told. A session is one pane that grows.
"""

from __future__ import annotations

import json
import math
from typing import Any

from gateway.edge.definition import Definition
from gateway.edge.rows import Key
from gateway.edge.tally import Tally

Column = tuple[str, str | None]  # quantity and unit


_IDLE_S = 86_400.0


class Pane:
    """Tallies of one span, and the state of the window that begins there.

    is_hot      every window it belongs to is open: a value can go straight in
    is_partial  a node changed gateway in it
    revision    how often the window was told
    """

    __slots__ = (
        "definition",
        "end_s",
        "is_dirty",
        "is_hot",
        "is_open",
        "is_partial",
        "last_call_s",
        "last_s",
        "revision",
        "start_s",
        "subject",
        "tallies",
        "touched_s",
    )

    def __init__(self, definition: Definition, subject: str, start_s: float) -> None:
        self.definition = definition
        self.subject = subject
        self.start_s = start_s
        self.last_s = start_s  # of a session: its newest reading
        self.end_s = start_s + definition.slide_s if definition.gap_s is None else -math.inf  # a session is never hot
        self.last_call_s = start_s + definition.length_s + definition.lateness_s
        self.tallies: dict[Column, Tally] = {}
        self.revision = 0
        self.touched_s = 0.0
        self.is_open = self.is_hot = self.is_partial = self.is_dirty = False

    @property
    def key(self) -> Key:
        return (self.definition.owner, self.subject, self.start_s)

    @property
    def window_end_s(self) -> float:
        """When the window that begins here is over."""
        gap_s = self.definition.gap_s
        return self.start_s + self.definition.length_s if gap_s is None else self.last_s + gap_s

    def to_state(self) -> str:
        rows = [[*column, tally.to_state()] for column, tally in self.tallies.items()]
        head = [self.revision, self.is_partial, self.touched_s, self.last_s]
        return json.dumps([*head, rows], separators=(",", ":"))

    def take_state(self, state: str, *, is_open: bool) -> None:
        self.revision, self.is_partial, self.touched_s, self.last_s, rows = json.loads(state)
        self.is_open = is_open
        for quantity, unit, kept in rows:
            tally = self.definition.tally()
            tally.take_state(kept)
            self.tallies[quantity, unit] = tally


class Series:
    """All windows of one definition and subject.

    watermark_s  the newest time of a reading; one whose window ended more than the allowed lateness before is too late
    floor_s      windows that begin by then are over for good
    idle_s       when nothing came for so long, all windows so far are over for good
    sessions     of a definition of sessions: its panes, in order of time; None until they are read
    """

    __slots__ = ("definition", "floor_s", "idle_s", "is_dirty", "sessions", "subject", "touched_s", "watermark_s")

    is_open = True

    def __init__(self, definition: Definition, subject: str) -> None:
        self.definition = definition
        self.subject = subject
        self.watermark_s = self.floor_s = -math.inf
        self.touched_s = 0.0
        self.idle_s = max(_IDLE_S, definition.lateness_s) + (definition.gap_s or definition.length_s)
        self.sessions: list[Pane] | None = None
        self.is_dirty = False

    @property
    def key(self) -> Key:
        return (self.definition.owner, self.subject, 0.0)

    def to_state(self) -> str:
        return json.dumps([self.watermark_s, self.floor_s, self.touched_s])

    def take_state(self, state: str) -> None:
        self.watermark_s, self.floor_s, self.touched_s = json.loads(state)


class Slot:
    """The way of one quantity of one node into one series: where its last value went."""

    __slots__ = ("column", "pane", "series", "tally")

    def __init__(self, series: Series, column: Column) -> None:
        self.series = series
        self.column = column
        self.pane: Pane = _NOWHERE
        self.tally: Any = None


_NO_DEFINITION: Any = type("NoDefinition", (), {"slide_s": 0, "length_s": 0, "lateness_s": 0, "gap_s": None})()
_NOWHERE = Pane(_NO_DEFINITION, "", 0.0)  # never hot
