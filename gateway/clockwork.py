"""What the gateway does once a second: tell windows, take up what people asked for and settings that have changed.

Each step is a commit of its own. On a disk that takes nothing it waits, and is tried again a second later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gateway.command.desk import Desk
from gateway.config import EdgeConfig
from gateway.config_edge import GroupConfig
from gateway.edge import acknowledgement
from gateway.edge.acknowledgement import Acknowledgement
from gateway.edge.engine import Edge
from gateway.edge.groups import Groups
from gateway.edge_settings import EdgeSettings
from gateway.identity.nodes import Nodes
from gateway.identity.sessions import Sessions
from gateway.outbox.entries import Transaction
from gateway.recorder import Recorder
from gateway.store import Store
from gateway.store_errors import StoreError
from gateway.trust import Trust

log = logging.getLogger(__name__)
_EVERY_S = 1.0


class Clockwork:
    """Of the event loop. `groups`: the groups of nodes that the edge goes by now."""

    def __init__(
        self,
        data_dir: Path,
        groups: Groups,
        *,
        store: Store,
        recorder: Recorder,
        edge: Edge,
        settings: EdgeSettings,
        desk: Desk,
        nodes: Nodes,
        sessions: Sessions,
        trust: Trust,
    ) -> None:
        self.groups = groups
        self._data_dir = data_dir
        self._store = store
        self._recorder = recorder
        self._edge = edge
        self._settings = settings
        self.desk = desk
        self._nodes = nodes
        self._sessions = sessions
        self._trust = trust

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            if self._settings.have_changed():
                await self._take_up_edge()
            await self.take_acknowledgements()
            await self.desk.take_notes()
            await self.take_departures()
            await self.tell_windows()

    async def take_departures(self) -> None:
        """Have windows say `partial` of nodes that went to another gateway, as its log in the registry says."""
        departed = self._trust.departed()
        if not departed:
            return

        def mark(tx: Transaction) -> None:
            for node, at_s in departed.items():
                if self._sessions.of(tx, node) is not None:
                    self._edge.node_moved(tx, node, at_s=at_s)

        try:
            await self._store.write(mark)
        except StoreError as error:
            log.warning("windows of nodes that went to another gateway do not say so: %s", error)

    async def tell_windows(self) -> None:
        """Store the records of windows that are over, and what else time brings. On a full disk they wait."""
        try:
            await self._store.write(self._recorder.tick)
        except StoreError as error:
            log.debug("windows wait: %s", error)

    async def take_acknowledgements(self) -> None:
        """Take up what operators have acknowledged. On a full disk it waits."""
        for path, note in acknowledgement.waiting(self._data_dir):
            try:
                await self.acknowledge(note)
            except StoreError as error:
                log.debug("acknowledgements wait: %s", error)
                return
            path.unlink(missing_ok=True)

    async def acknowledge(self, note: Acknowledgement) -> bool:
        """Somebody has seen an alarm. False if it is not raised, or was acknowledged before. Raises StoreError."""
        labelled = [node for node, one in self._nodes.by_id.items() if one.alias == note.node]
        note = replace(note, node=labelled[0]) if len(labelled) == 1 else note
        is_taken = await self._store.write(partial(self._recorder.acknowledge, note=note), urgent=True)
        if is_taken:
            self._trust.audit.note("alarm acknowledged", note.node, note.rule, actor=note.by)
        words = "acknowledged" if is_taken else "not raised, or acknowledged before"
        log.info("alarm %s of %s: %s, by %s", note.rule, note.node, words, note.by)
        return is_taken

    async def reload_edge(self, edge: EdgeConfig, groups: Sequence[GroupConfig]) -> None:
        """Go on under these settings, with groups read anew. Nothing that is held or stored is lost."""
        self._settings.change(edge, groups)
        await self._take_up_edge()

    async def _take_up_edge(self) -> None:
        known = self._settings.groups()
        privacy = self._settings.privacy(known)

        def change(tx: Transaction) -> None:
            self._edge.reconfigure(tx, self._settings.edge, known, privacy)
            self._recorder.privacy, self.groups = privacy, known

        try:
            await self._store.write(change)
        except StoreError as error:
            self._settings.try_again()
            log.warning("the edge goes on under its old settings: %s", error)
