"""One declared window with its derived values, and the name of its state, which changes with its shape.

The windows of `[edge] window_s` are a definition without a name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase

from gateway.config_edge import WindowConfig
from gateway.edge.groups import Groups
from gateway.edge.tally import FullTally, Tally

_PLAIN = frozenset(("count", "mean", "min", "max"))
_UNNAMED = "minute"  # a name that the configuration wants; never shown


class Definition:
    """What one [[edge.window]] says."""

    def __init__(self, config: WindowConfig, *, is_named: bool = True) -> None:
        self.config = config
        self.name = config.name if is_named else ""
        self.length_s = config.length_s
        self.slide_s = config.slide_s or config.length_s
        self.gap_s = config.gap_s
        self.delay_s = config.delay_s
        self.lateness_s = config.lateness_s
        self.quantities = config.quantities
        self.is_plain = not config.quantiles and set(config.stats) <= _PLAIN
        self.owner = f"{self.name}#{hashlib.sha256(self.to_state().encode()).hexdigest()[:12]}"

    def to_state(self) -> str:
        """So that windows of a definition that is gone can still be told."""
        return json.dumps([bool(self.name), asdict(self.config)], sort_keys=True)

    @classmethod
    def from_state(cls, state: str) -> Definition:
        is_named, fields = json.loads(state)
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return cls(WindowConfig(**{**fields, **lists}), is_named=is_named)

    def takes(self, quantity: str) -> bool:
        return any(fnmatchcase(quantity, one) for one in self.config.quantities)

    def names_exactly(self, quantity: str) -> bool:
        """Whether the quantity is named without a wildcard."""
        return quantity in self.config.quantities

    def subjects(self, node: str, groups: Groups) -> Sequence[str]:
        """Whose windows a reading of the node goes into."""
        if not groups.takes(self.config.nodes, node):
            return ()
        return (node,) if self.config.by == "node" else groups.of(node, self.config.by)

    def tally(self) -> Tally:
        """An empty one, that keeps what the statistics need."""
        if self.is_plain:
            return Tally()
        return FullTally(with_course="time_mean" in self.config.stats, with_sketch=bool(self.config.quantiles))


def every(window_s: int) -> Definition:
    """The windows that are there without being declared."""
    return Definition(WindowConfig(name=_UNNAMED, length_s=window_s), is_named=False)
