"""The table of commands: those that wait, in memory too, and the last that ended of each node. In the commit thread."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gateway.outbox.entries import Transaction
from gateway.tables import COMMANDS, Tables

WAITING = "waiting"
_ENDED_KEPT = 16  # per node, to be looked at
_COLUMNS = "node, number, tag, name, words, code, arguments, actor, queued_at_s, queued_up_s, boot_id, ttl_s, sends"
_AT = "WHERE node = ? AND number = ?"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command. queued_at_s: UTC, None if it was not known; queued_up_s: seconds since `boot_id` began."""

    node: str
    number: int
    tag: int
    name: str
    words: str
    code: int
    arguments: bytes
    actor: str
    queued_at_s: float | None
    queued_up_s: float
    boot_id: str
    ttl_s: int
    sends: int = 0


class Rows:
    """What waits, oldest first by node, and the rest in the table."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Command]] | None = None

    def begin(self, tx: Transaction) -> None:
        """Make the table in a database that has none yet."""
        for statement in filter(str.strip, COMMANDS.split(";")):
            tx.execute(statement)

    def forget(self) -> None:
        """The commit failed: the table knows better."""
        self._waiting = None

    def __len__(self) -> int:
        """How many wait, of those looked at so far."""
        return sum(map(len, (self._waiting or {}).values()))

    def of(self, tx: Tables, node: str) -> list[Command]:
        """Those that wait for `node`."""
        return self._all(tx).get(node, [])

    def every(self, tx: Tables) -> Iterator[Command]:
        """All that wait; the table may change meanwhile."""
        yield from [one for waiting in self._all(tx).values() for one in waiting]

    def find(self, tx: Tables, node: str, number: int, tag: int) -> tuple[Command, str] | None:
        """A command of this number and tag, and its state."""
        row = tx.execute(f"SELECT {_COLUMNS}, state FROM commands {_AT} AND tag = ?", (node, number, tag)).fetchone()
        return None if row is None else (_command(row[:-1]), row[-1])

    def number_of(self, tx: Tables, token: str) -> int | None:
        """The command that a note asked for, if it was taken up before."""
        row = tx.execute("SELECT number FROM commands WHERE token = ?", (token,)).fetchone() if token else None
        return None if row is None else int(row[0])

    def highest(self, tx: Tables, node: str) -> int:
        """The highest number that is known of `node`, 0 if there is none."""
        return tx.execute("SELECT max(number) FROM commands WHERE node = ?", (node,)).fetchone()[0] or 0

    def add(self, tx: Transaction, one: Command, token: str) -> None:
        waiting = self._all(tx).setdefault(one.node, [])
        fields = (*(getattr(one, name) for name in _COLUMNS.split(", ")), token, WAITING, "")
        marks = ", ".join("?" * len(fields))
        tx.execute(f"INSERT INTO commands ({_COLUMNS}, token, state, detail) VALUES ({marks})", fields)
        waiting.append(one)

    def count_send(self, tx: Transaction, one: Command) -> None:
        self._put(tx, one, replace(one, sends=one.sends + 1))
        tx.execute(f"UPDATE commands SET sends = ? {_AT}", (one.sends + 1, one.node, one.number))

    def renumber(self, tx: Transaction, one: Command, number: int) -> Command:
        """Go on under another number, which no other has, and another tag."""
        again = replace(one, number=number, tag=secrets.randbelow(1 << 16))
        self._put(tx, one, again)
        tx.execute(f"UPDATE commands SET number = ?, tag = ? {_AT}", (number, again.tag, one.node, one.number))
        return again

    def end(self, tx: Transaction, one: Command, state: str, detail: str) -> None:
        """It waits no more, or its end is known better now. What is older than the last few goes."""
        waiting = self.of(tx, one.node)
        if one in waiting:
            waiting.remove(one)
        tx.execute(f"UPDATE commands SET state = ?, detail = ? {_AT}", (state, detail, one.node, one.number))
        tx.execute(
            "DELETE FROM commands WHERE node = ? AND state != ? AND number NOT IN "
            "(SELECT number FROM commands WHERE node = ? ORDER BY number DESC LIMIT ?)",
            (one.node, WAITING, one.node, _ENDED_KEPT),
        )

    def _put(self, tx: Tables, one: Command, other: Command) -> None:
        waiting = self.of(tx, one.node)
        waiting[waiting.index(one)] = other

    def _all(self, tx: Tables) -> dict[str, list[Command]]:
        if self._waiting is None:
            self._waiting = {}
            rows = tx.execute(f"SELECT {_COLUMNS} FROM commands WHERE state = ? ORDER BY node, number", (WAITING,))
            for row in rows:
                one = _command(row)
                self._waiting.setdefault(one.node, []).append(one)
        return self._waiting


def _command(row: tuple[object, ...]) -> Command:
    return Command(**dict(zip(_COLUMNS.split(", "), row, strict=True)))  # type: ignore[arg-type]
