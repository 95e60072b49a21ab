"""The course of the demo: start a street, take the city away in the middle, and count what arrived.

The broker stays up through the outage; it is the way to it that fails, as in a city: first bytes vanish without a word,
then connections are refused. At the end each node is switched off when the city has all that its flash says it made.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from gateway.endpoint import Endpoint, parse_endpoint
from gateway.errors import ConfigError, GatewayError
from lamppost.demo.arrivals import Arrivals, Record
from lamppost.demo.report import Issued, Report, issued_ids, judge
from lamppost.demo.stage import Stage
from lamppost.demo.subscriber import subscribe
from lamppost.demo.summary import print_summary
from lamppost.demo.truth import compare
from lamppost.demo.view import Scene, view_for

DONE, FAILED, EDIT = 0, 1, 2
_LOOK_EVERY_S = 0.5
_DRAIN_LIMIT_S = 180.0  # after the end; a street that cannot bring in its reports by then has lost them
_GATEWAY_ID = "gw-demo"


def main(args: argparse.Namespace) -> int:
    """Check the arguments, run, print the verdict. Returns the exit code."""
    problem = _problem(args)
    if problem:
        print(f"lamppost demo: {problem}", file=sys.stderr)
        return EDIT
    try:
        city = parse_endpoint("--city", args.city) if args.city else None
    except ConfigError as error:
        print(f"lamppost demo: {error}", file=sys.stderr)
        return EDIT
    try:
        report = asyncio.run(_Demo(args, city).run())
    except GatewayError as error:
        print(f"lamppost demo: {error}", file=sys.stderr)
        return FAILED
    print_summary(report)
    if args.json:
        report.write(Path(args.json))
    return DONE if report.is_good else FAILED


def _problem(args: argparse.Namespace) -> str:
    if not 1 <= args.nodes <= 40:
        return f"--nodes {args.nodes}: must be 1 to 40"
    if args.duration < 10:
        return f"--duration {args.duration:g}: must be at least 10 seconds, or nothing would be seen"
    if not 0 <= args.outage <= args.duration - 5:
        return f"--outage {args.outage:g}: must be 0 to {args.duration - 5:g}, five seconds less than the duration"
    if args.keep and Path(args.keep).exists() and any(Path(args.keep).iterdir()):
        return f"--keep {args.keep}: is not empty; name a new folder"
    return ""


class _Demo:
    """One run, from curtain to curtain."""

    def __init__(self, args: argparse.Namespace, city: Endpoint | None) -> None:
        self._args = args
        self._stage = Stage(
            nodes=args.nodes, city=city, gateway_id=_GATEWAY_ID, keep=Path(args.keep) if args.keep else None
        )
        self._arrivals = Arrivals(_GATEWAY_ID)
        self._scene = Scene(duration_s=args.duration)
        self._began_s = 0.0
        self._owed: set[str] | None = None  # what was measured when the outage ended
        self._outage_ended_s = 0.0
        self._drain_s = 0.0
        self._first_live_s: float | None = None

    async def run(self) -> Report:
        with view_for() as view:
            view.show(self._scene)
            async with self._stage as stage, subscribe(stage.broker, stage.topic, self._take):
                self._scene.nodes.update(stage.rows())
                await stage.power_on()
                self._began_s = time.monotonic()
                await self._play(view.show)
                issued = await self._close(view.show)
                report = self._judge(issued)
        return report

    async def _play(self, show) -> None:  # type: ignore[no-untyped-def]
        """The given duration, with the outage in its middle, half of it silent and half refused."""
        starts_s = (self._args.duration - self._args.outage) / 2
        half_s = self._args.outage / 2
        await self._pass_time(starts_s, "reporting", show)
        if self._args.outage:
            self._stage.silence_city()
            self._scene.city_link = "silent"
            await self._pass_time(starts_s + half_s, "outage", show)
            self._stage.refuse_city()
            self._scene.city_link = "refused"
            await self._pass_time(starts_s + 2 * half_s, "outage", show)
            await self._stage.restore_city()
            self._scene.city_link = "up"
            self._outage_ended_s = time.monotonic()
            self._owed = issued_ids(await self._stage.issued())
        await self._pass_time(self._args.duration, "reporting", show)

    async def _pass_time(self, until_s: float, phase: str, show) -> None:  # type: ignore[no-untyped-def]
        self._scene.phase = phase
        while (left_s := self._began_s + until_s - time.monotonic()) > 0:
            await self._look(show)
            await asyncio.sleep(min(_LOOK_EVERY_S, left_s))

    async def _look(self, show) -> Issued:  # type: ignore[no-untyped-def]
        """Bring the screen up to date with flash, gateway and city."""
        self._stage.check_alive()
        issued = await self._stage.issued()
        delivered = self._arrivals.node_ids()
        for node, state in self._scene.nodes.items():
            state.issued = sum(issued.get(node, {}).values())
            state.delivered = sum(record_id.startswith(f"{node}/") for record_id in delivered)
        self._scene.backlog = self._stage.backlog()
        self._scene.windows = len(self._arrivals.gateway_records())
        self._scene.elapsed_s = time.monotonic() - self._began_s
        show(self._scene)
        return issued

    async def _close(self, show) -> Issued:  # type: ignore[no-untyped-def]
        """Switch each node off once the city has all it made; returns what flash says then."""
        self._scene.phase = "draining"
        deadline_s = time.monotonic() + _DRAIN_LIMIT_S
        running = set(self._scene.nodes)
        while running and time.monotonic() < deadline_s:
            issued = await self._look(show)
            for node in sorted(running):
                if not self._missing(node, issued) and not self._missing(node, await self._stage.switch_off(node)):
                    running.discard(node)
                else:
                    await self._stage.switch_on(node)  # it made one more in that moment
            await asyncio.sleep(_LOOK_EVERY_S / 5)
        for node in running:
            await self._stage.switch_off(node)
        self._scene.phase = "done"
        return await self._look(show)

    def _missing(self, node: str, issued: Issued) -> set[str]:
        return issued_ids({node: issued.get(node, {})}) - self._arrivals.node_ids()

    def _take(self, payload: bytes, properties: list[tuple[str, str]]) -> None:
        """One message at the city."""
        records = self._arrivals.add(payload, properties)
        now_s = time.monotonic()
        for record in records:
            self._note_reading(record)
            if self._outage_ended_s and self._first_live_s is None and record.lane == "live":
                self._first_live_s = round(now_s - self._outage_ended_s, 2)
        if self._owed is not None and self._owed <= self._arrivals.node_ids():
            self._drain_s = now_s - self._outage_ended_s
            self._owed = None

    def _note_reading(self, record: Record) -> None:
        state = self._scene.nodes.get(record.node)
        if state is not None:
            state.last_reading = "  ".join(
                f"{m.value:.6g} {m.unit}" for m in record.measurements[:3] if isinstance(m.value, int | float)
            )
            state.signal = self._stage.signal_of(record.node)

    def _judge(self, issued: Issued) -> Report:
        return judge(
            issued=issued,
            bearers={node: row.bearer for node, row in self._scene.nodes.items()},
            arrivals=self._arrivals,
            deviation=compare(self._arrivals.records.values(), self._stage.weather()),
            duration_s=self._args.duration,
            outage_s=self._args.outage,
            drain_s=self._drain_s,
            first_live_s=self._first_live_s,
        )
