"""Promise 1 over any history: records of all classes, answers in any order, what expires, is thinned or evicted, kills.

A kill is a copy of the folder as the disk holds it, gone on with by the next gateway. After each step the invariant
holds for each platform; at the end each platform has every record, or was told of it, to the unit.
"""

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.outbox.bounds import Limits
from gateway.reading import STREAMS, Reading
from tests.gateway.cores import deliver_all, missed_by, running_core
from tests.gateway.machines import ScriptedMachine
from tests.gateway.packs import packs_of
from tests.gateway.test_outbox import made, put

CITIES = ["one", "two"]
NODES = "abc"
TTL_S = 500.0
TELEMETRY = STREAMS.index("telemetry")


class Street(RuleBasedStateMachine):
    """One gateway, two platforms, three nodes."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="lamppost-history-"))
        self.starts = 0
        self.stack = AsyncExitStack()
        self.machine = ScriptedMachine(policy="ntp")
        self.seqs = dict.fromkeys(NODES, 0)
        self.settled = {city: set() for city in CITIES}  # (node, seq) of what it took or refused
        self.stored_at_s = []  # of each telemetry record, by ordinal
        self.told = dict.fromkeys(CITIES, 0)  # records that it knows are missing, or thinned
        self.under_way = []
        self.gone_before = self.expired_before = None

    @initialize(
        max_records=st.sampled_from([40, 150, 150, 100_000]),
        thins=st.sampled_from([True, True, False]),
        expires=st.booleans(),
    )
    def begin(self, max_records, thins, expires):
        self.limits = Limits(
            max_records=max_records,
            thin_span_s=3600.0 if thins else 0.0,
            ttl_s={"telemetry": TTL_S} if expires else {},
        )
        self.runner.run(self.start())

    async def start(self):
        options = {"limits": self.limits, "clock": self.machine.clock(), "time_hold_s": 0, "commit_window_s": 0}
        self.core = await self.stack.enter_async_context(
            running_core(self.data_dir, cities=CITIES, segment_bytes=64 << 10, **options)
        )
        self.under_way = []

    @property
    def data_dir(self):
        return self.folder / str(self.starts)

    @property
    def ledger(self):
        return self.core.store.vault.published

    @rule(node=st.sampled_from(NODES), count=st.integers(10, 80))
    def measure(self, node, count):
        self.accept(node, [made(node, seq) for seq in self.next_seqs(node, count)])

    @rule(node=st.sampled_from(NODES), count=st.integers(1, 60), is_text=st.booleans())
    def send_events_or_texts(self, node, count, is_text):
        reports = [made(node, seq, kind="telemetry" if is_text else "event") for seq in self.next_seqs(node, count)]
        self.accept(node, [replace(one, readings=(Reading(quantity="note", value="x" * 30),)) for one in reports])

    @rule(node=st.sampled_from(NODES), count=st.integers(1, 60))
    def raise_alarms(self, node, count):
        self.accept(node, [made(node, seq, kind="alarm") for seq in self.next_seqs(node, count)])

    def next_seqs(self, node, count):
        return range(self.seqs[node], self.seqs[node] + count)

    def accept(self, node, reports):
        self.seqs[node] += len(reports)
        if reports[0].kind == "telemetry":
            self.stored_at_s += [self.machine.true_s] * len(reports)
        self.runner.run(put(self.core, *reports))

    @rule(city=st.sampled_from(CITIES), most=st.integers(1, 60))
    def take(self, city, most):
        async def take():
            if (await self.core.outbox.backlog(city)).records:
                batch = await self.core.outbox.oldest(city, most)
                self.under_way += packs_of(batch, 7)

        self.runner.run(take())

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(["delivered", "delivered", "unheard", "refused"]))
    def settle(self, data, outcome):
        pack = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.note_settled(pack)
        self.runner.run(self.core.outbox.settle([(pack, outcome)], reason="0x99"))

    def note_settled(self, pack):
        """What was not given up meanwhile."""
        done = self.ledger.settled[pack.city, pack.stream]
        for stored in pack.records:
            if stored.id // len(STREAMS) not in done:
                self.note_taken(pack.city, stored.report)

    def note_taken(self, city, report):
        if report.node in NODES:
            self.settled[city].add((report.node, report.seq))
        else:
            self.told[city] += missed_by(report, city)

    @rule(passed_s=st.sampled_from([1.0, 100.0, 300.0, 600.0]))
    def live(self, passed_s):
        self.machine.live(passed_s)
        self.runner.run(self.core.clockwork.tell_windows())

    @rule(by_s=st.sampled_from([None, -7 * 86_400.0, 40 * 86_400.0]))
    def meet_a_time_server_or_step_the_clock(self, by_s):
        if by_s is None:
            self.machine.reach_time_server()
        else:
            self.machine.step(by_s)
        self.runner.run(self.core.clockwork.tell_windows())

    @rule(is_kill=st.booleans(), is_reboot=st.booleans(), wall_off_s=st.sampled_from([0.0, -1.7e9, 3.2e8]))
    def restart(self, is_kill, is_reboot, wall_off_s):
        before = self.data_dir
        if is_kill:
            self.starts += 1
            shutil.copytree(before, self.data_dir, ignore=shutil.ignore_patterns("*-shm"))
        self.runner.run(self.stack.aclose())
        if is_kill:
            shutil.rmtree(before)
        self.reboot_if(is_reboot, wall_off_s)
        self.runner.run(self.start())

    def reboot_if(self, is_reboot, wall_off_s):
        if is_reboot:
            self.machine.reboot(off_s=50.0, wall_off_s=wall_off_s)

    @invariant()
    def promise_one_holds(self):
        if not hasattr(self, "core"):
            return
        for row in self.runner.run(self.core.outbox.audit()):
            assert row.holds, row
            assert row.stored == self.ledger.balance(row.city)
            assert row.accepted == sum(self.seqs.values())

    @invariant()
    def nothing_expires_before_its_time(self):
        if not hasattr(self, "core"):
            return
        ledger, now_s = self.ledger, self.machine.true_s
        gone = {city: ledger.settled[city, TELEMETRY].copy() for city in CITIES}
        expired = {city: ledger.counts[city]["expired"] for city in CITIES}
        if self.gone_before is not None:
            for city in CITIES:
                newly = (ordinal for first, end in gone[city] for ordinal in range(first, end))
                old = sum(
                    now_s - self.stored_at_s[ordinal] >= TTL_S
                    for ordinal in newly
                    if ordinal not in self.gone_before[city]
                )
                assert expired[city] - self.expired_before[city] <= old
        self.gone_before, self.expired_before = gone, expired

    def teardown(self):
        try:
            if hasattr(self, "core"):
                for city in CITIES:
                    self.check_told(city)
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)

    def check_told(self, city):
        """What the platform took, and what it was told of, are all that was accepted."""
        for report in self.runner.run(deliver_all(self.core, city)):
            self.note_taken(city, report)
        assert len(self.settled[city]) + self.told[city] == sum(self.seqs.values())


def run(examples, steps, *, shrinks=False):
    run_state_machine_as_test(
        Street,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate] + [Phase.shrink] * shrinks,
            database=None,
        ),
    )


def test_the_invariant_holds_at_each_step_of_any_history_and_nothing_falls_silent():
    run(20, 25)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_same_over_many_histories():
    run(300, 60, shrinks=True)
