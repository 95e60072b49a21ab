"""Who asks for commands: people at this machine, by notes, and rules, by actions of kind "command".

A rule's commands are queued in the commit of its alarm's step: whatever dies afterwards, the command is there, once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gateway.command import note as notes
from gateway.command.queue import Commands
from gateway.command.wish import CommandError
from gateway.config_edge import ActionConfig
from gateway.devices import is_node_id
from gateway.edge.alarm import CLEARED, RAISED, step_of
from gateway.edge.groups import Groups
from gateway.identity.admission import Admission
from gateway.identity.nodes import Nodes
from gateway.outbox.entries import Transaction
from gateway.reading import Report
from gateway.store import Store, StoreError
from gateway.tables import Tables

log = logging.getLogger(__name__)


class Desk:
    """Finds out which nodes are meant, and queues."""

    def __init__(
        self,
        commands: Commands,
        *,
        data_dir: Path,
        store: Store,
        nodes: Nodes,
        admission: Admission,
        groups: Callable[[], Groups],
        actions: Callable[[str], Sequence[ActionConfig]],
        count: Callable[[str], None],
    ) -> None:
        """`actions` gives those that a rule holds, by its name."""
        self._commands = commands
        self._data_dir = data_dir
        self._store = store
        self._nodes = nodes
        self._admission = admission
        self._groups = groups
        self._actions = actions
        self._count = count

    async def take_notes(self) -> None:
        """Take up what operators ask for. On a full disk it waits."""
        for path, note in notes.waiting(self._data_dir):
            try:
                told = await self._queue(note)
            except StoreError as error:
                log.debug("commands wait: %s", error)
                return
            notes.answer(path, told)

    def react(self, tx: Transaction, report: Report) -> None:
        """Queue what rules ask for at this step of an alarm; other records ask for nothing. In the commit thread."""
        step = step_of(report)
        if step is None or step.state not in (RAISED, CLEARED):
            return
        for action in self._actions(step.rule):
            wished = action.wish(is_raised=step.state == RAISED)
            if wished is None:
                continue
            for node in self._meant(tx, action, step.node):
                try:
                    self._commands.queue(tx, node, wished, actor=f"rule {step.rule}")
                except CommandError as error:
                    self._count("edge_commands_refused")
                    log.warning("action %s: %s", action.name, error)

    async def _queue(self, note: notes.Note) -> dict[str, object]:
        try:
            node, wished = self._called(note.node), note.wish()
            number = await self._store.write(
                partial(
                    self._commands.queue, node=node, wished=wished, actor=note.by, ttl_s=note.ttl_s, token=note.token
                )
            )
        except CommandError as error:
            return {"refused": str(error)}
        log.info("command %d to %s: %s, by %s", number, node, wished.words, note.by)
        return {"node": node, "number": number}

    def _called(self, name: str) -> str:
        """The id of a node by its id or label. Raises CommandError."""
        if name in self._nodes.by_id:
            return name
        found = [node for node, one in self._nodes.by_id.items() if one.alias == name]
        if len(found) == 1:
            return found[0]
        known = self._admission.of_device(name)
        if known is None:
            raise CommandError(f"no node is called {name}; lamppost gateway status names those that were heard")
        return known.id

    def _meant(self, tx: Tables, action: ActionConfig, own: str) -> list[str]:
        """Nodes that the action names; without any the alarm's own, if it is one."""
        if not action.nodes:
            return [own] if own in self._nodes.by_id or is_node_id(own) else []
        spoken = [node for (node,) in tx.execute("SELECT node FROM sessions")]
        return [node for node in sorted({*self._nodes.by_id, *spoken}) if self._groups().takes(action.nodes, node)]
