"""The gateway between its ways in and its ways out, put together: store, identity, intake, edge and outbox.

`run` owns the commits and the edge's clockwork. Bearers hand frames to `intake`, forwarders take from `outbox`; neither
knows the other. gateway/start.py opens the disk and makes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway.boot_table import BootTable
from gateway.boots import Boots
from gateway.bursts import Bursts
from gateway.clock import ClockTrust
from gateway.clock_status import clock_status
from gateway.clockwork import Clockwork
from gateway.command.desk import Desk
from gateway.command.queue import Commands
from gateway.config import CommandConfig, EdgeConfig
from gateway.config_edge import ActionConfig, GroupConfig
from gateway.counters import Counters
from gateway.devices import Devices, is_node_id
from gateway.edge.basis import Recent
from gateway.edge.engine import Change, Edge
from gateway.edge_settings import EdgeSettings
from gateway.floors import Floors
from gateway.identity.chain import ChainFile
from gateway.identity.joins import Joins
from gateway.identity.nodes import Nodes
from gateway.identity.own import OwnFile
from gateway.identity.roots import Roots
from gateway.identity.sessions import Sessions
from gateway.intake import Intake
from gateway.numbering import Numbering
from gateway.outbox import Outbox
from gateway.outbox.ages import begin_ages
from gateway.outbox.bounds import Bounds, Limits, tell_unreadable
from gateway.outbox.entries import Transaction
from gateway.recorder import Recorder, as_it_came
from gateway.sequences import Sequences
from gateway.store import Store, StoreFailed
from gateway.trust import Trust
from gateway.uplinks import Uplinks
from gateway.wear import Wear
from gateway.with_commits import AuditOfCommit, SavedCounters

log = logging.getLogger(__name__)
NODES_DIR = "nodes"


class Core:
    """What the rest of the gateway uses. Made by `start.open_core`."""

    intake: Intake
    outbox: Outbox
    edge: Edge

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        *,
        gateway_id: str,
        cities: Sequence[str],
        clock: ClockTrust,
        time_hold_s: float,
        trust: Trust | None = None,
        alarm_budget_per_h: int,
        command: CommandConfig,
    ) -> None:
        self.trust = trust or Trust.without_registry(clock)
        self.store = store
        self.clock = clock
        self.wear = Wear(lambda: store.vault.published.came_in)
        self.counters = Counters()
        self.nodes = Nodes(data_dir / NODES_DIR, at_address=self.trust.nodes_at, with_kid=self.trust.nodes_with)
        self.own = OwnFile(data_dir)
        self.cities = tuple(cities)
        self.notices: list[str] = []
        self.publishers: list[Callable[[str, bytes], int]] = []  # the ways MQTT messages of ours go south
        self.beacons: ChainFile | None = None  # of the radio, if it sends any
        self._alarm_listeners: list[Callable[[Sequence[Change]], None]] = []
        self._data_dir = data_dir
        self._roots = Roots()
        self._floors = Floors(data_dir)
        self._numbering = Numbering(gateway_id)
        self._boots = Boots()
        self.boot_table = BootTable(clock, on_settled=self._boots.settle, hold_s=time_hold_s)
        self._recorder = Recorder(
            clock=clock,
            counters=self.counters,
            trust=self.trust,
            numbering=self._numbering,
            boot_table=self.boot_table,
            alarm_budget_per_h=alarm_budget_per_h,
        )
        self.commands = self._recorder.commands = Commands(
            command,
            clock=clock,
            floors=self._floors,
            count=self.counters.add,
            refusal=lambda node, name: self.trust.command_refusal(node, name, command.allow),
            put_own=self._recorder.put_undated,
            note=lambda what, device, detail, actor: self.trust.audit.record(what, device, detail, actor=actor),
        )

    def assemble(self, downlink_start: int, *, edge: EdgeConfig, groups: Sequence[GroupConfig], limits: Limits) -> None:
        """Join the parts; what each remembers is written down in the order in which it joins the store."""
        bounds = self._bounds(limits)
        self.outbox = self._recorder.outbox = Outbox(self.store, bounds, self.boot_table, now_s=self.clock.now_s)
        sequences, sessions = Sequences(), self._make_sessions(downlink_start)
        devices = self._devices()
        bursts = Bursts(devices, self._recorder, counters=self.counters)
        self._set_up_edge(edge, groups, sessions)
        self.intake = self._intake(sequences, sessions, devices, bursts)
        self.store.on_commit(self._note_committed)
        for part in (
            sessions,
            sequences,
            self.edge,
            self._recorder.alarm_budget,
            bounds,
            devices,
            bursts,
            self.commands,
            self._numbering,
            self.boot_table,
            SavedCounters(self.counters, self.clock),
            AuditOfCommit(self.trust),
        ):
            self.store.join(part)

    def _bounds(self, limits: Limits) -> Bounds:
        return Bounds(
            limits,
            free_bytes=lambda: self.store.vault.files.room(self._data_dir)[0],
            reader=self.store.vault.reader,
            clock=self.clock,
            boot_table=self.boot_table,
            put_gap=self._recorder.put_gap,
            put_own=self._recorder.put_own,
            under_way=lambda stream, ledger: self.outbox.under_way(stream, ledger),
            set_tight=self.store.vault.set_tight,
        )

    def _make_sessions(self, downlink_start: int) -> Sessions:
        return Sessions(
            self.nodes,
            self._floors,
            downlink_start=downlink_start,
            roots=self._roots,
            may_speak=self.trust.may_speak,
            heard=self.trust.heard,
        )

    def _devices(self) -> Devices:
        return Devices(
            nodes=self.nodes,
            numbering=self._numbering,
            clock=self.clock,
            counters=self.counters,
            censor=lambda node, readings: self._recorder.privacy.readings(node, readings),
            put_report=self._recorder.put_accepted,
            may_speak=self.trust.device_refusal,
        )

    def _set_up_edge(self, edge: EdgeConfig, groups: Sequence[GroupConfig], sessions: Sessions) -> None:
        self._settings = EdgeSettings(self._data_dir, edge, groups, label_of=self._label_of, count=self.counters.add)
        known = self._settings.groups()
        self._recorder.privacy = self._settings.privacy(known)
        self.edge = self._recorder.edge = Edge(edge, known, self._recorder.privacy, self.counters)
        desk = self._recorder.desk = self._desk()
        self.clockwork = Clockwork(
            self._data_dir,
            known,
            store=self.store,
            recorder=self._recorder,
            edge=self.edge,
            settings=self._settings,
            desk=desk,
            nodes=self.nodes,
            sessions=sessions,
            trust=self.trust,
        )

    def _desk(self) -> Desk:
        return Desk(
            self.commands,
            data_dir=self._data_dir,
            store=self.store,
            nodes=self.nodes,
            admission=self.trust.admission,
            groups=lambda: self.clockwork.groups,
            actions=self._actions_of,
            count=self.counters.add,
        )

    def _intake(self, sequences: Sequences, sessions: Sessions, devices: Devices, bursts: Bursts) -> Intake:
        uplinks = Uplinks(
            sessions=sessions,
            sequences=sequences,
            clock=self.clock,
            counters=self.counters,
            put_report=self._recorder.put_uplink,
            put_gap=self._recorder.put_gap,
            boots=self._boots,
            next_order=self.commands.next_for,
            has_come=lambda tx, node, at_s: self.edge.node_moved(tx, node, at_s=at_s),
            anchor=lambda: self.beacons.anchor() if self.beacons else None,
        )
        joins = Joins(
            own=self.own.get,
            nodes=self.nodes,
            sessions=sessions,
            roots=self._roots,
            monotonic_s=self.clock.monotonic_s,
            count=self.counters.add,
            may_join=self.trust.may_join,
            kept=self.trust.joined,
            leaves_it=self.trust.leaves_join,
        )
        return Intake(
            self.store,
            uplinks=uplinks,
            joins=joins,
            devices=devices,
            bursts=bursts,
            put_own=self._recorder.put_readings,
            counters=self.counters,
            note_refusal=self.trust.note_refusal,
            is_babbling=self._is_babbling,
            must_react=lambda: self.edge.must_react,
            utc_s=lambda: int(self.clock.now_s()) if self.clock.is_trusted else None,
        )

    async def run(self) -> None:
        """Commit, and tell windows when they are over, until cancelled; what was submitted is committed first."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.store.run(), name="core.commit")
            tasks.create_task(self.clockwork.run(), name="core.clockwork")

    def on_alarm(self, listener: Callable[[Sequence[Change]], None]) -> None:
        """Call `listener` in the event loop with the steps of alarms, once they are on disk."""

        self._alarm_listeners.append(listener)

    def _note_committed(self) -> None:
        self.commands.committed()
        changes = self.edge.committed()
        if changes:
            for listener in self._alarm_listeners:
                listener(changes)

    def publish(self, topic: str, payload: bytes) -> int:
        """Send a message to who subscribed to it, south of us. Returns to how many it went."""
        return sum(publish(topic, payload) for publish in self.publishers)

    def is_admitted(self, node: str) -> bool:
        """Whether what is said in this name is still taken: an id that we would have to have enrolled is."""
        if node in self.nodes.by_id or not is_node_id(node):
            return True
        return self.trust.admission.of_device(node) is not None

    def edge_warnings(self) -> list[str]:
        """Names of groups that the settings use and nobody has made."""
        return self._settings.warnings()

    def _actions_of(self, rule: str) -> list[ActionConfig]:
        held = self.edge.actions_of(rule)
        return [action for action in self._settings.edge.action if action.name in held]

    def _label_of(self, node: str) -> str | None:
        known = self.nodes.by_id.get(node)
        return known.alias if known else None

    def reload_nodes(self) -> None:
        """Read the folder of enrolled nodes again."""
        self.nodes.load()

    async def status(self) -> dict[str, Any]:
        """What this half holds and has seen, as of the last commit. Cheap: nothing is counted anew."""
        backlog = {city: await self.outbox.backlog(city) for city in self.cities}
        return {
            "store": {"trouble": self.store.trouble, "notices": [*self.store.notices, *self.notices]},
            "flash": self.wear.status(),
            "clock": clock_status(self.clock),
            "nodes": {
                "enrolled": len(self.nodes.by_id),
                "problems": self.nodes.problems,
                "heard": {node: asdict(heard) for node, heard in self.intake.heard.items()},
            },
            "cities": {city: asdict(waiting) for city, waiting in backlog.items()},
            "alarms": dict(Counter(self.edge.raised.values())),
            "withheld": self.edge.withheld,
            "commands_waiting": self.commands.waiting,
            "counters": self.counters.snapshot(),
        }

    # In the commit thread.

    def begin(self, tx: Transaction) -> int:
        """Take up what the database says. Returns where its downlink counters start."""
        self._boots.begin(tx)
        self.boot_table.begin(tx)
        begin_ages(tx)
        self._recorder.alarm_budget.begin(tx)
        self._floors.load(now_s=self.clock.now_s())
        self.counters.load(tx)
        self._roots.begin(tx)
        self.commands.begin(tx)
        self.notices += tx.set_cities(self.cities)
        try:
            return self._numbering.begin(tx, self._floors)
        except OSError as error:
            raise StoreFailed(
                f"floors.json was not written ({error.strerror}); check the disk under data_dir"
            ) from error

    def begin_edge(self, tx: Transaction) -> None:
        """Take up what the edge remembers, and make again what only the records say."""
        vault = self.store.vault
        vault.on_checkpoint = lambda: self.edge.checkpointed(vault.db)
        vault.on_step_back = lambda: self.edge.make_again(vault.db, self._recent())
        self.edge.begin(tx, self._recent())

    def _recent(self) -> Iterator[Recent]:
        for report, stored_at_s, is_produced in self.store.vault.recent():
            came = report if is_produced else as_it_came(report, gateway_id=self._numbering.gateway_id)
            yield Recent(came, stored_at_s, is_produced)

    def tell_damaged(self, tx: Transaction) -> None:
        """A gap record of what the start found missing in the log."""
        tell_unreadable(tx, self._recorder.put_gap, self.store.vault.damaged, self.cities)

    def _is_babbling(self, address: int) -> bool:
        """Whether alarms from this short address are events for now."""
        budget = self._recorder.alarm_budget
        return budget.is_anybody_over and any(budget.is_over(node.id) for node in self.nodes.candidates(address))
