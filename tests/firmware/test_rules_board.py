"""Rules on a virtual board: windows in place of samples, a switch that wakes, what deep sleep carries."""

import pytest

from drivers.link.schema import SWITCH, WINDOW
from tests.firmware.gateways import RadioGateway
from tests.firmware.judge import ROOT, Judge
from tests.firmware.test_board import provisioned

CLIMATE = ["temperature", "humidity", "pressure"]
PATIENCE_S = 60


@pytest.fixture
def on_the_air(street):
    with RadioGateway(Judge(ROOT), street.gateway_radio_path) as gateway:
        yield gateway


def of_schema(judge, schema):
    """Values of the reports of a schema, oldest first."""
    return [values for _, (of, values) in sorted(judge.reports.items()) if of == schema]


def test_a_node_samples_fast_and_tells_windows_only(street, on_the_air):
    windows = [{"quantities": CLIMATE, "length_s": 2}]
    rules = {"sample_ms": 200, "windows": windows, "held_back_s": 60}
    node = provisioned(street, sensors=["bme280"], rules=rules)
    node.power_on()
    on_the_air.wait_for(lambda judge: len(of_schema(judge, WINDOW)) >= 3, timeout_s=PATIENCE_S)
    assert {schema for schema, _ in on_the_air.judge.reports.values()} == {WINDOW}
    for values in of_schema(on_the_air.judge, WINDOW)[1:]:  # the first one began late
        length_s, held_back, code, count, low, high, mean, last = values[:8]
        assert (length_s, held_back, code) == (2, 0, 0)
        assert 1 < count <= 11
        assert low <= last <= high
        assert 10 * low <= mean <= 10 * high


def test_a_closed_switch_wakes_a_sleeping_node_and_is_an_alarm(street, on_the_air):
    alarms = [{"quantity": "switch", "above": 0}]
    sensors = ["bme280", {"kind": "switch", "wakes": True}]
    node = provisioned(street, sleep="deep", sample_s=3000, report_s=3000, sensors=sensors, alarms=alarms)
    node.power_on()
    at = node.wait_for_console("asleep for", PATIENCE_S)
    heard = len(on_the_air.frames)
    node.close_switch()
    on_the_air.wait_for(
        lambda judge: 2 in [frame[0] & 0x0F for frame in on_the_air.frames[heard:]], timeout_s=PATIENCE_S
    )
    node.wait_for_console("asleep for", PATIENCE_S, after=at)
    assert node.boots == 2
    assert of_schema(on_the_air.judge, SWITCH)[-1] == (1,)
    at = node.console_position()
    node.close_switch(is_closed=False)  # the other edge wakes it, too
    node.wait_for_console("asleep for", PATIENCE_S, after=at)
    assert node.boots == 3
    assert "alarm cleared" in node.console(after=at)


def test_a_pin_that_cannot_wake_the_board_is_named(street):
    node = provisioned(street, sleep="deep", sensors=[{"kind": "switch", "wakes": True}])
    board = node.read_file("/board.json").replace(
        b'"switch":{"pin":7,"wakes":true}', b'"switch":{"pin":7,"wakes":false}'
    )
    node.write_files({"/board.json": board})
    node.power_on()
    node.wait_for_console("GPIO 7 of this board cannot wake it", PATIENCE_S)


@pytest.mark.soak
def test_a_window_goes_on_through_deep_sleep_and_begins_anew_after_a_power_cut(street, on_the_air):
    rules = {"windows": [{"quantities": CLIMATE, "length_s": 20}]}
    node = provisioned(street, sleep="deep", sample_s=5, report_s=10, sensors=["bme280"], rules=rules)
    node.power_on()
    on_the_air.wait_for(lambda judge: len(of_schema(judge, WINDOW)) >= 2, timeout_s=120)
    whole = of_schema(on_the_air.judge, WINDOW)[1]
    assert whole[3] >= 3  # samples of several wakings
    assert node.boots >= 4
    node.power_cut()
    seen = len(of_schema(on_the_air.judge, WINDOW))
    node.power_on()
    on_the_air.wait_for(lambda judge: len(of_schema(judge, WINDOW)) > seen, timeout_s=120)
    assert node.nvs["lamppost"]["boot"] == 2
