"""The gateway on one screen: what hears, what keeps, what delivers.

    southbound (lora | mqtt | sensor) -> intake -> outbox -> city
                                          |  ^
                                        ack  edge

Whatever an outage can touch is a state of its own part. SIGTERM, SIGINT or a fault of ours ends the gateway.
"""

import argparse
import asyncio
import logging
import signal
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from gateway import log as logs
from gateway.config import Config, add_config_argument, load
from gateway.core import Core, open_core
from gateway.outbox.bounds import Limits
from gateway.parts import Part, city_parts, open_southbound
from gateway.status import StatusFile, gather
from gateway.time_evidence import machine_clock

log = logging.getLogger(__name__)


async def serve(config: Config, *, stop: asyncio.Event, reload: asyncio.Event) -> None:
    """Be the gateway until `stop` is set; everything accepted by then is on disk when this returns.

    reload  set it after enrolling nodes; it is cleared when they are known
    Raises  StoreBusy if another gateway has this data_dir; ConfigError or OSError for what an operator must change
    """
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(_open_core(config))
        async with asyncio.TaskGroup() as keeping:
            keeper = keeping.create_task(core.run(), name="core")
            try:
                hears = await open_southbound(config, core, stack)
                await _move(config, core, [*hears, *city_parts(config, core)], stop=stop, reload=reload)
            finally:
                keeper.cancel()  # last: it commits what was submitted, then ends


async def _move(config: Config, core: Core, parts: list[Part], *, stop: asyncio.Event, reload: asyncio.Event) -> None:
    """Hear and deliver. Ends with every task, before the disk does."""
    status = StatusFile(config.gateway.data_dir, lambda: gather(config, core.status, parts))
    async with asyncio.TaskGroup() as moving:
        tasks = [moving.create_task(part.run(), name=part.name) for part in parts]
        tasks.append(moving.create_task(status.run(), name="status"))
        tasks.append(moving.create_task(_reload(core, reload), name="reload"))
        log.info(
            "gateway %s of site %s runs, data in %s", config.gateway.id, config.gateway.site, config.gateway.data_dir
        )
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _reload(core: Core, reload: asyncio.Event) -> None:
    while True:
        await reload.wait()
        reload.clear()
        core.reload_nodes()
        log.info("enrolled nodes are read anew")


def _open_core(config: Config) -> AbstractAsyncContextManager[Core]:
    return open_core(
        data_dir=config.gateway.data_dir,
        gateway_id=config.gateway.id,
        cities=[city.name for city in config.city],
        window_s=config.edge.window_s,
        clock=machine_clock(config.gateway.time),
        time_hold_s=config.gateway.time_hold_s,
        limits=Limits(
            max_records=config.outbox.max_records,
            max_bytes=config.outbox.max_bytes,
            min_free_bytes=config.outbox.min_free_bytes,
            ttl_s=config.outbox.ttl_s,
            thin_span_s=config.outbox.thin_span_s,
        ),
        alarm_budget_per_h=config.outbox.alarm_budget_per_h,
    )


async def _serve_with_signals(config: Config) -> None:
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    await serve(config, stop=stop, reload=reload)
    log.info("stopped; everything accepted is on disk")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost gateway run`."""
    add_config_argument(parser)
    parser.epilog = "SIGTERM or Ctrl-C stops it with nothing lost; SIGHUP makes it read newly enrolled nodes."


def run(args: argparse.Namespace) -> int:
    """Run until told to stop; 0 after a clean stop."""
    config = load(args.config)
    logs.configure(form=config.gateway.log_format, level=config.gateway.log_level)
    for warning in config.warnings():
        log.warning("%s", warning)
    asyncio.run(_serve_with_signals(config))
    return 0
