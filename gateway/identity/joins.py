"""Joins at the gateway: which exchanges are half open, what answers a join frame, and which key comes of it.

Goes in: join frames as they came. Comes out: the frame that answers, a refusal by name, or a proof that must be on
disk before it is answered. At most 32 exchanges are remembered, the oldest unconfirmed one goes first; a message that
comes again gets the same answer again. Does no I/O. Frames: docs/protocol.md, "Join".
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers.link import join
from drivers.link.edhoc import EdhocError
from drivers.link.frame import FrameError
from drivers.link.p256 import CurveError
from gateway.identity.edhoc import Agreed, Answered, Party
from gateway.identity.nodes import Node, Nodes
from gateway.identity.own import Own
from gateway.identity.roots import Roots
from gateway.identity.sessions import Session, Sessions
from gateway.tables import Tables

MOST_HALF_OPEN = 32
_LIFETIME_S = 120.0  # a node that did not answer until then begins anew
_RENEWAL_STEP = 16  # a node opens epochs itself; those nobody heard of must not be met again
_CONNECTIONS = [*range(0x18), *range(0x20, 0x38)]  # what EDHOC writes in one byte


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A frame to send back."""

    frame: bytes
    address: int
    node: str | None = None


@dataclass(frozen=True)
class NoJoin:
    """A frame to drop; `reason` is the name of the counter that moves, after "refused_"."""

    reason: str
    node: str | None = None


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A node has proven who it is. `root` must be on disk (keep) before it is told (tell)."""

    exchange: Exchange
    agreed: Agreed
    node: Node
    root: bytes
    epoch: int
    list_version: int
    generation: int


@dataclass
class Exchange:
    """One message_1 and what followed."""

    address: int
    connection: int
    c_i: int
    digest: bytes
    answered: Answered
    answer: Answer
    started_s: float
    taken: bytes = b""  # the message_3 that was proven
    confirmation: Answer | None = None


class Joins:
    """All exchanges of this gateway."""

    def __init__(
        self,
        *,
        own: Callable[[], Own | None],
        nodes: Nodes,
        sessions: Sessions,
        roots: Roots,
        monotonic_s: Callable[[], float],
        count: Callable[[str], None],
        may_join: Callable[[Node], str | None] = lambda node: None,
        kept: Callable[[str, int], None] = lambda node, epoch: None,
        leaves_it: Callable[[], bool] = lambda: False,
    ) -> None:
        """What is asked and told of nodes.

        may_join  why a node is refused although it proved who it is ("revoked"), None if it is not
        kept      told the id and the epoch of each node whose key is written down
        leaves_it asked when a message_1 comes again: whether this time it is left to another gateway to answer. Two
                  that answer at the same moment drown each other
        """
        self._own = own
        self._nodes = nodes
        self._sessions = sessions
        self._roots = roots
        self._monotonic_s = monotonic_s
        self._count = count
        self._may_join = may_join
        self._kept = kept
        self._leaves_it = leaves_it
        self._open: dict[int, Exchange] = {}  # by connection, oldest first

    def __len__(self) -> int:
        return len(self._open)

    def take(self, raw: bytes) -> Answer | Proof | NoJoin:
        """Say what follows from a join frame."""
        own = self._own()
        if own is None:
            return NoJoin("join_not_configured")
        try:
            frame = join.parse_join(raw)
            self._expire()
            if frame.number == 1:
                return self._begin(own, frame)
            return self._prove(frame) if frame.number == 3 else NoJoin("wrong_direction")
        except FrameError as error:
            return NoJoin(f"join_{error.reason}")
        except EdhocError as error:
            return NoJoin(f"join_{error.reason}")

    def keep(self, tx: Tables, proof: Proof, *, at_s: float) -> int:
        """Write the key down. Returns the epoch that the node is to go on in: its own, or one that nobody met before.

        A node that was at another gateway meanwhile gets a new one: heard under the old one again, it would be a copy
        (gateway/registry/clones.py).
        """
        session = self._sessions.of(tx, proof.node.id)
        epoch = _granted(proof, session)
        self._roots.propose(tx, proof.node, proof.root, at_s=at_s)
        self._kept(proof.node.id, epoch)
        return epoch

    def tell(self, proof: Proof, *, epoch: int, utc_s: int | None) -> Answer | NoJoin:
        """The answer that ends a join, once `keep` is committed."""
        own = self._own()
        if own is None:
            return NoJoin("join_not_configured")
        ead_4: list[tuple[int, bytes | None]] = [(join.GRANT, join.pack_grant(epoch, utc_s))]
        if proof.generation in own.keys:
            ead_4.append((join.SITE, own.keys[proof.generation]))
        elif proof.list_version < own.list_version:
            ead_4.append((join.SITE, own.list))
        exchange = proof.exchange
        try:
            message_4 = proof.agreed.message_4(ead_4)
            frame = join.pack_join(4, exchange.address, exchange.c_i, message_4)
        except (EdhocError, FrameError) as error:
            return NoJoin(f"join_{error.reason}", proof.node.id)
        exchange.confirmation = Answer(frame=frame, address=exchange.address, node=proof.node.id)
        self._count("joins")
        return exchange.confirmation

    def _begin(self, own: Own, frame: Any) -> Answer | NoJoin:
        digest = hashlib.sha256(frame.address.to_bytes(2, "big") + frame.message).digest()
        for exchange in self._open.values():
            if exchange.digest == digest:  # it did not hear us
                return NoJoin("join_left_to_another") if self._leaves_it() else exchange.answer
        asked = own.responder.read(frame.message, known=(join.SHOW,))
        if len(asked.c_i) != 1 or asked.c_i[0] not in _CONNECTIONS:
            raise EdhocError("unknown_connection")
        ead_2 = _to_show(own, asked.ead_1[join.SHOW]) if join.SHOW in asked.ead_1 else []
        self._make_room()
        connection = secrets.choice([one for one in _CONNECTIONS if one not in self._open])
        answered = asked.answer(bytes([connection]), ead_2)
        reply = join.pack_join(2, frame.address, asked.c_i[0], answered.message_2)
        self._open[connection] = Exchange(
            address=frame.address,
            connection=connection,
            c_i=asked.c_i[0],
            digest=digest,
            answered=answered,
            answer=Answer(frame=reply, address=frame.address),
            started_s=self._monotonic_s(),
        )
        return self._open[connection].answer

    def _prove(self, frame: Any) -> Answer | Proof | NoJoin:
        exchange = self._open.get(frame.connection)
        if exchange is None or exchange.address != frame.address:
            return NoJoin("join_unknown_connection")
        if exchange.taken:
            if exchange.taken == frame.message and exchange.confirmation is not None:
                return exchange.confirmation  # it did not hear us
            return NoJoin("join_over")
        claimed = exchange.answered.read(frame.message, known=(join.STATE,))
        del self._open[frame.connection]  # whoever it is, its message was whole: it counts once
        state = join.read_state(claimed.ead_3.get(join.STATE))
        if state is None:
            return NoJoin("join_malformed")
        candidates = self._candidates(claimed.kid, frame.address)
        if not candidates:
            return NoJoin("join_unknown_node")
        agreed = claimed.prove(list(candidates))
        node = candidates[agreed.party]
        refused = self._may_join(node)
        if refused is not None:
            return NoJoin(f"join_{refused}", node.id)
        exchange.taken = frame.message
        self._open[frame.connection] = exchange
        root = agreed.export(join.ROOT_LABEL, join.ROOT_CONTEXT, join.ROOT_LEN)
        epoch, list_version, generation = state
        return Proof(
            exchange=exchange,
            agreed=agreed,
            node=node,
            root=root,
            epoch=epoch,
            list_version=list_version,
            generation=generation,
        )

    def _candidates(self, kid: bytes, address: int) -> dict[Party, Node]:
        found = {}
        for node in self._nodes.with_kid(kid):
            if node.address == address:
                try:
                    found[Party.of(node.public_key)] = node
                except CurveError:
                    self._count("join_public_keys_wrong")
        return found

    def _make_room(self) -> None:
        if len(self._open) < MOST_HALF_OPEN:
            return
        unconfirmed = [one for one, exchange in self._open.items() if not exchange.taken]
        del self._open[unconfirmed[0] if unconfirmed else next(iter(self._open))]
        self._count("joins_dropped")

    def _expire(self) -> None:
        oldest_s = self._monotonic_s() - _LIFETIME_S
        for connection in [one for one, exchange in self._open.items() if exchange.started_s < oldest_s]:
            del self._open[connection]


def _granted(proof: Proof, session: Session | None) -> int:
    """The node's own epoch, the next one, or one above all that this gateway has met."""
    seen = max(proof.node.epoch, session.epoch if session else 0)
    if proof.epoch >= seen:
        was_elsewhere = session is None or session.is_over or proof.epoch > session.epoch
        return proof.epoch + 1 if was_elsewhere else proof.epoch
    return seen if session is None else seen + _RENEWAL_STEP


def _to_show(own: Own, generation: bytes | None) -> list[tuple[int, bytes | None]]:
    """This gateway's entry; to a node with an older key of the site, first the next one."""
    held = generation[0] if generation else own.generation
    return [(-join.SITE, own.keys.get(held, own.entry))]
