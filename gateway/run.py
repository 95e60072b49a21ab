"""The gateway on one screen: what hears, what keeps, what delivers.

    southbound (lora | mqtt | sensor) -> intake -> outbox -> city
                                          |  ^
                                        ack  edge

Whatever an outage can touch is a state of its own part. SIGTERM, SIGINT or a fault of ours ends the gateway.
"""

import argparse
import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import fields

from gateway import log as logs
from gateway.clock import ClockTrust
from gateway.config import Config, ConfigError, add_config_argument, load
from gateway.core import Core
from gateway.edge.actions import Actions
from gateway.outbox.bounds import Limits
from gateway.parts import Part, city_parts, edge_actions, open_southbound
from gateway.start import open_core
from gateway.status import StatusFile, gather
from gateway.time_evidence import machine_clock
from gateway.trust import Trust, digest_of_settings, forward_to, open_trust

log = logging.getLogger(__name__)

_COLLECT_AFTER = (100_000, 20, 50)  # objects, and collections of the generation below


async def serve(
    config: Config, *, stop: asyncio.Event, reload: asyncio.Event, reread: Callable[[], Config] | None = None
) -> None:
    """Be the gateway until `stop` is set; everything accepted by then is on disk when this returns.

    reload  set it after enrolling nodes or changing settings; it is cleared when they are known
    reread  gives the settings as they are then; without it they never change
    Raises  StoreBusy if another gateway has this data_dir; ConfigError or OSError for what an operator must change
    """
    async with AsyncExitStack() as stack:
        clock = machine_clock(config.gateway.time)
        trust = stack.enter_context(
            open_trust(config.gateway.data_dir, gateway_id=config.gateway.id, site=config.gateway.site, clock=clock)
        )
        core = await stack.enter_async_context(_open_core(config, clock, trust))
        trust.count = core.counters.add
        trust.audit.note("configuration", "", f"gateway.toml is {digest_of_settings(config)}")
        async with asyncio.TaskGroup() as keeping:
            keeper = keeping.create_task(core.run(), name="core")
            try:
                hears = await open_southbound(config, core, stack)
                actions = edge_actions(config, core)
                acts = Part(name="edge.actions", run=actions.run, status=actions.status)
                renewal = _Renewal(config, core, actions, reload, reread)
                await _move(config, core, [*hears, acts, *city_parts(config, core)], renewal, stop=stop)
            finally:
                keeper.cancel()  # last: it commits what was submitted, then ends


async def _move(config: Config, core: Core, parts: list[Part], renewal: "_Renewal", *, stop: asyncio.Event) -> None:
    """Hear and deliver. Ends with every task, before the disk does."""
    status = StatusFile(config.gateway.data_dir, lambda: gather(config, core.status, parts))
    async with asyncio.TaskGroup() as moving:
        tasks = [moving.create_task(part.run(), name=part.name) for part in parts]
        tasks.append(moving.create_task(status.run(), name="status"))
        tasks.append(moving.create_task(renewal.run(), name="reload"))
        tasks.append(moving.create_task(core.trust.audit.run(forward_to(core)), name="audit"))
        log.info(
            "gateway %s of site %s runs, data in %s", config.gateway.id, config.gateway.site, config.gateway.data_dir
        )
        for warning in core.edge_warnings():
            log.warning("%s", warning)
        await stop.wait()
        for task in tasks:
            task.cancel()


class _Renewal:
    """SIGHUP: enrolled nodes, groups and everything below [edge] are read anew. A bad file changes nothing."""

    def __init__(
        self,
        config: Config,
        core: Core,
        actions: Actions,
        asked: asyncio.Event,
        reread: Callable[[], Config] | None,
    ) -> None:
        self._config = config
        self._core = core
        self._actions = actions
        self._asked = asked
        self._reread = reread

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._core.reload_nodes()
            if self._core.trust.keeper is not None:
                self._core.trust.keeper.wake()
            log.info("enrolled nodes are read anew")
            await self._reload()

    async def _reload(self) -> None:
        try:
            new = self._reread() if self._reread else self._config
        except ConfigError as error:
            log.error("the settings are not taken over, the old ones stay: %s", error)
            return
        for one in fields(Config):
            if one.name not in ("edge", "group") and getattr(new, one.name) != getattr(self._config, one.name):
                log.warning("%s has changed; that takes effect at the next start", one.name)
        await self._core.clockwork.reload_edge(new.edge, new.group)
        self._actions.reconfigure(new.edge.action)
        for warning in self._core.edge_warnings():
            log.warning("%s", warning)
        log.info("the settings of [edge] and [[group]] are read anew")


def _open_core(config: Config, clock: ClockTrust, trust: Trust) -> AbstractAsyncContextManager[Core]:
    return open_core(
        clock=clock,
        trust=trust,
        data_dir=config.gateway.data_dir,
        gateway_id=config.gateway.id,
        cities=[city.name for city in config.city],
        edge=config.edge,
        groups=config.group,
        time_hold_s=config.gateway.time_hold_s,
        limits=Limits(
            max_records=config.outbox.max_records,
            max_bytes=config.outbox.max_bytes,
            min_free_bytes=config.outbox.min_free_bytes,
            ttl_s=config.outbox.ttl_s,
            thin_span_s=config.outbox.thin_span_s,
        ),
        alarm_budget_per_h=config.outbox.alarm_budget_per_h,
        command=config.command,
    )


async def _serve_with_signals(config: Config, reread: Callable[[], Config]) -> None:
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    await serve(config, stop=stop, reload=reload, reread=reread)
    log.info("stopped; everything accepted is on disk")


def _spare_the_collector() -> None:
    """Let it look for cycles less often. Records on their way are many and hold none: looking through them for every
    700 objects that are made, as is usual, takes a tenth of the time at full rate (docs/decisions/0016)."""
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost gateway run`."""
    add_config_argument(parser)
    parser.epilog = (
        "SIGTERM or Ctrl-C stops it with nothing lost; SIGHUP makes it read enrolled nodes, [edge] and [[group]]."
    )


def run(args: argparse.Namespace) -> int:
    """Run until told to stop; 0 after a clean stop."""
    config = load(args.config)
    logs.configure(form=config.gateway.log_format, level=config.gateway.log_level)
    for warning in config.warnings():
        log.warning("%s", warning)
    _spare_the_collector()
    asyncio.run(_serve_with_signals(config, lambda: load(args.config)))
    return 0
