"""The whole application, both bearers loaded, within 128 KiB of heap beside the virtual board's own shims."""

import re
from pathlib import Path
from textwrap import indent

import pytest

from boards import data
from boards.virtual.street import Street
from drivers.link import order
from drivers.link.order import output_arguments, pack_order
from drivers.link.schema import OUTCOME
from provisioning.provision import files_for
from tests.firmware.gateways import Gateway, MqttGateway, RadioGateway
from tests.firmware.judge import ROOT, Judge
from tests.firmware.test_board import BOARD, CONFIG, NVS, mqtt_config

KIB = 1024
HEAP_KIB = 128
REPORTS = 6
MAIN = Path(__file__).parents[2] / "firmware" / "main.py"
_SERVES = "        serve(parts)\n"
BOTH_BEARERS = "import firmware.bearer_lora, firmware.bearer_mqtt, drivers.radio.sx126x_transceiver"
RULES = {
    "windows": [{"quantities": ["temperature", "humidity", "pressure"], "length_s": 2}],
    "exceptions": [{"quantities": ["pm2_5"], "dead_band": 1.0}],
    "held_back_s": 60,
}
SERVE = """
    {extra}
    gc.collect()
    print("live", gc.mem_alloc())
    serve(parts)
"""


def test_both_bearers_new_keys_report_cycles_and_an_order_fit_128_kib(street: Street) -> None:
    shims = shims_of(street)
    with RadioGateway(Judge(ROOT), street.gateway_radio_path) as gateway:
        gateway.judge.order = pack_order(1, 1, order.OUTPUT, output_arguments(0, 60, 1))
        console = _run(
            street, gateway, HEAP_KIB, shims, config={**CONFIG, "output_safe": 0}, extra=BOTH_BEARERS, epoch=2
        )
        assert "new frame keys, epoch 2" in console.text
        assert (OUTCOME, (1, 1, order.DONE, 0)) in gateway.judge.reports.values()
    print(f"live {_live_kib(console, shims):.1f} KiB of {HEAP_KIB}; shims apart {shims / KIB:.1f} KiB")
    assert console.acknowledged
    assert "MemoryError" not in console.text


@pytest.mark.soak
@pytest.mark.parametrize("loaded", ["both", "lora", "mqtt", "lora and rules", "mqtt and rules", "lora and an alarm"])
def test_smallest_heap_is_at_most_128_kib(street: Street, mosquitto, loaded: str) -> None:
    """Goes down by 4 KiB for as long as the node is acknowledged; prints the last heap that did."""
    shims, smallest = shims_of(street), None
    extra = BOTH_BEARERS if loaded == "both" else "pass"
    is_mqtt = loaded.startswith("mqtt")
    config = {**CONFIG, **(mqtt_config(mosquitto.port) if is_mqtt else {})}
    if "rules" in loaded:
        config["rules"] = RULES
    if "alarm" in loaded:
        config["alarms"] = [{"quantity": "pressure", "above": 1_000}]
    for heap_kib in range(HEAP_KIB, 64, -4):
        opened = (
            MqttGateway(Judge(ROOT), mosquitto.port)
            if is_mqtt
            else RadioGateway(Judge(ROOT), street.gateway_radio_path)
        )
        with opened as gateway:
            console = _run(street, gateway, heap_kib, shims, config=config, extra=extra)
        if not console.acknowledged or "MemoryError" in console.text:
            break
        smallest = heap_kib, _live_kib(console, shims)
    assert smallest is not None, console.text
    print(f"{loaded}: smallest heap {smallest[0]} KiB, live {smallest[1]:.1f} KiB; shims {shims / KIB:.1f} KiB apart")


@pytest.mark.parametrize("heap_kib", [84, 116, 117])
def test_a_node_whose_memory_is_short_says_so_and_starts_again(street: Street, heap_kib: int) -> None:
    node = street.add_node("short", heapsize=f"{heap_kib + shims_of(street) // KIB}k")
    node.write_files(files_for(board=data.load(BOARD), config=CONFIG))
    node.set_nvs("lamppost", NVS)
    node.power_on()
    node.wait_for_console("reset in")
    assert "MemoryError" in node.console()


def serving_as(lines: str) -> str:
    """main.py with these lines, indented by four, where the application is served."""
    assert MAIN.read_text().count(_SERVES) == 1
    return MAIN.read_text().replace(_SERVES, indent(lines, "    "))


class Console:
    """What the node printed, and whether all its reports were acknowledged."""

    def __init__(self, text: str, *, acknowledged: bool) -> None:
        self.text = text
        self.acknowledged = acknowledged


def _run(
    street: Street,
    gateway: Gateway,
    heap_kib: int,
    shims: int,
    *,
    config: dict[str, object],
    extra: str,
    epoch: int = 1,
) -> Console:
    """A node with so much heap beside the shims, until it is acknowledged or says that memory ran out.

    epoch  in which it is to be acknowledged; in 2 its keys are old at the start
    """
    node = street.add_node(f"node-{heap_kib}", heapsize=f"{heap_kib + shims // KIB}k")
    main = "import gc\n" + serving_as(SERVE.format(extra=extra))
    node.write_files({**files_for(board=data.load(BOARD), config=config), "/main.py": main.encode()})
    node.set_nvs("lamppost", NVS if epoch == 1 else {**NVS, "counter": 70_000, "turned": bytes(8)})
    node.power_on()
    try:
        gateway.wait_for(lambda judge: judge.base(epoch) >= REPORTS or "MemoryError" in node.console())
        acknowledged = gateway.judge.base(epoch) >= REPORTS
    except AssertionError:
        if gateway.errors:
            raise
        acknowledged = False
    finally:
        node.power_cut()
    return Console(node.console(), acknowledged=acknowledged)


def _live_kib(console: Console, shims: int) -> float:
    live = re.search(r"live (\d+)", console.text)
    assert live, console.text
    return (int(live[1]) - shims) / KIB


def shims_of(street: Street) -> int:
    """What the interpreter holds before the application."""
    node = street.add_node("bare", heapsize="256k")
    node.write_files({"/main.py": b'import gc\ngc.collect()\nprint("shims", gc.mem_alloc(), "bytes")\n'})
    node.power_on()
    node.wait_for_console(" bytes")
    found = re.search(r"shims (\d+)", node.console())
    assert found
    return int(found[1])
