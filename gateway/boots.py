"""When did each boot of a node begin: turns a node's own clock, which starts at zero with every boot, into UTC.

A full frame tells boot number and uptime, so the gateway learns that boot's offset: to UTC, or, while the gateway does
not know the time itself, to the start of its own boot, whose UTC comes later. A boot that never told lies between
the last sign of an earlier boot and the start of the next known one: its reports get that interval, never a point.
Keyed by epoch too, for boot numbers begin again when a node is enrolled anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway import boot_times
from gateway.began import ERROR_S, Began
from gateway.clock import RELEASED_AT_S
from gateway.tables import Tables

NODE_DRIFT = 200e-6  # of a node's clock: crystal, and what calibration leaves of the RC clock in deep sleep
_KEPT = 256  # boots per node; a node in a crash loop must not fill the disk


@dataclass(frozen=True, slots=True)
class Moment:
    """A point, or the middle of an interval, in UTC; with `clock_boot` in seconds since that boot of the gateway began.

    not_before_s  UTC: with clock_boot, and no point: the interval begins here and ends at at_s
    """

    at_s: float
    is_point: bool
    error_s: float
    clock_boot: int | None = None
    not_before_s: float | None = None


Start = tuple[float, int, int | None]  # started_at_s, is_trusted, clock_boot


class Boots:
    """The boots table. Lives in the commit thread; holds nothing in memory."""

    def begin(self, tx: Tables) -> None:
        """Bring the table of an earlier version up to date."""
        there = {row[1] for row in tx.execute("PRAGMA table_info(boots)")}
        for column in ("clock_boot INTEGER", "told_s INTEGER", "lag_s REAL"):
            if column.split()[0] not in there:
                tx.execute(f"ALTER TABLE boots ADD COLUMN {column}")

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
        clock_boot: int | None = None,
    ) -> None:
        """A full frame of this boot came. The earliest start stands: a frame may come late, never early.

        started_at_s  UTC; with clock_boot, seconds since that boot of the gateway began
        heard_at_s    UTC that had passed when it was heard
        """
        row = tx.execute(
            "SELECT started_at_s, is_trusted, clock_boot FROM boots WHERE node = ? AND epoch = ? AND boot = ?",
            (node, epoch, boot),
        ).fetchone()
        start = _better(row, (started_at_s, int(is_trusted), clock_boot))
        tx.execute(
            "INSERT INTO boots (node, epoch, boot, started_at_s, is_trusted, clock_boot, heard_at_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET started_at_s = excluded.started_at_s,"
            " is_trusted = excluded.is_trusted, clock_boot = excluded.clock_boot,"
            " heard_at_s = max(heard_at_s, excluded.heard_at_s)",
            (node, epoch, boot, *start, heard_at_s),
        )
        self._bound(tx, node)

    def began(self, tx: Tables, node: str, epoch: int, boot: int) -> Began | None:
        """What this boot of a node has told of its beginning."""
        row = tx.execute(
            "SELECT told_s, lag_s FROM boots WHERE node = ? AND epoch = ? AND boot = ? AND told_s IS NOT NULL",
            (node, epoch, boot),
        ).fetchone()
        return None if row is None else Began(row[0], row[1] or 0.0, is_checked=row[1] is not None)

    def set_began(self, tx: Tables, node: str, epoch: int, boot: int, began: Began) -> None:
        """Keep what the boot that sends has told; it was noted."""
        tx.execute(
            "UPDATE boots SET told_s = ?, lag_s = ? WHERE node = ? AND epoch = ? AND boot = ?",
            (began.told_s, began.lag_s if began.is_checked else None, node, epoch, boot),
        )

    def note_older(
        self, tx: Tables, node: str, epoch: int, boot: int, *, told_s: int, alive_at_s: float, latest_s: float
    ) -> None:
        """An older boot began then, as the node was told in it; it is taken if nothing that we know speaks against it.

        alive_at_s  UTC: it lasted at least until then
        latest_s    UTC: no report of it was made later
        """
        place = (node, epoch, boot)
        if not RELEASED_AT_S <= told_s <= alive_at_s <= latest_s + 1:
            return
        row = tx.execute(
            "SELECT started_at_s, is_trusted, clock_boot FROM boots WHERE node = ? AND epoch = ? AND boot = ?", place
        ).fetchone()
        if row is None:
            tx.execute(
                "INSERT INTO boots (node, epoch, boot, started_at_s, is_trusted, heard_at_s, told_s, lag_s)"
                " VALUES (?, ?, ?, ?, 1, ?, ?, 0)",
                (*place, told_s, alive_at_s, told_s),
            )
            self._bound(tx, node)
        elif row[2] is None:
            began = Began(told_s, row[0] - told_s if row[1] else 0.0)
            if began.agrees():
                self.set_began(tx, *place, began)

    def _bound(self, tx: Tables, node: str) -> None:
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

    def settle(self, tx: Tables, ours: boot_times.Boot) -> None:
        """A boot of the gateway has got its UTC: so have those boots of nodes that were noted by it."""
        tx.execute(
            "UPDATE boots SET started_at_s = started_at_s + ?, is_trusted = ?, clock_boot = NULL WHERE clock_boot = ?",
            (ours.start_s, ours.quality == "good", ours.number),
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
        clock_boot: int | None = None,
    ) -> Moment:
        """The time of `uptime_s` in that boot.

        not_before_s  the node did not measure before, e.g. its enrolment
        now_s         UTC; with clock_boot, seconds since that boot of the gateway began
        """
        place = (node, epoch, boot)
        known = self._known(tx, place, uptime_s)
        if known is not None:
            return known
        before = tx.execute(
            "SELECT max(heard_at_s) FROM boots WHERE node = ? AND (epoch, boot) < (?, ?)"
            " AND (is_trusted OR clock_boot IS NOT NULL)",
            place,
        ).fetchone()[0]
        earliest = max(not_before_s, before or not_before_s) + uptime_s
        latest, latest_boot = self._latest(tx, place, now_s, clock_boot)
        if latest_boot is not None:
            return Moment(latest, False, 1.0, latest_boot, earliest)
        if earliest > latest:  # its clock ran fast, or the gateway's was set back: the boot ended before the next began
            earliest = latest
        return Moment((earliest + latest) / 2, False, max(1.0, (latest - earliest) / 2))

    def _known(self, tx: Tables, place: tuple[str, int, int], uptime_s: int) -> Moment | None:
        """By the boot's beginning, if it is known; what the node was told is taken unless we know better."""
        row = tx.execute(
            "SELECT started_at_s, is_trusted, clock_boot, told_s, lag_s, heard_at_s FROM boots"
            " WHERE node = ? AND epoch = ? AND boot = ?",
            place,
        ).fetchone()
        if row is None:
            return None
        started_at_s, is_trusted, clock_boot, told_s, lag_s, heard_at_s = row
        if told_s is not None and clock_boot is None:
            if lag_s is None:
                lag_s = started_at_s - told_s if is_trusted else 0.0
            if Began(told_s, lag_s).agrees():
                at_s = told_s + uptime_s
                return Moment(at_s, True, ERROR_S + NODE_DRIFT * max(0.0, at_s - heard_at_s))
        if is_trusted or clock_boot is not None:
            return Moment(started_at_s + uptime_s, True, 1.0, clock_boot)
        return None

    def _latest(
        self, tx: Tables, place: tuple[str, int, int], now_s: float, clock_boot: int | None
    ) -> tuple[float, int | None]:
        """When the node had certainly gone on to another boot: in UTC if that can be said, else in a boot of ours."""
        later = "SELECT min(started_at_s) FROM boots WHERE node = ? AND (epoch, boot) > (?, ?)"
        after = tx.execute(f"{later} AND is_trusted", place).fetchone()[0]
        if after is not None:
            return (after if clock_boot is not None else min(now_s, after)), None
        if clock_boot is None:
            return now_s, None
        after = tx.execute(f"{later} AND clock_boot = ?", (*place, clock_boot)).fetchone()[0]
        return (now_s if after is None else min(now_s, after)), clock_boot


def _better(known: Start | None, told: Start) -> Start:
    """What says more of a boot's start: UTC rather than a boot of ours, a later one of those, and the earliest."""
    if known is None:
        return told

    def rank(start: Start) -> tuple[int, int, float]:
        started_at_s, is_trusted, clock_boot = start
        return (is_trusted, clock_boot or 0, -started_at_s)

    return max(known, told, key=rank)
