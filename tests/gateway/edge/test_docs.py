"""The integrator's example is read as it stands, and does what its comments say."""

from pathlib import Path

from gateway.config import parse
from tests.gateway.edge.machine import START_S, Machine, alarms, measured, windows

PAGE = Path(__file__).resolve().parents[3] / "docs" / "integrator.md"
HEAD = '[gateway]\nid = "g"\nsite = "s"\ndata_dir = "/d"\n[southbound.mqtt]\nlisten = "mqtt://127.0.0.1:1883"\n'


def test_the_example_of_the_guide_works():
    text = PAGE.read_text().partition("```toml\n")[2].partition("```")[0]
    config = parse(HEAD + text)
    edge = config.edge
    machine = Machine(
        config.group, window=edge.window, report=edge.report, privacy=edge.privacy, rule=edge.rule, action=edge.action
    )
    for at_s in range(0, 3600, 60):
        machine.now_s = START_S + at_s
        machine.add(measured("lamp-3", machine.now_s, water_level=2.0, temperature=0.0, plate="AB"))
        machine.add(measured("lamp-3", machine.now_s, temperature=0.1))
        machine.tick()
    assert alarms(machine.produced) == [("flood", "lamp-3", "raised"), ("ice", "lamp-3", "raised")]
    told = windows(machine.tick(START_S + 6000))
    assert told["hourly", "lamp-3", START_S]["temperature/p95"] == 0.1
    assert ("river-level", "group:river", START_S) in windows(machine.produced)
    assert machine.withheld == 60
