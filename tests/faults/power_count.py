"""What was done to a store and found in it, and what each platform got of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from gateway.outbox import Batch, Lane, Outcome


@dataclass
class Count:
    """What was done and found. Every list must stay empty."""

    cuts: int = 0
    starts: int = 0
    cut_while_starting: int = 0
    unsynced_writes: int = 0
    failed_calls: int = 0
    acknowledged: int = 0
    records: int = 0
    start_failures: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)  # deliveries that were noted
    unbalanced: list[str] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)
    two_ids: list[str] = field(default_factory=list)
    repeated_ids: list[str] = field(default_factory=list)
    repeated_nonces: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)  # windows
    gaps: list[str] = field(default_factory=list)  # told, though nothing was given up

    @property
    def problems(self) -> list[str]:
        named = ((one.name, getattr(self, one.name)) for one in fields(self))
        return [f"{name}: {said}" for name, value in named if isinstance(value, list) for said in value]

    def add(self, other: Count) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass
class Platform:
    """What one platform got: which ids, and how far each node and class came in each lane."""

    name: str
    got: set[str] = field(default_factory=set)  # record ids
    noted: set[str] = field(default_factory=set)  # those that the gateway has noted as delivered
    order: dict[tuple[str, int, Lane], float] = field(default_factory=dict)
    on_the_way: list[tuple[Batch, Outcome]] = field(default_factory=list)
    is_connected: bool = False
