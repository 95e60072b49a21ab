"""The gateway between its ways in and its ways out, put together: store, identity, intake, edge and outbox.

`open_core` opens the disk and gives back a Core whose `run` owns the commits and the edge's clockwork. Bearers hand
frames to `intake`, forwarders take from `outbox`; neither knows the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway import gaps
from gateway.alarm_budget import AlarmBudget
from gateway.boot_table import BootTable
from gateway.boot_times import dated
from gateway.boots import Boots
from gateway.clock import ClockTrust
from gateway.clock_status import clock_status
from gateway.counters import Counters
from gateway.database import make_durable_dir
from gateway.devices import Devices
from gateway.edge import Edge
from gateway.floors import Floors
from gateway.identity.nodes import Nodes
from gateway.identity.sessions import Sessions
from gateway.intake import Intake
from gateway.numbering import Numbering
from gateway.outbox import Outbox
from gateway.outbox.ages import begin_ages
from gateway.outbox.bounds import Bounds, Limits, tell_unreadable
from gateway.outbox.entries import Transaction
from gateway.outbox.files import Files
from gateway.reading import Reading, Report
from gateway.sequences import Sequences
from gateway.store import WINDOW_S, Store, StoreError, StoreFailed
from gateway.uplinks import Uplinks

log = logging.getLogger(__name__)
_EDGE_EVERY_S = 1.0
_NODES_DIR = "nodes"


class Core:
    """What the rest of the gateway uses. Made by `open_core`."""

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        *,
        gateway_id: str,
        cities: Sequence[str],
        clock: ClockTrust,
        time_hold_s: float,
        alarm_budget_per_h: int,
    ) -> None:
        self.store = store
        self.clock = clock
        self.counters = Counters()
        self.nodes = Nodes(data_dir / _NODES_DIR)
        self.floors = Floors(data_dir)
        self.numbering = Numbering(gateway_id)
        self.cities = tuple(cities)
        self.notices: list[str] = []
        self.boots = Boots()
        self.boot_table = BootTable(clock, on_settled=self.boots.settle, hold_s=time_hold_s)
        self.alarm_budget = AlarmBudget(
            alarm_budget_per_h, boot_table=self.boot_table, counters=self.counters, tell=self._put_undated
        )

    def assemble(self, data_dir: Path, downlink_start: int, *, window_s: int, limits: Limits) -> None:
        """Join the parts; what each remembers is written down in the order in which it joins the store."""
        bounds = Bounds(
            limits,
            free_bytes=lambda: self.store.vault.files.room(data_dir)[0],
            reader=self.store.vault.reader,
            clock=self.clock,
            boot_table=self.boot_table,
            put_gap=self._put_gap,
            put_own=self._put_own,
            under_way=lambda stream, ledger: self.outbox.under_way(stream, ledger),
            set_tight=self.store.vault.set_tight,
        )
        self.outbox = Outbox(self.store, bounds, self.boot_table, now_s=self.clock.now_s)
        self.sequences = Sequences()
        self.sessions = Sessions(self.nodes, self.floors, downlink_start=downlink_start)
        self.edge = Edge(window_s=window_s, clock=self.clock, counters=self.counters, put_own=self._put_own)
        uplinks = Uplinks(
            sessions=self.sessions,
            sequences=self.sequences,
            clock=self.clock,
            counters=self.counters,
            put_report=self._put_accepted,
            put_gap=self._put_gap,
            boots=self.boots,
        )
        devices = Devices(
            nodes=self.nodes,
            numbering=self.numbering,
            clock=self.clock,
            counters=self.counters,
            put_report=self._put_accepted,
        )
        self.intake = Intake(
            self.store,
            uplinks=uplinks,
            devices=devices,
            put_own=self._put_readings,
            counters=self.counters,
            is_babbling=self._is_babbling,
        )
        judges = (self.alarm_budget, bounds)
        own = (self.sessions, self.sequences, self.edge, *judges, devices, self.numbering, self.boot_table)
        for part in (*own, _Housekeeping(self)):
            self.store.join(part)

    async def run(self) -> None:
        """Commit, and tell windows when they are over, until cancelled; what was submitted is committed first."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.store.run(), name="core.commit")
            tasks.create_task(self._tell_windows(), name="core.edge")

    async def _tell_windows(self) -> None:
        while True:
            await asyncio.sleep(_EDGE_EVERY_S)
            await self.tell_windows()

    async def tell_windows(self) -> None:
        """Store the records of windows that are over. On a full disk they wait."""
        try:
            await self.store.write(self.edge.tick)
        except StoreError as error:
            log.debug("windows wait: %s", error)

    def reload_nodes(self) -> None:
        """Read the folder of enrolled nodes again."""
        self.nodes.load()

    async def status(self) -> dict[str, Any]:
        """What this half holds and has seen, as of the last commit. Cheap: nothing is counted anew."""
        backlog = {city: await self.outbox.backlog(city) for city in self.cities}
        return {
            "store": {"trouble": self.store.trouble, "notices": [*self.store.notices, *self.notices]},
            "clock": clock_status(self.clock),
            "nodes": {
                "enrolled": len(self.nodes.by_id),
                "problems": self.nodes.problems,
                "heard": {node: asdict(heard) for node, heard in self.intake.heard.items()},
            },
            "cities": {city: asdict(waiting) for city, waiting in backlog.items()},
            "counters": self.counters.snapshot(),
        }

    # In the commit thread.

    def begin(self, tx: Transaction) -> int:
        """Take up what the database says. Returns where its downlink counters start."""
        self.boots.begin(tx)
        self.boot_table.begin(tx)
        begin_ages(tx)
        self.alarm_budget.begin(tx)
        self.floors.load(now_s=self.clock.now_s())
        self.counters.load(tx)
        self.notices += tx.set_cities(self.cities)
        try:
            return self.numbering.begin(tx, self.floors)
        except OSError as error:
            raise StoreFailed(
                f"floors.json was not written ({error.strerror}); check the disk under data_dir"
            ) from error

    def tell_damaged(self, tx: Transaction) -> None:
        """A gap record of what the start found missing in the log."""
        tell_unreadable(tx, self._put_gap, self.store.vault.damaged, self.cities)

    def _put_accepted(self, tx: Transaction, report: Report) -> None:
        kept = self.alarm_budget.judged(tx, report) if report.kind == "alarm" else report
        self.outbox.put(tx, kept, is_produced=False, now_s=self.clock.now_s())
        self.edge.add(tx, report)

    def _is_babbling(self, address: int) -> bool:
        """Whether alarms from this short address are events for now."""
        return self.alarm_budget.is_anybody_over and any(
            self.alarm_budget.is_over(node.id) for node in self.nodes.candidates(address)
        )

    def _put_own(self, tx: Transaction, report: Report) -> None:
        kept = self.alarm_budget.judged(tx, report) if report.kind == "alarm" else report
        self.outbox.put(tx, self.numbering.number(tx, kept), is_produced=True, now_s=self.clock.now_s())

    def _put_undated(self, tx: Transaction, report: Report) -> None:
        self._put_own(tx, dated(report, self.clock, self.clock.stamp_s()))

    def _put_gap(self, tx: Transaction, gap: gaps.Gap) -> None:
        self.counters.add(f"gaps_{gap.reason}")
        self._put_undated(tx, gaps.as_report(gap))

    def _put_readings(
        self, tx: Transaction, readings: Sequence[Reading], kind: str, measured_at_s: float | None
    ) -> str:
        report = Report(
            node="",
            record_id="",
            measured_at_s=0.0,
            readings=tuple(readings),
            kind=kind,  # type: ignore[arg-type]
        )
        stamp_s = self.clock.stamp_s() if measured_at_s is None else measured_at_s
        numbered = self.numbering.number(tx, dated(report, self.clock, stamp_s, error_s=0.125))
        self.outbox.put(tx, numbered, is_produced=False, now_s=self.clock.now_s())
        self.edge.add(tx, numbered)
        return numbered.record_id


class _Housekeeping:
    """Counters: written now and then, with a commit that happens anyway."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def flush(self, tx: Transaction) -> None:
        if not tx.frame.page_count:
            return
        self._core.counters.save(tx, self._core.clock.monotonic_s())

    def forget(self) -> None:
        """The counters in memory are right whatever the database says."""


@asynccontextmanager
async def open_core(
    *,
    data_dir: Path,
    gateway_id: str,
    cities: Sequence[str],
    window_s: int = 60,
    limits: Limits | None = None,
    clock: ClockTrust | None = None,
    time_hold_s: float = 120.0,
    alarm_budget_per_h: int = 60,
    commit_window_s: float = WINDOW_S,
    files: Files | None = None,
    segment_bytes: int | None = None,
) -> AsyncIterator[Core]:
    """Open the gateway's disk.

    cities           names of the configured platforms; one that is new gets what is stored
    window_s         length of the edge's windows, 0 for none
    limits           bounds of the outbox
    time_hold_s      how long what cannot be dated waits for the time while a platform could take it
    alarm_budget_per_h  alarms of one node in an hour before they count as events; 0: any number
    commit_window_s  the longest that a change waits for company in its commit
    files            the file layer of the record log
    segment_bytes    of its files; None: as the disk allows
    Raises           StoreBusy, StoreNewer, StoreFull, StoreFailed
    """
    make_durable_dir(data_dir / _NODES_DIR)
    store = Store(data_dir, window_s=commit_window_s, files=files, segment_bytes=segment_bytes)
    core = Core(
        store,
        data_dir,
        gateway_id=gateway_id,
        cities=cities,
        clock=clock or ClockTrust(),
        time_hold_s=time_hold_s,
        alarm_budget_per_h=alarm_budget_per_h,
    )
    async with store:
        core.nodes.load()
        downlink_start = await store.write_alone(core.begin)
        core.assemble(data_dir, downlink_start, window_s=window_s, limits=limits or Limits())
        if store.vault.damaged:
            await store.write_alone(core.tell_damaged)
        yield core
