"""When did each boot of a node begin: turns a node's own clock, which starts at zero with every boot, into UTC.

A full frame tells boot number and uptime, so the gateway learns that boot's offset. A boot that never told lies between
the last sign of an earlier boot and the start of the next known one: its reports get that interval, never a point.
Keyed by epoch too, for boot numbers begin again when a node is enrolled anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.tables import Tables

_KEPT = 256  # boots per node; a node in a crash loop must not fill the disk


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in UTC: a point, or the middle of an interval."""

    at_s: float
    is_point: bool
    error_s: float


class Boots:
    """The boots table. Lives in the commit thread; holds nothing in memory."""

    def note(
        self,
        tx: Tables,
        node: str,
        epoch: int,
        boot: int,
        *,
        started_at_s: float,
        is_trusted: bool,
        heard_at_s: float,
    ) -> None:
        """A full frame of this boot came. The earliest start stands: a frame may come late, never early."""
        tx.execute(
            "INSERT INTO boots (node, epoch, boot, started_at_s, is_trusted, heard_at_s) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET heard_at_s = excluded.heard_at_s,"
            " started_at_s = CASE WHEN excluded.is_trusted > is_trusted"
            " OR (excluded.is_trusted = is_trusted AND excluded.started_at_s < started_at_s)"
            " THEN excluded.started_at_s ELSE started_at_s END,"
            " is_trusted = max(is_trusted, excluded.is_trusted)",
            (node, epoch, boot, started_at_s, is_trusted, heard_at_s),
        )
        tx.execute(
            "DELETE FROM boots WHERE node = ? AND (epoch, boot) NOT IN"
            " (SELECT epoch, boot FROM boots WHERE node = ? ORDER BY epoch DESC, boot DESC LIMIT ?)",
            (node, node, _KEPT),
        )

    def close(self, tx: Tables, node: str, epoch: int, boot: int, *, heard_at_s: float) -> None:
        """The node was last heard in this boot then; a later boot has begun."""
        tx.execute(
            "UPDATE boots SET heard_at_s = max(heard_at_s, ?) WHERE node = ? AND epoch = ? AND boot = ?",
            (heard_at_s, node, epoch, boot),
        )

    def resolve(
        self,
        tx: Tables,
        node: str,
        epoch: int,
        boot: int,
        uptime_s: int,
        *,
        not_before_s: float,
        now_s: float,
    ) -> Moment:
        """UTC of `uptime_s` in that boot.

        not_before_s  the node did not measure before, e.g. its enrolment
        """
        row = tx.execute(
            "SELECT started_at_s FROM boots WHERE node = ? AND epoch = ? AND boot = ? AND is_trusted",
            (node, epoch, boot),
        ).fetchone()
        if row:
            return Moment(row[0] + uptime_s, True, 1.0)
        place = (node, epoch, boot)
        before = tx.execute(
            "SELECT max(heard_at_s) FROM boots WHERE node = ? AND (epoch, boot) < (?, ?) AND is_trusted", place
        ).fetchone()[0]
        after = tx.execute(
            "SELECT min(started_at_s) FROM boots WHERE node = ? AND (epoch, boot) > (?, ?) AND is_trusted", place
        ).fetchone()[0]
        earliest = max(not_before_s, before or not_before_s) + uptime_s
        latest = min(now_s, after) if after is not None else now_s
        if earliest > latest:  # its clock ran fast, or the gateway's was set back: the boot ended before the next began
            earliest = latest
        return Moment((earliest + latest) / 2, False, max(1.0, (latest - earliest) / 2))
