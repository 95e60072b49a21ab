"""Who sent this frame, and is it fresh: the tag says who, the replay window says whether it was here before.

The interface is three calls: `open(frame)` tells and changes nothing, `accept(opened)` moves the window with the record
that the frame brought, `reply_to(opened)` answers it. Keys come from the node files, or from joins (roots). Source:
docs/protocol.md, "Frame" and "Keys"; the window follows RFC 4303 section 3.4.3.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from drivers.link import keys
from drivers.link.frame import (
    ACK,
    URGENT,
    Frame,
    FrameError,
    aad_downlink,
    aad_uplink,
    downlink_header,
    parse_uplink,
    reconstruct_counter,
)
from gateway.floors import Floors
from gateway.identity.nodes import Node, Nodes
from gateway.identity.roots import Root, Roots
from gateway.identity.seal import Aead
from gateway.store_errors import StoreFull
from gateway.tables import Tables

_WINDOW = 64
_DOWN_BLOCK = 256
_KEYS_CACHED = 4096
_U32_MAX = 0xFFFFFFFF
MaySpeak = Callable[[Node], str | None]
Heard = Callable[[str, int, float], None]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A frame that is its node's own and was not here before.

    advances_from  the session's epoch, if this frame opens a later one
    root           the key it came under; a join's, if it is the first one, is confirmed with it
    """

    node: Node
    root: Root
    epoch: int
    counter: int
    is_full: bool
    kind: int
    body: bytes
    advances_from: int | None

    @property
    def is_urgent(self) -> bool:
        return self.kind == URGENT


@dataclass(frozen=True)
class Refused:
    """A frame to drop; `reason` is the name of the counter that moves."""

    reason: str
    node: str | None = None


class Reply:
    """Seals one downlink, once: its counter belongs to it alone."""

    __slots__ = ("_aad", "_box", "_header", "_nonce")

    def __init__(self, header: bytes, box: Aead, nonce: bytes, aad: bytes) -> None:
        self._header = header
        self._box: Aead | None = box
        self._nonce = nonce
        self._aad = aad

    def seal(self, plaintext: bytes) -> bytes:
        """The whole frame. Raises RuntimeError at a second call, which would repeat a nonce."""
        box, self._box = self._box, None
        if box is None:
            raise RuntimeError("a downlink counter seals one frame only")
        return self._header + box.seal(self._nonce, self._aad, plaintext)


class Session:
    """What is remembered of one node: freshness, and which boot it is in."""

    __slots__ = ("boot", "down_next", "down_reserved", "epoch", "heard_at_s", "highest", "seen")

    def __init__(self, epoch: int, highest: int, seen: int, down_reserved: int, boot: int, heard_at_s: float) -> None:
        self.epoch = epoch
        self.highest = highest
        self.seen = seen  # bit i: highest - 1 - i was accepted
        self.down_reserved = down_reserved
        self.down_next = down_reserved  # what is left of a block after a restart is never used
        self.boot = boot
        self.heard_at_s = heard_at_s

    @property
    def is_over(self) -> bool:
        """No counter of it is fresh any more: it came out of a back-up."""
        return bool(self.highest == _U32_MAX)

    def is_fresh(self, counter: int) -> bool:
        below = self.highest - counter
        return below < 0 or (0 < below <= _WINDOW and not self.seen >> (below - 1) & 1)

    def mark(self, counter: int) -> None:
        """Note a fresh counter as accepted."""
        above = counter - self.highest
        if above > 0:
            shifted = (self.seen << 1 | 1) << (above - 1) if above <= _WINDOW else 0
            self.seen = shifted & ((1 << _WINDOW) - 1)
            self.highest = counter
        else:
            self.seen |= 1 << (-above - 1)


class Sessions:
    """All sessions: a cache over the table, written down with the records that they guard. Of the commit thread."""

    def __init__(
        self,
        nodes: Nodes,
        floors: Floors,
        *,
        downlink_start: int = 0,
        cached: int = 4096,
        roots: Roots | None = None,
        may_speak: MaySpeak = lambda node: None,
        heard: Heard = lambda node, epoch, at_s: None,
    ) -> None:
        """What is asked and told of nodes.

        downlink_start  no downlink counter from here on was used before this database was begun
        may_speak       why a node is refused although the frame is its own ("revoked"), None if it is not
        heard           told of every accepted frame
        """
        self._may_speak = may_speak
        self._heard = heard
        self._nodes = nodes
        self._roots = roots or Roots()
        self._downlink_start = downlink_start
        self._floors = floors
        self._cached = cached
        self._known: dict[str, Session | None] = {}
        self._changed: set[str] = set()
        self._keys: OrderedDict[tuple[str, bytes, int, bytes], tuple[Aead, bytes]] = OrderedDict()

    def open(self, tx: Tables, raw: bytes) -> Opened | Refused:
        """Say whose frame this is, or why it is refused. Changes nothing."""
        try:
            frame = parse_uplink(raw)
        except FrameError as error:
            return Refused(error.reason)
        refused = Refused("unknown_node")
        for node in self._nodes.candidates(frame.address):
            roots = self._roots.of(tx, node)
            if not roots:
                refused = Refused("no_session", node.id)  # it must join first
            for root in roots:
                outcome = self._try(node, root, self.of(tx, node.id), frame, raw)
                if isinstance(outcome, Opened):
                    reason = self._may_speak(node)
                    return Refused(reason, node.id) if reason else outcome
                if refused.reason in ("unknown_node", "bad_tag"):  # the most telling one of all candidates
                    refused = outcome
        return refused

    def _try(self, node: Node, root: Root, session: Session | None, frame: Frame, raw: bytes) -> Opened | Refused:
        if frame.epoch is not None:
            epoch, counter = frame.epoch, frame.counter
        elif session is None or session.epoch < node.epoch or root.is_pending:
            return Refused("no_session", node.id)  # it will send a full one
        else:
            epoch, counter = session.epoch, reconstruct_counter(frame.counter, session.highest)
        if counter > _U32_MAX:
            return Refused("bad_tag", node.id)
        box, iv = self._key(node, root, epoch, keys.UP)
        try:
            body = box.open(keys.nonce(iv, counter), aad_uplink(frame.head, epoch, counter), raw[frame.header_len :])
        except FrameError as error:
            return Refused(error.reason, node.id)
        if epoch < node.epoch or (session is not None and epoch < session.epoch):
            return Refused("stale_epoch", node.id)
        is_later = session is None or epoch > session.epoch
        if not is_later and session is not None and not (root.is_pending or session.is_fresh(counter)):
            return Refused("replayed", node.id)  # of a key that no frame came under yet, every counter is fresh
        return Opened(
            node=node,
            root=root,
            epoch=epoch,
            counter=counter,
            is_full=frame.is_full,
            kind=frame.kind,
            body=body,
            advances_from=session.epoch if is_later and session is not None else None,
        )

    def accept(self, tx: Tables, opened: Opened, *, boot: int | None, heard_at_s: float) -> Session:
        """Move the window; on disk together with what the frame brought. `boot`: the one a full frame names."""
        session = self.of(tx, opened.node.id)
        if session is None:
            session = Session(opened.epoch, opened.counter, 0, self._downlink_start, 0, heard_at_s)
            self._known[opened.node.id] = session
        elif opened.root.is_pending or opened.epoch > session.epoch:
            session.epoch, session.highest, session.seen = opened.epoch, opened.counter, 0
        else:
            session.mark(opened.counter)
        if opened.root.is_pending:
            self._roots.confirm(tx, opened.node, opened.root)
        session.boot = session.boot if boot is None else boot
        session.heard_at_s = heard_at_s
        self._heard(opened.node.id, opened.epoch, heard_at_s)
        self._changed.add(opened.node.id)
        return session

    def reply_to(self, tx: Tables, opened: Opened, *, kind: int = ACK) -> Reply:
        """What seals one downlink: its counter was never used and is on disk with this commit. Raises StoreFull."""
        counter = self._reserve(tx, opened.node.id)
        box, iv = self._key(opened.node, opened.root, opened.epoch, keys.DOWN)
        header = downlink_header(opened.node.address, opened.counter, counter, full=opened.is_full, kind=kind)
        aad = aad_downlink(header[:3], opened.epoch, counter, opened.counter)
        return Reply(header, box, keys.nonce(iv, counter), aad)

    def _reserve(self, tx: Tables, node: str) -> int:
        session = self.of(tx, node)
        if session is None:
            raise KeyError(node)
        if session.down_next == session.down_reserved:
            session.down_reserved += _DOWN_BLOCK
            try:
                self._floors.cover(session.down_reserved)
            except OSError as error:
                raise StoreFull(f"{error.strerror}: no downlink counters could be reserved") from error
            self._changed.add(node)
        counter = session.down_next
        session.down_next += 1
        return counter

    def of(self, tx: Tables, node: str) -> Session | None:
        if node not in self._known:
            row = tx.execute(
                "SELECT epoch, highest, seen, down_reserved, boot, heard_at_s FROM sessions WHERE node = ?", (node,)
            ).fetchone()
            self._known[node] = Session(row[0], row[1], int.from_bytes(row[2], "big"), *row[3:]) if row else None
        return self._known[node]

    def flush(self, tx: Tables) -> None:
        for node in self._changed:
            s = self._known[node]
            if s is not None:
                row = (node, s.epoch, s.highest, s.seen.to_bytes(8, "big"), s.down_reserved, s.boot, s.heard_at_s)
                tx.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._changed.clear()
        if len(self._known) > self._cached:
            self._known.clear()

    def forget(self) -> None:
        self._known.clear()
        self._changed.clear()
        self._roots.forget()

    def _key(self, node: Node, root: Root, epoch: int, direction: bytes) -> tuple[Aead, bytes]:
        name = (node.id, root.key, epoch, direction)
        found = self._keys.pop(name, None)
        if found is None:
            key, iv = keys.derive(root.key, epoch, direction)
            found = (Aead(key), iv)
            if len(self._keys) >= _KEYS_CACHED:
                self._keys.popitem(last=False)
        self._keys[name] = found
        return found
