"""From the body of an authentic frame to reports: values in primary units, and when they were measured.

measured_at = received_at - time on air - age, by the gateway's clock: UTC, or seconds of its boot. Reports of an older
boot are placed by that boot's start, or in an interval. Knows no keys and stores nothing. Source: docs/protocol.md,
"Report body"; schemas: drivers/link/schema.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from drivers.link import schema as schemas
from gateway.began import Began
from gateway.boots import NODE_DRIFT, Boots, Moment
from gateway.clock import GOOD_WITHIN_S
from gateway.identity.nodes import Node
from gateway.reading import Kind, Pending, Reading, Report, TimeQuality, exact_time_s
from gateway.tables import Tables

_AGE_STEP_S = 1.0  # ages and uptimes are whole seconds


class Arrival(Protocol):
    """One report of a body: drivers.link.unpack.Arrival, which carries no annotations."""

    seq: int
    age_s: int
    uptime_s: int
    schema: int
    values: Any


class Body(Protocol):
    """What one frame reports: drivers.link.unpack.Body after resolve()."""

    boot: int | None
    uptime_s: int
    epoch: int | None
    older_boot: int | None
    began_s: int | None
    floor: int
    lost: int
    lost_reason: int | None
    epochs_opened: tuple[tuple[int, int, bool], ...]
    reports: list[Arrival]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What is known of a frame beside its body.

    sent_at_s      UTC at the start of its transmission; with clock_boot, seconds since that boot of the gateway began
    clock_error_s  how far off the gateway's clock may be
    began          when the sending boot began, as the node was told
    """

    node: Node
    epoch: int  # of the reports
    sent_at_s: float
    is_trusted: bool
    is_urgent: bool
    clock_boot: int | None = None
    clock_error_s: float = 0.0
    began: Began | None = None


def reports_of(tx: Tables, body: Body, origin: Origin, boots: Boots) -> Iterator[tuple[int, int, Report]]:
    """Yield (sequence, digest of the content, report) for each report of a resolved body."""
    kind: Kind = "alarm" if origin.is_urgent else "telemetry"
    for arrival in body.reports:
        moment = _moment(tx, body, arrival, origin, boots)
        is_window = arrival.schema == schemas.WINDOW
        length_s = arrival.values[0] if is_window else 0  # its report has the time of its end
        report = Report(
            node=origin.node.id,
            record_id=f"{origin.node.id}/{origin.epoch}/{arrival.seq}",
            measured_at_s=exact_time_s(moment.at_s - length_s),
            pending=_pending(moment),
            readings=tuple(_readings(arrival)),
            epoch=origin.epoch,
            seq=arrival.seq,
            time_quality=_quality(moment, origin),
            time_error_s=round(moment.error_s, 3),
            assurance="aead",
            kind="window" if is_window else "event" if arrival.schema == schemas.OUTCOME else kind,
        )
        yield arrival.seq, digest_of(arrival), report


def digest_of(arrival: Arrival) -> int:
    """48 bits over what a report says, without its time: an age in whole seconds varies between transmissions."""
    content = repr((arrival.schema, [tuple(v) if isinstance(v, list) else v for v in arrival.values])).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=6).digest(), "big")


def _moment(tx: Tables, body: Body, arrival: Arrival, origin: Origin, boots: Boots) -> Moment:
    if body.older_boot is None:
        error_s = _AGE_STEP_S + arrival.age_s * NODE_DRIFT + origin.clock_error_s
        own_s = origin.sent_at_s - arrival.age_s
        told_s = None
        if origin.began is not None and origin.clock_boot is None:
            told_s = origin.began.time_s(own_s, arrival.uptime_s)
        if told_s is not None:
            return Moment(told_s, True, error_s + abs(told_s - own_s))
        return Moment(own_s, True, error_s, origin.clock_boot)
    return boots.resolve(
        tx,
        origin.node.id,
        origin.epoch,
        body.older_boot,
        arrival.uptime_s,
        not_before_s=origin.node.enrolled_at_s,
        now_s=origin.sent_at_s,
        clock_boot=origin.clock_boot,
    )


def _pending(moment: Moment) -> Pending | None:
    return None if moment.clock_boot is None else Pending(moment.clock_boot, "good", moment.not_before_s)


def _quality(moment: Moment, origin: Origin) -> TimeQuality:
    if moment.clock_boot is not None or (origin.clock_boot is None and not origin.is_trusted):
        return "untrusted"
    return "good" if moment.is_point and origin.clock_error_s <= GOOD_WITHIN_S else "bounded"


def _readings(arrival: Arrival) -> Iterator[Reading]:
    for name, unit, exponent, mantissa in schemas.readings(arrival.schema, arrival.values):
        yield Reading(quantity=name, value=_decimal(mantissa, exponent), unit=unit or None)


def _decimal(mantissa: int, exponent: int) -> float | int:
    """The float nearest to mantissa x 10^exponent: dividing rounds once, multiplying by an inverse twice."""
    return float(mantissa * 10**exponent) if exponent > 0 else mantissa / 10**-exponent if exponent else mantissa
