"""What one sealed frame changes: window, sequence, records, gaps; and which ack answers it. In one transaction.

Refusals come first and change nothing; then the frame is accepted as a whole. A re-transmission is a new frame around
old sequences: it stores nothing twice and is acked again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drivers.link.ack import bitmap, pack_ack
from drivers.link.frame import ACK, BEACON, COMMAND, FrameError
from drivers.link.order import pack_command
from drivers.link.unpack import unpack
from gateway import gaps
from gateway.boots import Boots
from gateway.clock import ClockTrust
from gateway.counters import Counters
from gateway.decode import Body, Origin, reports_of
from gateway.identity.sessions import Opened, Refused, Reply, Session, Sessions
from gateway.node_clocks import NodeClocks
from gateway.outbox.entries import Transaction
from gateway.reading import Report
from gateway.sequences import Sequences

PutReport = Callable[[Transaction, Report], object]
PutGap = Callable[[Transaction, gaps.Gap], None]
NextOrder = Callable[[Transaction, str], bytes | None]
HasCome = Callable[[Transaction, str, float], None]
_U32_MAX = 0xFFFFFFFF
_MOST_EPOCHS_LOOKED_AT = 256


@dataclass(frozen=True, kw_only=True)
class Uplink:
    """A frame as a bearer hands it over. `received_at_s`: stamp of the end of its reception (ClockTrust.stamp_s)."""

    frame: bytes
    bearer: str
    received_at_s: float
    rssi_dbm: float | None = None
    snr_db: float | None = None
    airtime_us: int = 0


@dataclass(frozen=True, kw_only=True)
class Ack:
    """What will be sealed for the node once the commit holds."""

    reply: Reply
    plaintext: bytes


@dataclass(kw_only=True, slots=True)  # not frozen: one is made per message
class Taken:
    """What became of one frame or message."""

    node: str | None
    reason: str | None = None
    address: int | None = None
    is_urgent: bool = False
    stored: int = 0
    ack: Ack | None = None


class Uplinks:
    """Takes frames in the commit thread."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        sequences: Sequences,
        clock: ClockTrust,
        counters: Counters,
        put_report: PutReport,
        put_gap: PutGap,
        boots: Boots,
        next_order: NextOrder = lambda tx, node: None,
        has_come: HasCome = lambda tx, node, at_s: None,
        anchor: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        """What is asked and told.

        next_order  gives the order that goes with the answer to a node, if one is to go
        has_come    told of a node that was at another gateway until now
        anchor      gives what a node that asks for beacons is told now, None if there are none
        """
        self._next_order = next_order
        self._has_come = has_come
        self._sessions = sessions
        self._sequences = sequences
        self._boots = boots
        self._node_clocks = NodeClocks(boots, clock)
        self._anchor = anchor
        self._clock = clock
        self._counters = counters
        self._put_report = put_report
        self._put_gap = put_gap

    def take(self, tx: Transaction, uplink: Uplink) -> Taken:
        """Store what the frame brings, or say why it is refused. The caller counts a refusal."""
        opened = self._sessions.open(tx, uplink.frame)
        if isinstance(opened, Refused):
            return Taken(node=opened.node, reason=opened.reason)
        if opened.kind == BEACON:
            return self._tell_anchor(tx, uplink, opened)
        try:
            body = unpack(opened.body, full=opened.is_full)
            epoch = _epoch_of(body, opened)
            sequence = self._sequences.of(tx, opened.node.id, epoch)
            body.resolve(sequence.highest)
        except FrameError as error:
            return Taken(node=opened.node.id, reason=error.reason)
        if body.reports[-1].seq == _U32_MAX:
            return Taken(node=opened.node.id, reason="bad_sequence")  # no ack could have it below its base
        if not sequence.has_room(len(body.reports)):
            return Taken(node=opened.node.id, reason="too_many_holes")
        return self._store(tx, uplink, opened, body, epoch)

    def _tell_anchor(self, tx: Transaction, uplink: Uplink, opened: Opened) -> Taken:
        """A node asks what it needs to believe beacons. It opens no session and no epoch: a report does."""
        node = opened.node.id
        if opened.root.is_pending or opened.advances_from is not None or self._sessions.of(tx, node) is None:
            return Taken(node=node, reason="no_session")
        anchor = self._anchor()
        if anchor is None:
            return Taken(node=node, reason="no_beacons")
        self._sessions.accept(tx, opened, boot=None, heard_at_s=self._clock.at_least_s(uplink.received_at_s))
        reply = self._sessions.reply_to(tx, opened, kind=BEACON)
        return Taken(node=node, address=opened.node.address, ack=Ack(reply=reply, plaintext=anchor))

    def _store(self, tx: Transaction, uplink: Uplink, opened: Opened, body: Body, epoch: int) -> Taken:
        sent_at_s, clock_boot = self._clock.place(uplink.received_at_s - uplink.airtime_us / 1e6)
        heard_at_s = self._clock.at_least_s(uplink.received_at_s)
        session = self._sessions.of(tx, opened.node.id)
        self._node_clocks.note_boot(tx, opened, body, session, sent_at_s, clock_boot)
        began = self._node_clocks.note_began(tx, opened, body, session, sent_at_s, clock_boot)
        if _was_elsewhere(opened, session):
            self._has_come(tx, opened.node.id, heard_at_s)
        self._sessions.accept(tx, opened, boot=body.boot, heard_at_s=heard_at_s)
        origin = Origin(
            node=opened.node,
            epoch=epoch,
            sent_at_s=sent_at_s,
            is_trusted=self._clock.is_trusted,
            is_urgent=opened.is_urgent,
            clock_boot=clock_boot,
            clock_error_s=self._clock.error_s or 0.0,
            began=began,
        )
        self._node_clocks.note_older(tx, body, origin)
        stored = self._store_reports(tx, body, origin)
        self._settle_floor(tx, body, origin)
        self._sequences.changed(opened.node.id, epoch)
        self._settle_epochs(tx, opened, body)
        return Taken(
            node=opened.node.id,
            address=opened.node.address,
            is_urgent=opened.is_urgent,
            stored=stored,
            ack=self._ack(tx, opened, epoch, utc_s=self._node_clocks.utc_s(opened, body, origin)),
        )

    def _store_reports(self, tx: Transaction, body: Body, origin: Origin) -> int:
        node, epoch = origin.node.id, origin.epoch
        sequence = self._sequences.of(tx, node, epoch)
        stored = 0
        for seq, digest, report in reports_of(tx, body, origin, self._boots):
            if sequence.add(seq):
                self._put_report(tx, report)
                self._sequences.note_content(tx, node, epoch, seq, digest)
                stored += 1
            elif self._sequences.has_content(tx, node, epoch, seq, digest):
                self._counters.add("reports_repeated")
            else:
                self._counters.add("reports_conflict")
        return stored

    def _settle_floor(self, tx: Transaction, body: Body, origin: Origin) -> None:
        """What lies below the floor and is not here will never come; the node may have said why."""
        node, epoch = origin.node.id, origin.epoch
        sequence = self._sequences.of(tx, node, epoch)
        missing = sequence.raise_floor(body.floor)
        told_from = body.floor - body.lost
        told = [(max(first, told_from), end) for first, end in missing if end > told_from]
        untold = [(first, min(end, told_from)) for first, end in missing if first < told_from]
        unexplained = gaps.NOT_HELD_HERE if sequence.is_new else gaps.UNEXPLAINED
        for gap in gaps.gaps_of(node, epoch, untold, unexplained):
            self._put_gap(tx, gap)
        for gap in gaps.gaps_of(node, epoch, told, gaps.reason_of_node(body.lost_reason)):
            self._put_gap(tx, gap)

    def _settle_epochs(self, tx: Transaction, opened: Opened, body: Body) -> None:
        """Earlier epochs that are closed and drained, and those that were jumped over."""
        node = opened.node.id
        for epoch, end, is_known in body.epochs_opened:
            if epoch >= opened.epoch:
                self._counters.add("epoch_notices_wrong")
                continue
            sequence = self._sequences.of(tx, node, epoch)
            reason = gaps.EPOCH_CLOSED if is_known else gaps.EPOCH_END_UNKNOWN
            reason = gaps.NOT_HELD_HERE if sequence.is_new and _may_roam(opened) else reason
            missing = sequence.raise_floor(end)
            self._sequences.changed(node, epoch)
            for gap in gaps.gaps_of(node, epoch, missing, reason):
                self._put_gap(tx, gap)
        if opened.advances_from is not None:
            reason = gaps.NOT_HELD_HERE if _may_roam(opened) else gaps.EPOCH_UNKNOWN
            self._tell_jumped(tx, node, opened.advances_from + 1, opened.epoch, reason)

    def _tell_jumped(self, tx: Transaction, node: str, first: int, end: int, reason: str) -> None:
        """Epochs in [first, end) of which nothing came: nobody here knows what they held."""
        if end - first > _MOST_EPOCHS_LOOKED_AT:
            unknown = [(first, end)]
        else:
            unknown = gaps.spans_of(epoch for epoch in range(first, end) if not self._sequences.knows(tx, node, epoch))
        for start, stop in unknown:
            last = stop - 1 if stop - 1 > start else None
            self._put_gap(tx, gaps.Gap(node=node, epoch=start, last_epoch=last, count=None, reason=reason))

    def _ack(self, tx: Transaction, opened: Opened, epoch: int, *, utc_s: int | None) -> Ack:
        sequence = self._sequences.of(tx, opened.node.id, epoch)
        plaintext = pack_ack(
            sequence.base,
            bitmap(sequence.base, sequence),
            wide=opened.is_full,
            epoch=epoch if epoch != opened.epoch else None,
            utc_s=utc_s,
        )
        order = self._next_order(tx, opened.node.id)
        if order is None:
            return Ack(reply=self._sessions.reply_to(tx, opened, kind=ACK), plaintext=plaintext)
        return Ack(reply=self._sessions.reply_to(tx, opened, kind=COMMAND), plaintext=pack_command(order, plaintext))


def _was_elsewhere(opened: Opened, session: Session | None) -> bool:
    """Whether this is the first frame after a join in a later epoch than we know: Joins.keep gives it to who roams."""
    known = max(1, opened.node.epoch) if session is None else session.epoch
    return opened.root.is_pending and opened.epoch > known


def _may_roam(opened: Opened) -> bool:
    """A node that joins may have been at another gateway, which has what it said there."""
    return opened.root.id > 0


def _epoch_of(body: Body, opened: Opened) -> int:
    """The epoch of the reports: the session's, or an older one that the frame names."""
    if body.epoch is None:
        return opened.epoch
    if body.epoch >= opened.epoch:
        raise FrameError("bad_extension")
    return int(body.epoch)
