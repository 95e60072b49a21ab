"""The whole application on a virtual board: it boots, measures, keeps, reports by both bearers, sleeps, lets you in."""

import json
import time

import pytest

from boards import data
from boards.virtual.street import Street
from drivers.link import order
from drivers.link.order import pack_order
from drivers.link.schema import OUTCOME
from firmware.journal_image import issued
from provisioning.provision import files_for
from tests.firmware.gateways import Gateway, MqttGateway, RadioGateway
from tests.firmware.judge import ADDRESS, NODE_ID, ROOT, Judge

BOARD = "heltec_v3"
NVS = {
    "key": ROOT,
    "epoch": 1,
    "counter": 0,
    "seq": 0,
    "boot": 0,
    "address": ADDRESS.to_bytes(2, "big"),
    "id": NODE_ID.encode(),
}
CONFIG = {
    "bearer": "lora",
    "sample_s": 1,
    "report_s": 2,
    "retry_s": 1,
    "sensors": ["bme280", "pms5003"],
    "repl_window_s": 1,
    "journal_reports": 400,
}


def provisioned(street: Street, name: str = "node", *, nvs: dict = NVS, **config: object):
    """A board with everything on it, still off."""
    node = street.add_node(name, heapsize="256k")
    node.write_files(files_for(board=data.load(BOARD), config={**CONFIG, **config}))
    node.set_nvs("lamppost", nvs)
    return node


def mqtt_config(port: int) -> dict[str, object]:
    return {
        "bearer": "mqtt",
        "wifi": {"ssid": "street", "password": "lamplight"},
        "mqtt": {"host": "127.0.0.1", "port": port, "ack_s": 2},
    }


@pytest.fixture
def on_the_air(street):
    with RadioGateway(Judge(ROOT), street.gateway_radio_path) as gateway:
        yield gateway


@pytest.fixture
def at_the_broker(mosquitto):
    with MqttGateway(Judge(ROOT), mosquitto.port) as gateway:
        yield gateway


def close_to_the_weather(street: Street, gateway: Gateway, *, steps: int = 1, name: str = "node") -> None:
    """The newest report that came says what the weather was about its time, within so many steps of each sensor.

    A report's age is in whole seconds, and a busy machine takes its time to hand the frame over: the weather changes
    meanwhile, so a value must be one that it had in those moments.
    """
    body, at_s = gateway.judge.bodies[-1], gateway.taken_at_s[-1]
    report = body.reports[-1]
    moments = [street.weather(name).at(at_s - report.age_s + tenths / 10) for tenths in range(-30, 11)]
    scales = {"temperature_c": 100, "humidity_pct": 100, "pressure_pa": 1, "pm1": 1, "pm2_5": 1, "pm10": 1}
    for value, quantity, step in zip(report.values, scales, (1, 1, 2.62, 1, 1, 1), strict=False):
        had = [getattr(moment, quantity) * scales[quantity] for moment in moments]
        # 2.62 Pa: the BME280's without oversampling
        assert min(had) - steps * step <= value <= max(had) + steps * step, quantity


def test_reports_arrive_by_radio(street, on_the_air):
    node = provisioned(street)
    node.power_on()
    on_the_air.wait_for(lambda judge: len(judge.reports) >= 4)
    close_to_the_weather(street, on_the_air)
    assert on_the_air.judge.repeats == 0
    assert len(on_the_air.frames[0]) > len(on_the_air.frames[1])  # only the first says its whole counter
    nvs, image = node.nvs["lamppost"], issued(_journal(node))
    assert image[1][1] == nvs["seq"] >= 4


def test_reports_arrive_by_mqtt(street, at_the_broker):
    node = provisioned(street, **mqtt_config(at_the_broker.port))
    node.power_on()
    at_the_broker.wait_for(lambda judge: len(judge.reports) >= 4)
    close_to_the_weather(street, at_the_broker)
    assert at_the_broker.judge.repeats == 0


def test_unheard_reports_are_sent_again_when_the_gateway_is_back(street, on_the_air):
    node = provisioned(street)
    on_the_air.is_deaf = True
    node.power_on()
    on_the_air.wait_for(lambda judge: len(on_the_air.frames) >= 3)
    on_the_air.is_deaf = False
    on_the_air.wait_for(lambda judge: judge.base(1) >= 6)


def test_a_lost_wifi_costs_no_report(street, at_the_broker):
    node = provisioned(street, **mqtt_config(at_the_broker.port))
    node.power_on()
    at_the_broker.wait_for(lambda judge: judge.base(1) >= 2)
    node.set_wifi(is_up=False)
    node.wait_for_console("MQTT: ", 30)
    node.set_wifi(is_up=True)
    count = len(at_the_broker.judge.reports)
    at_the_broker.wait_for(lambda judge: judge.base(1) >= count + 6)


def test_a_power_cut_costs_no_number_twice(street, on_the_air):
    node = provisioned(street)
    for _ in range(3):
        node.power_on()
        count = len(on_the_air.judge.reports)
        on_the_air.wait_for(lambda judge, count=count: len(judge.reports) >= count + 2)
        node.cut_at_flash_op(7)
        assert node.wait_until_off(20)
    node.power_on()
    count = len(on_the_air.judge.reports)
    on_the_air.wait_for(lambda judge: len(judge.reports) >= count + 2)
    assert node.nvs["lamppost"]["boot"] == 4


def test_deep_sleep_keeps_boot_counters_and_schedule(street, on_the_air):
    node = provisioned(street, sleep="deep", sample_s=8, report_s=8)
    node.power_on()
    on_the_air.wait_for(lambda judge: judge.base(1) >= 3 and not judge.bodies[-1].is_full, timeout_s=90)
    assert node.boots >= 3
    nvs = node.nvs["lamppost"]
    assert nvs["boot"] == 1
    assert nvs["counter"] == 256  # exact counters in RTC memory: no block is wasted per waking
    counters = sorted(counter for _, _, counter in on_the_air.judge.nonces)
    assert counters == list(range(len(counters)))
    full = [body.is_full for body in on_the_air.judge.bodies]
    assert full[0]
    assert full == sorted(full, reverse=True)  # until the first ack is heard, and never again
    close_to_the_weather(street, on_the_air, steps=2)  # a waking does not wait for the whole second


@pytest.mark.soak
def test_a_sleeping_node_obeys_and_tells_before_it_sleeps_again(street, on_the_air):
    node = provisioned(street, sleep="deep", sample_s=8, report_s=8)
    on_the_air.judge.order = pack_order(1, 1, order.PACE, order.pace_arguments(10, 20))
    node.power_on()
    node.wait_for_console("order 1, code 3: outcome 1", 60)
    at = node.console_position()
    on_the_air.wait_for(lambda judge: (OUTCOME, (1, 1, order.DONE, 0)) in judge.reports.values(), timeout_s=60)
    assert "asleep" not in node.console(after=at)
    count = len(on_the_air.frames)
    on_the_air.wait_for(lambda judge: len(on_the_air.frames) >= count + 2, timeout_s=90)
    times = on_the_air.taken_at_s[count:]
    assert 15 <= times[1] - times[0] <= 30  # of each waking
    assert node.nvs["lamppost"]["boot"] == 1


def test_spoilt_rtc_memory_repeats_no_counter(street, on_the_air):
    node = provisioned(street, sleep="deep", sample_s=8, report_s=8)
    node.power_on()
    on_the_air.wait_for(lambda judge: judge.base(1) >= 1, timeout_s=60)
    node.wait_for_console("asleep for", after=node.console_position())
    memory = bytearray(node.rtc_memory)
    for at in (60, len(memory) // 2 + 60):  # both copies
        memory[at] ^= 1
    node.set_rtc_memory(bytes(memory))
    count = len(on_the_air.judge.reports)
    on_the_air.wait_for(lambda judge: judge.base(1) >= count + 1, timeout_s=60)
    assert node.nvs["lamppost"]["boot"] == 2
    assert node.nvs["lamppost"]["counter"] == 512


def test_an_alarm_goes_at_once(street, on_the_air):
    node = provisioned(street, report_s=600, alarms=[{"quantity": "pressure", "above": 300}])
    node.power_on()
    on_the_air.wait_for(lambda judge: judge.reports, timeout_s=10)
    assert on_the_air.frames[0][0] & 0x0F == 2


@pytest.mark.parametrize("when", ["in the window", "while it runs"])
def test_ctrl_c_opens_the_repl(street, when):
    node = provisioned(street, repl_window_s=2)
    node.power_on()
    node.wait_for_console("Ctrl-C within 2 s" if when == "in the window" else "self-check: lora")
    node.type(b"\x03")
    node.wait_for_console(">>> ")
    at = node.console_position()
    node.type(b"print(6 * 7)\r\n")
    node.wait_for_console("42", after=at)


def test_a_held_button_leaves_the_repl_open(street):
    node = provisioned(street)
    node.press_button()
    node.power_on()
    node.wait_for_console("button held")
    node.wait_for_console(">>> ")


@pytest.mark.parametrize(
    "damage, said",
    [
        (
            {"/config.json": b'{"bearer": "lora", "sensors": ["bme280"], "sampel_s": 3}'},
            "sampel_s: no such key; did you",
        ),
        ({"/config.json": b"{"}, "/config.json: not valid JSON"),
        ({"/board.json": b"?"}, "/board.json: not valid JSON"),
    ],
)
def test_a_wrong_file_is_named_and_the_repl_stays_open(street, damage, said):
    node = provisioned(street)
    node.write_files(damage)
    node.power_on()
    node.wait_for_console(said)
    node.wait_for_console(">>> ")


@pytest.mark.parametrize("missing", ["key", "counter", "epoch"])
def test_a_node_without_key_or_counter_asks_to_be_enrolled(street, missing):
    node = provisioned(street, nvs={name: value for name, value in NVS.items() if name != missing})
    node.power_on()
    node.wait_for_console("lamppost enrol")
    node.wait_for_console(">>> ")
    assert "key" not in node.nvs["lamppost"]


def test_a_missing_radio_is_said_and_costs_no_sample(street):
    node = provisioned(street)
    board = json.loads(node.read_file("/board.json"))
    board["radio"]["nss"] = 40
    node.write_files({"/board.json": json.dumps(board).encode()})
    node.power_on()
    node.wait_for_console("self-check: lora: PROBLEM")
    deadline = time.monotonic() + 20
    while node.nvs["lamppost"]["seq"] < 3:
        assert time.monotonic() < deadline, node.console()
        time.sleep(0.1)


def test_a_crash_waits_longer_each_time_and_then_stays_at_the_repl(street):
    node = provisioned(street)
    node.set_nvs("lamppost", {"crashes": 3})
    node.write_files({"/lib/firmware/journal.mpy": b"not bytecode"})
    node.power_on()
    at = node.wait_for_console("crash 4 in a row, reset in 16 s")
    node.type(b"\x03")
    node.wait_for_console(">>> ", after=at)
    node.power_cut()
    node.set_nvs("lamppost", {"crashes": 5})
    at = node.console_position()
    node.power_on()
    node.wait_for_console("safe mode", after=at)
    node.wait_for_console(">>> ", after=at)


def _journal(node) -> dict[str, bytes]:
    return {path.rpartition("/")[2]: content for path, content in node.files().items() if path.startswith("/journal/")}
