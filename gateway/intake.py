"""The one door: frames, third-party messages and our own readings go in, a verdict comes out when they are on disk.

submit() -> [store.write: open, decode, put in the outbox, commit] -> acknowledge -> Verdict. Many callers share a
commit; an alarm does not wait for company. What was refused is counted by reason; what could not be stored is not
acknowledged in any way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drivers.link.frame import URGENT
from drivers.link.join import is_join
from gateway.bursts import Burst, Bursts
from gateway.counters import Counters
from gateway.devices import Devices, Message
from gateway.identity.joins import Joins, NoJoin, Proof
from gateway.outbox.entries import Transaction
from gateway.reading import Reading
from gateway.store import Store, StoreError, StoreFull
from gateway.uplinks import Taken, Uplink, Uplinks

__all__ = ["Burst", "Intake", "Message", "Uplink", "Verdict"]

log = logging.getLogger(__name__)

_WITHIN_S = {"lora": 0.5}  # the answer's moment is 2 s after the frame
_REACT_S = 0.02  # a rule acts on what is stored: its alarm must not wait for company
_NODE_WAITS_S = 0.1  # on any other bearer a node sends its next frame when this one is answered
PutOwn = Callable[[Transaction, Sequence[Reading], str, float | None], str]


@dataclass(kw_only=True, slots=True)  # not frozen: one is made per message
class Verdict:
    """What became of a submission.

    accepted  on disk, now or before
    reason    why not: the counter refused_<reason> has moved
    retry     not stored for want of a working disk: acknowledge nothing, the sender delivers again
    downlink  the sealed ack to send back, if there is one
    stored    how many records are new
    is_join   `downlink` belongs to a join, not to a report: it may wait, and has a share of its own
    """

    accepted: bool
    reason: str | None = None
    retry: bool = False
    downlink: bytes | None = None
    node: str | None = None
    address: int | None = None
    urgent: bool = False
    stored: int = 0
    is_join: bool = False


@dataclass(frozen=True, kw_only=True)
class Heard:
    """How a node was heard last."""

    at_s: float
    bearer: str
    rssi_dbm: float | None
    snr_db: float | None


class Intake:
    """Takes submissions from any number of tasks. A full queue makes them wait."""

    def __init__(
        self,
        store: Store,
        *,
        uplinks: Uplinks,
        joins: Joins,
        devices: Devices,
        bursts: Bursts,
        put_own: PutOwn,
        counters: Counters,
        utc_s: Callable[[], int | None],
        is_babbling: Callable[[int], bool] = lambda _: False,
        must_react: Callable[[], bool] = lambda: False,
        note_refusal: Callable[[str, str | None], None] = lambda reason, who: None,
    ) -> None:
        """What is asked of others.

        utc_s       seconds since 1970, None while the clock is not trusted
        is_babbling  whether alarms from a short address do not hurry for now
        must_react  whether a rule acts on the spot on what is stored
        """
        self._is_babbling = is_babbling
        self._must_react = must_react
        self._note_refusal = note_refusal
        self._store = store
        self._joins = joins
        self._utc_s = utc_s
        self._uplinks = uplinks
        self._devices = devices
        self._bursts = bursts
        self._put_own = put_own
        self._counters = counters
        self.heard: dict[str, Heard] = {}  # by node id: only enrolled nodes come here, so it stays small

    async def submit(self, uplink: Uplink) -> Verdict:
        """Take one sealed frame. Returns after the commit, with the ack to send if the frame was good."""
        self._counters.add("uplinks")
        if is_join(uplink.frame):
            return await self._join(uplink)
        urgent = len(uplink.frame) > 2 and uplink.frame[0] & 0x0F == URGENT
        urgent = urgent and not self._is_babbling(int.from_bytes(uplink.frame[1:3], "big"))
        try:
            taken = await self._store.write(
                lambda tx: self._uplinks.take(tx, uplink),
                urgent=urgent,
                within_s=self._within_s(_WITHIN_S.get(uplink.bearer, _NODE_WAITS_S)),
            )
        except StoreError as error:
            return self._not_stored(error)
        if taken.reason is None and taken.node is not None:
            self.heard[taken.node] = Heard(
                at_s=uplink.received_at_s, bearer=uplink.bearer, rssi_dbm=uplink.rssi_dbm, snr_db=uplink.snr_db
            )
        return self._acknowledge(taken)

    async def _join(self, uplink: Uplink) -> Verdict:
        """One step of a join. What it agreed on is on disk before the node is told."""
        outcome = self._joins.take(uplink.frame)
        if isinstance(outcome, Proof):
            proof = outcome
            try:
                epoch = await self._store.write(
                    lambda tx: self._joins.keep(tx, proof, at_s=uplink.received_at_s), urgent=True
                )
            except StoreError as error:
                return self._not_stored(error)
            outcome = self._joins.tell(proof, epoch=epoch, utc_s=self._utc_s())
        if isinstance(outcome, NoJoin):
            return self._refuse(outcome.reason, outcome.node)
        return Verdict(accepted=True, downlink=outcome.frame, address=outcome.address, node=outcome.node, is_join=True)

    async def submit_senml(self, message: Message) -> Verdict:
        """Take one message of a third-party device. Returns after the commit."""
        self._counters.add("senml_messages")
        try:
            taken = await self._store.write(lambda tx: self._devices.take(tx, message), within_s=self._within_s(None))
        except StoreError as error:
            return self._not_stored(error)
        return self._acknowledge(taken)

    async def submit_bursts(
        self, bursts: Sequence[Burst | Message], *, within_s: float | None = None
    ) -> list[list[str | None]]:
        """Take messages of third parties that came together, in their order. Returns after the commit.

        within_s  the longest that they wait for company; None: as the rate of arrivals allows
        Returns   for each why its messages are refused, None for one that is not
        Raises    StoreError: nothing of them is stored, and nothing is to be acknowledged
        """
        count = sum([len(one.payloads) if isinstance(one, Burst) else 1 for one in bursts])
        self._counters.add("senml_messages", count)
        try:
            refused = await self._store.write(
                lambda tx: self._bursts.take(tx, bursts), within_s=self._within_s(within_s), weight=count
            )
        except StoreError as error:
            self._counters.add(_counter_of(error), count)
            raise
        for burst, reasons in zip(bursts, refused, strict=True):
            if any(reasons):
                self._count_refused(burst, reasons)
        return refused

    def _count_refused(self, burst: Burst | Message, reasons: Sequence[str | None]) -> None:
        devices = burst.devices if isinstance(burst, Burst) else [burst.device]
        for device, reason in zip(devices, reasons, strict=True):
            if reason is not None:
                self._refuse(reason, device)

    async def submit_own(
        self, readings: Sequence[Reading], *, kind: str = "telemetry", measured_at_s: float | None = None
    ) -> str:
        """Store readings of the gateway's own sensors. Returns their record id. Raises StoreError."""
        return await self._store.write(
            lambda tx: self._put_own(tx, readings, kind, measured_at_s),
            urgent=kind == "alarm",
            within_s=self._within_s(None),
        )

    def _within_s(self, longest_s: float | None) -> float | None:
        """How long a submission may wait for company at most, None as the rate allows."""
        if not self._must_react():
            return longest_s
        return _REACT_S if longest_s is None else min(longest_s, _REACT_S)

    def _acknowledge(self, taken: Taken) -> Verdict:
        """After the commit: seal the ack, which the node will trust."""
        if taken.reason is not None:
            return self._refuse(taken.reason, taken.node)
        return Verdict(
            accepted=True,
            downlink=taken.ack.reply.seal(taken.ack.plaintext) if taken.ack else None,
            node=taken.node,
            address=taken.address,
            urgent=taken.is_urgent,
            stored=taken.stored,
        )

    def _refuse(self, reason: str, node: str | None) -> Verdict:
        self._counters.add(f"refused_{reason}")
        self._note_refusal(reason, node)
        log.debug("refused: %s%s", reason, f" from {node}" if node else "")
        return Verdict(accepted=False, reason=reason, node=node)

    def _not_stored(self, error: StoreError) -> Verdict:
        reason = _counter_of(error)
        self._counters.add(reason)
        return Verdict(accepted=False, reason=reason, retry=True)


def _counter_of(error: StoreError) -> str:
    return "store_full" if isinstance(error, StoreFull) else "store_failed"
