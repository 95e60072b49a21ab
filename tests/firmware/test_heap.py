"""The whole application, both bearers loaded, within 128 KiB of heap beside the virtual board's own shims."""

import re
from pathlib import Path

from boards import data
from provisioning.provision import files_for
from tests.firmware.gateways import RadioGateway
from tests.firmware.judge import ROOT, Judge
from tests.firmware.test_board import BOARD, CONFIG, NVS

KIB = 1024
HEAP_KIB = 128
MAIN = Path(__file__).parents[2] / "firmware" / "main.py"
BOTH_BEARERS = """
    import firmware.bearer_lora, firmware.bearer_mqtt, drivers.radio.sx126x_transceiver
    gc.collect()
    print("live", gc.mem_alloc())
    serve(parts)
"""


def test_both_bearers_and_report_cycles_fit_128_kib(street) -> None:
    shims = _shims(street)
    node = street.add_node("node", heapsize=f"{HEAP_KIB + shims // KIB}k")
    main = 'import gc\nprint("shims", gc.mem_alloc())\n' + MAIN.read_text().replace("    serve(parts)\n", BOTH_BEARERS)
    node.write_files({**files_for(board=data.load(BOARD), config=CONFIG), "/main.py": main.encode()})
    node.set_nvs("lamppost", NVS)
    with RadioGateway(Judge(ROOT), street.gateway_radio_path) as gateway:
        node.power_on()
        gateway.wait_for(lambda judge: judge.base(1) >= 6)
    live = int(re.search(r"live (\d+)", node.console())[1])
    print(f"live {(live - shims) / KIB:.1f} KiB of {HEAP_KIB}; shims apart {shims / KIB:.1f} KiB")
    assert "MemoryError" not in node.console()


def _shims(street) -> int:
    """What the interpreter holds before the application."""
    node = street.add_node("bare", heapsize="256k")
    node.write_files({"/main.py": b'import gc\ngc.collect()\nprint("shims", gc.mem_alloc(), "bytes")\n'})
    node.power_on()
    node.wait_for_console(" bytes")
    return int(re.search(r"shims (\d+)", node.console())[1])
