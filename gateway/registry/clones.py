"""Is one identity in two places? Gateways record in which epoch they heard a node; a session belongs to one gateway.

A node that moves joins, and gets a higher epoch. So whoever is heard at one gateway after another gateway heard it in
the same epoch, or in a later one, is there twice: a copy of its memory, or a stolen session. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.registry import statement as st
from gateway.registry.statement import reread

HEARD = "heard"
CLOCKS_APART_S = 60  # two gateways' clocks may differ by so much


@dataclass(frozen=True, order=True)
class Heard:
    """A gateway heard the node at this time, in this epoch."""

    at_s: int
    gateway: str
    epoch: int


@dataclass(frozen=True)
class Clone:
    """`later` cannot be the node that `earlier` heard."""

    earlier: Heard
    later: Heard

    def __str__(self) -> str:
        return (
            f"heard at {self.later.gateway} in epoch {self.later.epoch}, {self.later.at_s - self.earlier.at_s} s after "
            f"{self.earlier.gateway} heard it in epoch {self.earlier.epoch}"
        )


def heard_of(facts: Iterable[bytes]) -> list[Heard]:
    """The records among the statements about one subject, oldest first."""
    said = [one for one in map(reread, facts) if one.kind == st.RECORD and one.fields["what"] == HEARD]
    return sorted(Heard(one.at_s, one.writer, one.fields.get("epoch", 0)) for one in said)


def clone_of(records: Iterable[Heard]) -> Clone | None:
    """The latest contradiction among the records of one node, if there is one."""
    seen = sorted(records)
    for later in reversed(seen):
        for earlier in reversed(seen):
            is_elsewhere = earlier.gateway != later.gateway
            if is_elsewhere and later.at_s > earlier.at_s + CLOCKS_APART_S and later.epoch <= earlier.epoch:
                return Clone(earlier, later)
    return None
