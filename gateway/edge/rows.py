"""What the edge remembers, row by row: read when it is needed, written with the commit when it has changed.

One table holds everything: kind says what a row is, owner which definition or rule it belongs to, subject whom it
speaks of, at_s a time that tells several apart. Memory is a cache over the table and is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

Key = tuple[str, str, float]  # owner, subject, at_s


class Tables(Protocol):
    """Where rows are: a connection to the database, or a transaction that stands for one."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...
    def executemany(self, sql: str, parameters: Any, /) -> Any: ...


class Commit(Tables, Protocol):
    """A transaction of the store."""

    @property
    def unlogged(self) -> Tables:
        """The database alone. What is changed there is lost with the power unless a checkpoint comes before."""

    def ask_checkpoint(self) -> None:
        """Have one made after this commit."""


class Row(Protocol):
    """A thing that is kept. `is_dirty` is set by whoever changes it, after note()."""

    is_dirty: bool

    @property
    def key(self) -> Key: ...
    @property
    def is_open(self) -> bool: ...
    def to_state(self) -> str: ...


R = TypeVar("R", bound=Row)


class Rows(Generic[R]):
    """All rows of one kind. `parse` makes one of its key and stored state."""

    def __init__(self, kind: str, parse: Callable[[Key, str, bool], R]) -> None:
        self._kind = kind
        self._parse = parse
        self._known: dict[Key, R] = {}
        self._dirty: list[R] = []
        self._dropped: set[Key] = set()
        self._has_open = False

    def __len__(self) -> int:
        return len(self._known)

    def find(self, tx: Tables, key: Key) -> R | None:
        """The row, from memory or disk."""
        found = self._known.get(key)
        if found is not None or key in self._dropped:
            return found
        row = tx.execute(
            "SELECT state, is_open FROM edge_state WHERE kind = ? AND owner = ? AND subject = ? AND at_s = ?",
            (self._kind, *key),
        ).fetchone()
        if row is None:
            return None
        self._known[key] = self._parse(key, row[0], bool(row[1]))
        return self._known[key]

    def keep(self, row: R) -> None:
        """Take in a new one."""
        self._known[row.key] = row
        self._dropped.discard(row.key)
        self.note(row)

    def note(self, row: R) -> None:
        """It has changed: it is written with the commit."""
        if not row.is_dirty:
            row.is_dirty = True
            self._dirty.append(row)
            self._known[row.key] = row

    def opened(self, tx: Tables) -> Iterator[R]:
        """Those that are open."""
        if not self._has_open:
            query = "SELECT owner, subject, at_s, state FROM edge_state WHERE is_open = 1 AND kind = ?"
            for owner, subject, at_s, state in tx.execute(query, (self._kind,)):
                key = (owner, subject, at_s)
                if key not in self._known and key not in self._dropped:
                    self._known[key] = self._parse(key, state, True)
            self._has_open = True
        return (row for row in self._known.values() if row.is_open)

    def of_subject(self, tx: Tables, owner: str, subject: str) -> list[R]:
        """All of one owner and subject, in order of time."""
        query = "SELECT at_s FROM edge_state WHERE kind = ? AND owner = ? AND subject = ?"
        times = {at_s for (at_s,) in tx.execute(query, (self._kind, owner, subject))}
        times |= {key[2] for key in self._known if key[0] == owner and key[1] == subject}
        found = (self.find(tx, (owner, subject, at_s)) for at_s in sorted(times))
        return [row for row in found if row is not None]

    def drop(self, row: R) -> None:
        """Delete it, with the commit."""
        self._known.pop(row.key, None)
        if row.is_dirty:
            self._dirty.remove(row)
            row.is_dirty = False
        self._dropped.add(row.key)

    def drop_subjects(self, tx: Tables, owner: str) -> None:
        """Delete, with the commit, all of an owner's subjects of which none is open."""
        found = tx.execute(
            "SELECT subject, at_s, is_open FROM edge_state WHERE kind = ? AND owner = ?", (self._kind, owner)
        )
        kept = {key: row.is_open for key, row in self._known.items() if key[0] == owner}
        rows = {(owner, subject, at_s): bool(is_open) for subject, at_s, is_open in found} | kept
        opened = {key[1] for key, is_open in rows.items() if is_open and key not in self._dropped}
        for key in rows:
            if key[1] not in opened:
                self._drop_key(key)

    def _drop_key(self, key: Key) -> None:
        row = self._known.get(key)
        if row is not None:
            self.drop(row)
        self._dropped.add(key)

    def flush(self, tx: Tables) -> None:
        """Write what has changed."""
        gone = [(self._kind, *key) for key in self._dropped]
        tx.executemany("DELETE FROM edge_state WHERE kind = ? AND owner = ? AND subject = ? AND at_s = ?", gone)
        self._dropped.clear()
        rows = [(self._kind, *row.key, row.is_open, row.to_state()) for row in self._dirty]
        tx.executemany("INSERT OR REPLACE INTO edge_state VALUES (?, ?, ?, ?, ?, ?)", rows)
        for row in self._dirty:
            row.is_dirty = False
        self._dirty.clear()

    def shrink(self) -> None:
        """After a flush: let go of what is not open."""
        self._known = {key: row for key, row in self._known.items() if row.is_open}

    def forget(self) -> None:
        """Memory is empty again; the table knows."""
        self._known.clear()
        self._dirty.clear()
        self._dropped.clear()
        self._has_open = False
