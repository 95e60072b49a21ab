"""The comparison: what cannot be measured is named, and what a system loses is seen."""

import pytest

from tools import bench_rivals
from tools.measure.process import ProcessError
from tools.rivals import table
from tools.rivals.bridge import BRIDGE
from tools.rivals.city import MosquittoCity
from tools.rivals.phases import Lengths, Losses, Speed, measure_losses
from tools.rivals.system import Kind
from tools.rivals.table import Results

SHORT = Lengths(steady_s=1.0, full_s=1.0, outage_s=2.0, quiet_s=15.0)


def speed(**changes):
    row = {"per_s": 100.0, "p50_ms": 1.0, "p99_ms": 2.0, "peak_rss_bytes": 1 << 20, "cpu_us": 5.0, "beside_cpu_us": 0.0}
    return Speed(**{**row, "written_at_200": 60.0, "written_at_full": 30.0, "lost": 0, **changes})


def test_a_rival_that_is_missing_is_named_in_the_table_and_ends_nothing(mosquitto):
    def missing(folder, city_port):
        raise ProcessError("rival is missing; install it: apt-get install rival")

    one = Results(Kind(name="rival", about="does nothing", open=missing, city=MosquittoCity))
    bench_rivals._measure(one, SHORT, "run 1 of 1", with_faults=True)
    lines = list(table.lines([one], SHORT, runs=1))
    assert any(line.startswith("rival  (missing)") for line in lines)
    assert "NOT MEASURED  rival: run 1 of 1: rival is missing; install it: apt-get install rival" in lines


def test_the_table_shows_medians_of_speed_and_the_worst_of_losses():
    one = Results(BRIDGE)
    one.speeds += [speed(per_s=100.0), speed(per_s=9_000.0, lost=7), speed(per_s=300.0)]
    one.losses.append(Losses(kill_in_flow=(0, 10), kill_with_backlog=(3, 10), outage=(0, 10), repeats=0))
    one.losses.append(Losses(kill_in_flow=(2, 10), kill_with_backlog=(1, 10), outage=(0, 10), repeats=5))
    text = "\n".join(table.lines([one], SHORT, runs=3))
    (row,) = [line for line in text.splitlines() if line.startswith("mosquitto bridge")][:1]
    assert row.split()[2:4] == ["300", "1.00"]
    assert row.split()[-4:] == ["2/10", "3/10", "0/10", "5"]
    assert "LOST WITHOUT ANY FAULT: mosquitto bridge 7" in text


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_queue_that_a_bridge_keeps_in_memory_is_seen_to_be_lost(mosquitto):
    """The measurement can fail: mosquitto saves its database every 1,800 s."""
    losses = measure_losses(BRIDGE, SHORT)
    lost, acknowledged = losses.kill_with_backlog
    assert acknowledged == 3_000
    assert lost > 2_000
    assert losses.outage[0] == 0
