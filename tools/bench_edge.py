"""What the edge step costs, and how fast it reacts: python -m tools.bench_edge [--readings N] [--reports N]

First 20 window definitions of which each reading matches 5, one of them with quantiles: readings/s on one core, with a
checkpoint every second, and the cost of each kind of definition alone. Then the time from a sealed frame at the intake
to the switched output and the MQTT message at a subscriber, with the city link cut: p50, p95, p99.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gateway.config import EdgeConfig
from gateway.config_alarm import RuleConfig
from gateway.config_edge import ActionConfig, WindowConfig
from gateway.counters import Counters
from gateway.edge.actions import Actions
from gateway.edge.engine import Edge
from gateway.edge.groups import Groups
from gateway.edge.privacy import Privacy
from gateway.endpoint import parse_endpoint
from gateway.intake import Uplink
from gateway.reading import Reading, Report
from gateway.southbound.mqtt import IngestListener
from gateway.start import open_core
from tests.gateway.edge.machine import Commit
from tests.gateway.link_node import LinkNode, report

DEVICES = 200
RATE = 30_000  # readings per second of event time
QUANTITIES = ("temperature", "humidity", "pressure", "noise")
BEGAN_S = 1_800_000_000.0
TRIES = 3  # of a small figure: the best one is that of the machine, the rest is its other work
PLAIN = ("count", "mean", "min", "max")
SHAPES: dict[str, WindowConfig] = {
    "tumbling 1 min, count mean min max": WindowConfig(name="a", length_s=60, stats=PLAIN),
    "tumbling 1 h, all but time_mean": WindowConfig(name="b", length_s=3600, stats=(*PLAIN, "std", "last", "rate")),
    "tumbling 15 min, with quantiles": WindowConfig(name="c", length_s=900, stats=PLAIN, quantiles=(0.5, 0.95)),
    "sliding 1 h by 10 min": WindowConfig(name="d", kind="sliding", length_s=3600, slide_s=600, stats=PLAIN),
    "tumbling 5 min, time_mean": WindowConfig(name="e", length_s=300, stats=("count", "time_mean")),
}
EXTRA: dict[str, WindowConfig] = {
    "session, gap 5 min": WindowConfig(name="f", kind="session", gap_s=300, stats=PLAIN),
}


def twenty() -> list[WindowConfig]:
    """Each of the five shapes for each of the four quantities: a reading matches five."""
    return [
        replace(shape, name=f"{shape.name}-{quantity}", quantities=(quantity,))
        for quantity in QUANTITIES
        for shape in SHAPES.values()
    ]


def readings(count: int) -> list[Report]:
    """One reading per report, of 200 devices in turn, as they would come at 30,000 readings a second."""
    made = []
    for number in range(count):
        device, turn = number % DEVICES, number // DEVICES
        made.append(
            Report(
                node=f"meter-{device}",
                record_id="",
                measured_at_s=BEGAN_S + number / RATE,
                readings=(Reading(quantity=QUANTITIES[turn % 4], value=20 + (number * 7919 % 1000) / 100, unit="Cel"),),
            )
        )
    return made


def cost_s(windows: Sequence[WindowConfig], reports: Sequence[Report]) -> tuple[float, float]:
    """CPU seconds per reading, and those of the checkpoints and records within."""
    groups, counters = Groups(), Counters()
    edge = Edge(
        EdgeConfig(window_s=0, window=tuple(windows)),
        groups,
        Privacy((), groups, key=b"", count=counters.add),
        counters,
    )
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        tx = Commit(db)
        edge.begin(tx)
        tx.release()
        kept_s, began_s = 0.0, time.process_time()
        for number, one in enumerate(reports, 1):
            now_s = one.measured_at_s + 1
            edge.add(db, one, now_s=now_s)
            if number % RATE == 0:
                start_s = time.process_time()
                tx = Commit(db)
                edge.tick(tx, now_s=now_s)
                edge.flush(tx)
                tx.release()
                kept_s += time.process_time() - start_s
        whole_s = time.process_time() - began_s
    return whole_s / len(reports), kept_s / len(reports)


def bench_windows(count: int) -> None:
    """Print the rate with all, and the cost of each definition."""
    reports = readings(count)
    few = reports[: count // 4]
    empty_s = min(cost_s((), few)[0] for _ in range(TRIES))
    whole_s, kept_s = cost_s(twenty(), reports)
    print(f"{DEVICES} devices, event time running at {RATE:,} readings/s, {count:,} readings")
    print(f"20 definitions, each reading matches 5, one with quantiles: {1 / whole_s:,.0f} readings/s on one core")
    print(f"  {whole_s * 1e6:.1f} us per reading, of which {empty_s * 1e6:.1f} without any definition")
    print(f"  and {kept_s * 1e6:.1f} for records and a checkpoint of all that changed, every {RATE:,} readings")
    for name, shape in (SHAPES | EXTRA).items():
        alone_s = min(cost_s([shape], few)[0] for _ in range(TRIES))
        print(f"  {name:<40}{(alone_s - empty_s) * 1e6:6.2f} us per matching reading")


RULE = RuleConfig(
    name="flood", kind="threshold", quantity="temperature", above=40.0, severity="critical", actions=("siren", "call")
)
ACTIONS = (
    ActionConfig(name="siren", kind="gpio", pin=17, link_timeout_s=0),
    ActionConfig(name="call", kind="mqtt"),
)


class Subscriber:
    """A paho client in a thread of its own: when did each message come."""

    def __init__(self, port: int) -> None:
        self.came_s: list[float] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("act/call")
        self._client.on_subscribe = lambda *_: self._loop.call_soon_threadsafe(self.ready.set)
        self._client.on_message = lambda *_: self._note()
        self._loop = asyncio.get_running_loop()
        self.ready, self.came = asyncio.Event(), asyncio.Event()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _note(self) -> None:
        self.came_s.append(time.perf_counter())
        self._loop.call_soon_threadsafe(self.came.set)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


async def bench_reaction(data_dir: Path, frames: int) -> None:
    """Alternate a high and a low reading; every one changes the alarm."""
    node = LinkNode(1)
    node.enrol(data_dir)
    edge = EdgeConfig(rule=(RULE,), action=ACTIONS)
    async with open_core(data_dir=data_dir, gateway_id="gw-1", cities=["city"], edge=edge) as core:  # nobody delivers
        listener = IngestListener(
            core.intake, parse_endpoint("listen", f"mqtt://127.0.0.1:{free_port()}"), count=core.counters.add
        )
        async with listener, asyncio.TaskGroup() as tasks:
            actions = Actions(
                ACTIONS,
                core.edge,
                is_admitted=core.is_admitted,
                publish=listener.publish,
                count=core.counters.add,
                now_s=core.clock.now_s,
            )
            switched: list[float] = []

            def react(changes: Sequence[object]) -> None:
                actions.react(changes)  # type: ignore[arg-type]
                switched.append(time.perf_counter())

            core.on_alarm(react)
            running = [tasks.create_task(one) for one in (core.run(), listener.run(), actions.run())]
            subscriber = Subscriber(listener.port)
            await subscriber.ready.wait()
            sent: list[float] = []
            for seq in range(frames):
                celsius = 5000 if seq % 2 == 0 else 2000
                sealed = node.seal(node.body([report(seq, time_s=node.uptime_s, values=(celsius, 5000, 100000))]))
                subscriber.came.clear()
                sent.append(time.perf_counter())
                await core.intake.submit(Uplink(frame=sealed, bearer="mqtt", received_at_s=time.time()))
                async with asyncio.timeout(10):
                    await subscriber.came.wait()
            subscriber.stop()
            for task in running:
                task.cancel()
    print(f"\nfrom frame to action with the city link cut, {frames} changes of one alarm, each synced before it acts:")
    print_delays("output switched", sent, switched)
    print_delays("MQTT message at a subscriber", sent, subscriber.came_s)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def print_delays(name: str, sent: Sequence[float], done: Sequence[float]) -> None:
    delays = sorted(end - start for start, end in zip(sent, done, strict=True))
    marks = [delays[min(len(delays) - 1, int(len(delays) * q))] * 1e3 for q in (0.5, 0.95, 0.99)]
    print(f"  {name:<30} p50 {marks[0]:6.1f} ms   p95 {marks[1]:6.1f} ms   p99 {marks[2]:6.1f} ms")


def use_mock_pins() -> None:
    """Where there are no pins, gpiozero's own stand-in."""
    try:
        from gpiozero import Device
        from gpiozero.pins.mock import MockFactory
    except ImportError:
        print("gpiozero is not installed: the output's switching is measured without a pin")
    else:
        Device.pin_factory = MockFactory()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readings", type=int, default=200_000)
    parser.add_argument("--reports", type=int, default=200, help="frames of the reaction")
    parser.add_argument(
        "--dir", type=Path, default=None, help="folder on the disk to measure; default: a temporary one"
    )
    arguments = parser.parse_args()
    bench_windows(arguments.readings)
    use_mock_pins()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        asyncio.run(bench_reaction(Path(folder), arguments.reports))
