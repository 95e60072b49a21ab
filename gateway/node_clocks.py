"""The clocks of nodes: what frames say of their boots is noted, and what a node is told of the time.

Runs in the commit thread. The table is gateway/boots.py, the arithmetic gateway/began.py.
"""

from __future__ import annotations

from gateway.began import TELLS_WITHIN_S, Began, told_now
from gateway.boots import Boots
from gateway.clock import ClockTrust
from gateway.decode import Body, Origin
from gateway.identity.sessions import Opened, Session
from gateway.tables import Tables

_TOLD_EVERY = 8  # short frames, for the four bytes are sent by radio
_WORTH_WRITING_S = 0.05


class NodeClocks:
    """Holds nothing in memory."""

    def __init__(self, boots: Boots, clock: ClockTrust) -> None:
        self._boots = boots
        self._clock = clock

    def note_boot(
        self, tx: Tables, opened: Opened, body: Body, session: Session | None, sent_at_s: float, clock_boot: int | None
    ) -> None:
        """A full frame tells which boot sends, and its uptime. `session`: before this frame."""
        if body.boot is None:
            return
        node = opened.node.id
        if session is not None and (session.epoch, session.boot) != (opened.epoch, body.boot):
            self._boots.close(tx, node, session.epoch, session.boot, heard_at_s=session.heard_at_s)
        self._boots.note(
            tx,
            node,
            opened.epoch,
            body.boot,
            started_at_s=sent_at_s - body.uptime_s,
            is_trusted=clock_boot is None and self._clock.is_good,
            clock_boot=clock_boot,
            heard_at_s=self._clock.at_least_s(sent_at_s),
        )

    def note_began(
        self, tx: Tables, opened: Opened, body: Body, session: Session | None, sent_at_s: float, clock_boot: int | None
    ) -> Began | None:
        """When the sending boot began, as the node was told and has told us, now or before. After note_boot."""
        boot = body.boot if body.boot is not None else session.boot if session is not None else None
        if boot is None:
            return None
        known = self._boots.began(tx, opened.node.id, opened.epoch, boot)
        began = _began_after(body, known, sent_at_s if clock_boot is None else None)
        if began is not None and _is_news(began, known):
            self._boots.set_began(tx, opened.node.id, opened.epoch, boot, began)
        return began

    def note_older(self, tx: Tables, body: Body, origin: Origin) -> None:
        """A frame may tell when the older boot began that measured its reports."""
        if body.older_boot is None or body.began_s is None or origin.clock_boot is not None or not origin.is_trusted:
            return
        self._boots.note_older(
            tx,
            origin.node.id,
            origin.epoch,
            body.older_boot,
            told_s=body.began_s,
            alive_at_s=body.began_s + body.reports[0].uptime_s,
            latest_s=origin.sent_at_s,
        )

    def utc_s(self, opened: Opened, body: Body, origin: Origin) -> int | None:
        """What the ack tells of the time at which the node began to transmit; None if nothing."""
        error_s = self._clock.error_s
        if error_s is None or error_s > TELLS_WITHIN_S or origin.clock_boot is not None:
            return None
        began = origin.began
        if not opened.is_full and (opened.counter % _TOLD_EVERY or (began is not None and not began.is_to_be_told())):
            return None
        uptime_s = body.uptime_s if opened.is_full else None
        return round(origin.sent_at_s) if began is None else began.tells(origin.sent_at_s, uptime_s)


def _began_after(body: Body, known: Began | None, sent_at_s: float | None) -> Began | None:
    """What is known after this frame; sent_at_s None: our own time is not."""
    if body.boot is None:
        return known if known is None or sent_at_s is None else known.followed(sent_at_s)
    told_s = body.began_s if body.older_boot is None else None
    if told_s is None:
        if known is None or sent_at_s is None:
            return known
        told_s = known.told_s
    if sent_at_s is None:
        return known if known is not None and known.told_s == told_s else Began(told_s, 0.0, is_checked=False)
    return told_now(told_s, known, sent_at_s, body.uptime_s)


def _is_news(began: Began, known: Began | None) -> bool:
    if known is None or (began.told_s, began.is_checked) != (known.told_s, known.is_checked):
        return True
    return began.is_checked and abs(began.lag_s - known.lag_s) > _WORTH_WRITING_S
