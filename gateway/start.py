"""A start of the gateway: its disk is opened, and a Core made that goes on where the last one was ended or killed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.clock import ClockTrust
from gateway.config import CommandConfig, EdgeConfig
from gateway.config_edge import GroupConfig
from gateway.core import NODES_DIR, Core
from gateway.database import make_durable_dir
from gateway.outbox.bounds import Limits
from gateway.outbox.files import Files
from gateway.store import WINDOW_S, Store
from gateway.trust import Trust


@asynccontextmanager
async def open_core(
    *,
    data_dir: Path,
    gateway_id: str,
    cities: Sequence[str],
    window_s: int = 60,
    edge: EdgeConfig | None = None,
    groups: Sequence[GroupConfig] = (),
    limits: Limits | None = None,
    clock: ClockTrust | None = None,
    time_hold_s: float = 120.0,
    trust: Trust | None = None,
    alarm_budget_per_h: int = 60,
    command: CommandConfig | None = None,
    commit_window_s: float = WINDOW_S,
    files: Files | None = None,
    segment_bytes: int | None = None,
) -> AsyncIterator[Core]:
    """Open the gateway's disk.

    cities           names of the configured platforms; one that is new gets what is stored
    window_s         length of the edge's windows, 0 for none; unused with `edge`
    edge, groups     what [edge] and [[group]] of gateway.toml say
    limits           bounds of the outbox
    time_hold_s      how long what cannot be dated waits for the time while a platform could take it
    alarm_budget_per_h  alarms of one node in an hour before they count as events; 0: any number
    trust            the site's registry and policy; without it node files and access lists say all
    command          which commands may go to nodes
    commit_window_s  the longest that a change waits for company in its commit
    files            the file layer of the record log
    segment_bytes    of its files; None: as the disk allows
    Raises           StoreBusy, StoreNewer, StoreFull, StoreFailed
    """
    make_durable_dir(data_dir / NODES_DIR)
    store = Store(data_dir, window_s=commit_window_s, files=files, segment_bytes=segment_bytes)
    core = Core(
        store,
        data_dir,
        gateway_id=gateway_id,
        cities=cities,
        clock=clock or ClockTrust(),
        time_hold_s=time_hold_s,
        alarm_budget_per_h=alarm_budget_per_h,
        command=command or CommandConfig(),
        trust=trust,
    )
    store.vault.is_behind = True
    async with store:
        await _go_on(core, store, edge=edge or EdgeConfig(window_s=window_s), groups=groups, limits=limits or Limits())
        yield core


async def _go_on(core: Core, store: Store, *, edge: EdgeConfig, groups: Sequence[GroupConfig], limits: Limits) -> None:
    """Take up what the disk says, in the order in which one needs the other."""
    core.nodes.load()
    downlink_start = await store.write_alone(core.begin)
    core.assemble(downlink_start, edge=edge, groups=groups, limits=limits)
    await store.write_alone(core.begin_edge)
    store.vault.is_behind = False
    if store.vault.damaged:
        await store.write_alone(core.tell_damaged)
