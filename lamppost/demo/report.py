"""The demo's verdict: what the nodes' own flash says was measured, against what an independent subscriber saw."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lamppost.demo.arrivals import Arrivals

Issued = dict[str, dict[int, int]]  # node id -> epoch -> one past the last sequence issued


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far values and times at the city lay from the scripted weather, over all node records."""

    compared: int = 0
    worst_steps: float = 0.0  # of the sensor's resolution, at the best moment within the time tolerance
    off: tuple[str, ...] = ()  # records that no moment within the tolerance explains


@dataclass(frozen=True, kw_only=True)
class Report:
    """The numbers of one run. `lost` and `duplicates` must be 0."""

    nodes: int
    duration_s: float
    outage_s: float
    drain_s: float
    measured: int
    delivered: int
    lost: int
    repeats: int
    duplicates: int
    by_bearer: dict[str, dict[str, int]]
    gateway_records: int
    values_compared: int
    values_off: int
    worst_value_error_in_steps: float
    first_live_after_outage_s: float | None
    protocol_errors: list[str] = field(default_factory=list)
    measured_ids: list[str] = field(default_factory=list)
    delivered_ids: list[str] = field(default_factory=list)
    lost_ids: list[str] = field(default_factory=list)
    duplicate_ids: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.duplicates or self.values_off or self.protocol_errors)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def issued_ids(issued: Issued) -> set[str]:
    """Every record id that the flash says was issued, trimmed ones included."""
    return {
        f"{node}/{epoch}/{seq}"
        for node, epochs in issued.items()
        for epoch, end in epochs.items()
        for seq in range(end)
    }


def judge(
    *,
    issued: Issued,
    bearers: dict[str, str],
    arrivals: Arrivals,
    deviation: Deviation,
    duration_s: float,
    outage_s: float,
    drain_s: float,
    first_live_s: float | None,
) -> Report:
    """Hold what was issued against what arrived. bearers: node id -> "lora" | "mqtt"."""
    measured, delivered = issued_ids(issued), arrivals.node_ids()
    lost = measured - delivered
    return Report(
        nodes=len(bearers),
        duration_s=round(duration_s, 1),
        outage_s=outage_s,
        drain_s=round(drain_s, 2),
        measured=len(measured),
        delivered=len(delivered),
        lost=len(lost),
        repeats=arrivals.repeats,
        duplicates=len(arrivals.duplicates),
        by_bearer={
            bearer: {"measured": _count(measured, bearers, bearer), "delivered": _count(delivered, bearers, bearer)}
            for bearer in sorted(set(bearers.values()))
        },
        gateway_records=len(arrivals.gateway_records()),
        values_compared=deviation.compared,
        values_off=len(deviation.off),
        worst_value_error_in_steps=round(deviation.worst_steps, 2),
        first_live_after_outage_s=first_live_s,
        protocol_errors=arrivals.errors[:20],
        measured_ids=sorted(measured),
        delivered_ids=sorted(delivered),
        lost_ids=sorted(lost),
        duplicate_ids=arrivals.duplicates,
    )


def _count(ids: Iterable[str], bearers: dict[str, str], bearer: str) -> int:
    return sum(bearers.get(record_id.rsplit("/", 2)[0]) == bearer for record_id in ids)
