"""The root keys a node may speak under: the one placed by hand, and in its place those that joins agreed on.

A join ends with a key that waits: the one before stays until a frame under the new key arrived, which confirms it and
ends all before it, so that nothing recorded under them is ever accepted again. A node that is enrolled anew by hand
leaves its joins behind. Runs in the commit thread. Keys never enter a message.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from gateway.identity.nodes import Node
from gateway.tables import JOINS, Tables

_MOST_PENDING = 4  # a node whose answers are lost joins again; it may have heard any of the last answers
_MOST_CACHED = 4_096


@dataclass(frozen=True)
class Root:
    """One root key. `id`: 0 for the enrolled one, else that of its join; later joins have higher ones."""

    id: int
    key: bytes = field(repr=False)
    is_pending: bool = False


class Roots:
    """A cache over the table of joins."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], list[Root]] = {}

    def begin(self, tx: Tables) -> None:
        """Make the table in a database that has none yet."""
        for statement in filter(str.strip, JOINS.split(";")):
            tx.execute(statement)

    def of(self, tx: Tables, node: Node) -> list[Root]:
        """The key in force, if there is one, then those that wait for their first frame, oldest first."""
        enrolled = _fingerprint(node)
        name = (node.id, enrolled)
        if name not in self._known:
            if len(self._known) >= _MOST_CACHED:
                self._known.clear()
            rows = tx.execute(
                "SELECT id, root, is_confirmed FROM joins WHERE node = ? AND enrolled = ? ORDER BY id", name
            ).fetchall()
            confirmed = [Root(id_, root) for id_, root, is_confirmed in rows if is_confirmed]
            by_hand = [Root(0, node.root_key)] if node.root_key else []
            in_force = confirmed[-1:] or by_hand
            pending = [Root(id_, root, True) for id_, root, is_confirmed in rows if not is_confirmed]
            self._known[name] = in_force + pending
        return self._known[name]

    def propose(self, tx: Tables, node: Node, key: bytes, *, at_s: float) -> None:
        """Keep a key that a join agreed on. On disk with this commit, before the node is told."""
        name = (node.id, _fingerprint(node))
        tx.execute(
            "INSERT INTO joins (node, enrolled, root, is_confirmed, at_s) VALUES (?, ?, ?, 0, ?)", (*name, key, at_s)
        )
        waiting = [root.id for root in self._fresh(tx, node) if root.is_pending]
        for id_ in waiting[:-_MOST_PENDING]:
            tx.execute("DELETE FROM joins WHERE id = ?", (id_,))
        tx.execute("DELETE FROM joins WHERE node = ? AND enrolled != ?", name)
        self._fresh(tx, node)

    def confirm(self, tx: Tables, node: Node, root: Root) -> None:
        """A frame under this key arrived: it is in force, and none before it is."""
        tx.execute("DELETE FROM joins WHERE node = ? AND id < ?", (node.id, root.id))
        tx.execute("UPDATE joins SET is_confirmed = 1 WHERE id = ?", (root.id,))
        self._fresh(tx, node)

    def forget(self) -> None:
        """The commit failed: the database knows better."""
        self._known.clear()

    def _fresh(self, tx: Tables, node: Node) -> list[Root]:
        self._known.pop((node.id, _fingerprint(node)), None)
        return self.of(tx, node)


def _fingerprint(node: Node) -> bytes:
    """Which enrolment this is, without telling its key."""
    return hashlib.sha256(b"enrolment" + node.root_key).digest()[:8]
