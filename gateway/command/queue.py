"""Commands on their way to nodes, and what came of them. Of the commit thread; each change is in a commit.

A command goes with the answer to the node's next frame, and again with every second answer until the node says what
came of it or its time is over: an answer may be lost, and a node of an older firmware must get its acks. The node does
a number once. One that it calls stale shows that this gateway has forgotten numbers (an older image, another gateway
before it). If the command was asked for since this start it cannot have been done: it gets a number above the node's,
and goes again. One that was there at the start may have been done in what was forgotten: it ends as unknown.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from drivers.link import order
from gateway.clock import ClockTrust
from gateway.command.rows import Command, Rows
from gateway.command.wish import OUTCOMES, CommandError, Wish, detail_of
from gateway.config_command import CommandConfig
from gateway.floors import Floors
from gateway.outbox.entries import Transaction
from gateway.reading import Reading, Report
from gateway.store_errors import StoreFull

_MOST_IN_ALL = 4_096
_SET_BACK = "this gateway was set back; what it forgot may have done it"
_START = "command_start"  # in meta: no command got this number or a higher one before this database was begun

Refusal = Callable[[str, str], str | None]
PutOwn = Callable[[Transaction, Report], None]
NoteAudit = Callable[[str, str, str, str], None]


class Commands:
    """All commands of this gateway.

    refusal  why a command (node, name) must not go, None if it may
    put_own  stores a record of the gateway's own, of now
    note     writes an audit entry: what, device, detail, actor. On disk before the commit is
    """

    def __init__(
        self,
        config: CommandConfig,
        *,
        clock: ClockTrust,
        floors: Floors,
        count: Callable[[str], None],
        refusal: Refusal,
        put_own: PutOwn,
        note: NoteAudit,
    ) -> None:
        self._config = config
        self._clock = clock
        self._floors = floors
        self._count = count
        self._refusal = refusal
        self._put_own = put_own
        self._note = note
        self._start = 0
        self._rows = Rows()
        self._has_just_sent: set[str] = set()
        self._since_start: set[tuple[str, int]] = set()  # commands asked for in this process: node and number
        self._told: list[tuple[str, str, str, str]] = []
        self.waiting = 0  # as of the last commit

    def begin(self, tx: Transaction) -> None:
        """Make the table in a database that has none, and take up where numbers start in this one."""
        self._rows.begin(tx)
        row = tx.execute("SELECT value FROM meta WHERE key = ?", (_START,)).fetchone()
        self._start = int(row[0]) if row else self._floors.command
        if row is None:
            tx.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (_START, self._start))

    def queue(
        self, tx: Transaction, node: str, wished: Wish, *, actor: str, ttl_s: int | None = None, token: str = ""
    ) -> int:
        """Have `node` (an id) do this once. Returns the command's number. Raises CommandError, StoreFull.

        token  of the note that asks for it: the same again is the same command
        """
        known = self._rows.number_of(tx, token)
        if known is not None:
            return known
        refused = self._refusal(node, wished.name)
        if refused:
            self._count("commands_refused")
            self._note("command refused", node, f"{wished.words}: {refused}", actor)
            raise CommandError(f"{wished.name} is not allowed at {node}: {refused}")
        waiting = len(self._rows.of(tx, node))
        if waiting >= self._config.most_waiting or len(self._rows) >= _MOST_IN_ALL:
            raise CommandError(f"{waiting} commands wait for {node} already; lamppost node commands shows them")
        one = self._made(self._next_number(tx, node), node, wished, actor, ttl_s)
        self._rows.add(tx, one, token)
        self._since_start.add((node, one.number))
        self._tell(one, "queued", f"within {one.ttl_s} s")
        return one.number

    def expire(self, tx: Transaction) -> None:
        """End those whose time is over. Now and then."""
        for one in self._rows.every(tx):
            if self._is_over(one):
                self._give_up(tx, one)

    def next_for(self, tx: Transaction, node: str) -> bytes | None:
        """The order that goes with the answer to this frame of `node`; None if none is to go."""
        if node in self._has_just_sent:
            self._has_just_sent.discard(node)
            return None
        for one in list(self._rows.of(tx, node)):
            refused = self._refusal(node, one.name)
            if self._is_over(one):
                self._give_up(tx, one)
            elif refused:
                self._end(tx, one, "withdrawn", refused)
                self._put_state(tx, one, "withdrawn", refused)
            else:
                return self._send(tx, one)
        return None

    def settled(self, tx: Transaction, report: Report) -> Report:
        """The report of what came of a command, with what this gateway knows of it; others as they are."""
        if report.kind != "event" or not report.readings or report.readings[0].quantity != "command/n":
            return report
        number, tag, outcome, more = (int(str(reading.value)) for reading in report.readings)
        state, detail = OUTCOMES[outcome], detail_of(outcome, more)
        found = self._rows.find(tx, report.node, number, tag)
        if found is None:
            self._count("command_outcomes_unknown")
        elif found[1] == "waiting" and outcome == order.STALE:
            self._take_stale(tx, found[0], more)
        elif found[1] == "waiting" or (found[1] == "expired" and outcome != order.STALE):
            self._end(tx, found[0], state, detail)
        return replace(report, readings=_readings(number, state, detail, found[0] if found else None))

    def flush(self, tx: Transaction) -> None:
        """What was done in this commit is written down with it."""
        told, self._told = self._told, []
        for said in told:
            self._note(*said)

    def forget(self) -> None:
        """The commit failed: the database knows better."""
        self._rows.forget()
        self._told = []

    def committed(self) -> None:
        """After a commit."""
        self.waiting = len(self._rows)

    def _made(self, number: int, node: str, wished: Wish, actor: str, ttl_s: int | None) -> Command:
        at_s, boot = self._clock.place(self._clock.stamp_s())
        return Command(
            node=node,
            number=number,
            tag=secrets.randbelow(1 << 16),
            name=wished.name,
            words=wished.words,
            code=wished.code,
            arguments=wished.arguments,
            actor=actor,
            queued_at_s=at_s if boot is None else None,
            queued_up_s=self._clock.monotonic_s(),
            boot_id=self._clock.boot_id,
            ttl_s=self._config.ttl_s if ttl_s is None else ttl_s,
        )

    def _next_number(self, tx: Transaction, node: str, above: int = 0) -> int:
        number = max(self._rows.highest(tx, node), self._start, above) + 1
        if number > order.LAST_NUMBER:
            raise CommandError(f"all numbers for {node} are used; enrol it under another id")
        try:
            self._floors.cover_command(number)
        except OSError as error:
            raise StoreFull(f"{error.strerror}: no command number could be reserved") from error
        return number

    def _send(self, tx: Transaction, one: Command) -> bytes:
        self._rows.count_send(tx, one)
        self._has_just_sent.add(one.node)
        self._count("commands_sent")
        packed: bytes = order.pack_order(one.number, one.tag, one.code, one.arguments)
        return packed

    def _take_stale(self, tx: Transaction, one: Command, highest: int) -> None:
        if (one.node, one.number) not in self._since_start:
            self._end(tx, one, OUTCOMES[order.UNKNOWN], _SET_BACK)
            return
        self._count("commands_renumbered")
        try:
            number = self._next_number(tx, one.node, highest)
        except CommandError as error:
            self._end(tx, one, "withdrawn", str(error))
            return
        self._has_just_sent.discard(one.node)
        again = self._rows.renumber(tx, one, number)
        self._since_start.add((one.node, number))
        self._tell(again, "renumbered", f"was {one.number}; the node had taken up {highest}")

    def _is_over(self, one: Command) -> bool:
        """By the monotonic clock; after a reboot by UTC, and where that is not known it is over: late is worse."""
        if one.boot_id == self._clock.boot_id:
            return self._clock.monotonic_s() - one.queued_up_s > one.ttl_s
        now_s = self._clock.trusted_s()
        return now_s is None or one.queued_at_s is None or now_s - one.queued_at_s > one.ttl_s

    def _give_up(self, tx: Transaction, one: Command) -> None:
        detail = f"sent {one.sends} times, nothing was heard of it" if one.sends else "the node sent nothing meanwhile"
        self._end(tx, one, "expired", detail)
        self._put_state(tx, one, "expired", detail)

    def _end(self, tx: Transaction, one: Command, state: str, detail: str) -> None:
        self._has_just_sent.discard(one.node)
        self._since_start.discard((one.node, one.number))
        self._rows.end(tx, one, state, detail)
        self._count(f"commands_{state}")
        self._tell(one, state, detail)

    def _put_state(self, tx: Transaction, one: Command, state: str, detail: str) -> None:
        """Tell the city what the node could not."""
        readings = _readings(one.number, state, detail, one)
        self._put_own(
            tx,
            Report(node="", record_id="", measured_at_s=0.0, readings=readings, kind="event", subject=one.node),
        )

    def _tell(self, one: Command, what: str, detail: str) -> None:
        said = f"{one.words}, number {one.number}"
        self._told.append((f"command {what}", one.node, f"{said}; {detail}" if detail else said, one.actor))


def _readings(number: int, outcome: str, detail: str, one: Command | None) -> tuple[Reading, ...]:
    told: dict[str, str | int] = {"n": number, "outcome": outcome}
    if one is not None:
        told |= {"what": one.words, "by": one.actor}
    if detail:
        told["detail"] = detail
    return tuple(Reading(quantity=f"command/{name}", value=value) for name, value in told.items())
