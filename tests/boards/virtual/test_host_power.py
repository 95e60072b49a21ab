"""Power cuts, resets and sleep: what survives which, judged by what was acknowledged outside of the board."""

import json
from collections.abc import Callable

import pytest

from boards.virtual.board import VirtualBoard
from boards.virtual.image import ImageError
from tests.boards.virtual.running import boot_with, printed_by

MakeBoard = Callable[..., VirtualBoard]

# Counts in a file and in NVS; says each number once it is written. ACK_FIRST is the mutant.
_COUNTER = """
import os, esp32
nvs = esp32.NVS("test")
try:
    with open("/state") as file:
        n = int(file.read())
except OSError:
    n = 0
print("at", n)
ACK_FIRST = {ack_first}
while True:
    n += 1
    if ACK_FIRST:
        print("written", n, ".")
    with open("/state.new", "w") as file:
        file.write(str(n))
    os.rename("/state.new", "/state")
    if not ACK_FIRST:
        print("written", n, ".")
    nvs.set_i32("n", n)
    nvs.commit()
    print("committed", n, ".")
"""


def last_said(text: str, word: str) -> int:
    numbers = [int(line.split()[1]) for line in text.splitlines() if line.startswith(word) and line.endswith(" .")]
    return numbers[-1] if numbers else 0


def survivors(board: VirtualBoard) -> tuple[int, int]:
    """What file and NVS hold, as the host's littlefs reads the image."""
    n = board.nvs.get("test", {}).get("n", 0)
    assert isinstance(n, int)
    try:
        return int(board.read_file("/state")), n
    except ImageError:
        return 0, n


def cut_and_compare(board: VirtualBoard, ops: range, *, ack_first: bool) -> list[str]:
    """Cut the power at each of these operations, every other one torn; what was acknowledged and is not there."""
    lost = []
    source = _COUNTER.format(ack_first=ack_first)
    for n in ops:
        board.cut_at_flash_op(n, torn=bool(n % 2))
        start = boot_with(board, source)
        assert board.wait_until_off(10), board.console()[-500:]
        said = board.console(after=start)
        in_file, in_nvs = survivors(board)
        if in_file < last_said(said, "written"):
            lost.append(f"op {n}: file {in_file}, acknowledged {last_said(said, 'written')}")
        if in_nvs < last_said(said, "committed"):
            lost.append(f"op {n}: NVS {in_nvs}, acknowledged {last_said(said, 'committed')}")
    return lost


def test_what_was_acknowledged_survives_a_power_cut_at_any_flash_operation(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board()
    assert cut_and_compare(board, range(1, 61), ack_first=False) == []
    assert survivors(board)[0] > 100


def test_the_same_check_finds_a_program_that_acknowledges_first(make_virtual_board: MakeBoard) -> None:
    assert cut_and_compare(make_virtual_board(), range(1, 21), ack_first=True) != []


def test_uncommitted_nvs_writes_are_kept_from_the_first_on_or_not_at_all(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board()
    seen = set()
    for _ in range(12):
        board.erase_nvs()
        boot_with(
            board, "import esp32\nn=esp32.NVS('t')\nfor k in 'abc':\n    n.set_i32(k, 1)\nprint('set')\nwhile 1: pass\n"
        )
        board.wait_for_console("set", after=board.console_position() - 1)
        board.power_cut()
        seen.add("".join(sorted(board.nvs.get("t", {}))))
    assert seen <= {"", "a", "ab", "abc"}
    assert len(seen) > 1


def test_nvs_speaks_as_esp_idf_does(make_virtual_board: MakeBoard) -> None:
    source = """
import esp32
nvs = esp32.NVS("space")
def code(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return hex(-error.errno)
nvs.set_i32("i", -5)
nvs.set_blob("b", b"\\x00\\xff")
nvs.commit()
buf = bytearray(4)
print(nvs.get_i32("i"), nvs.get_blob("b", buf), buf)
print(code(nvs.get_i32, "none"), code(nvs.get_i32, "b"), code(nvs.get_blob, "b", bytearray(1)))
print(code(nvs.set_i32, "x" * 16, 1), code(nvs.set_blob, "huge", bytes(30000)), code(nvs.erase_key, "none"))
nvs.erase_key("i")
print(code(nvs.get_i32, "i"))
try:
    nvs.set_i32("i", 1 << 31)
except OverflowError:
    print("overflow")
"""
    board = make_virtual_board()
    assert printed_by(board, source) == [
        "-5 2 bytearray(b'\\x00\\xff\\x00\\x00')",
        "0x1102 0x1103 0x110c",
        "0x1109 0x1105 0x1102",
        "0x1102",
        "overflow",
    ]
    assert board.nvs == {"space": {"b": b"\x00\xff"}}


def test_deep_sleep_keeps_rtc_and_its_memory_and_a_power_cut_does_not(make_virtual_board: MakeBoard) -> None:
    source = """
import machine, time
memory = machine.RTC().memory()
print(machine.reset_cause(), machine.wake_reason(), len(memory), time.time() > 1000, "slept")
if not memory:
    machine.RTC().datetime((2026, 1, 2, 4, 3, 4, 5, 0))
machine.RTC().memory(memory + bytes(1024 - len(memory) // 2))
if len(memory) < 1500:
    machine.deepsleep(100)
"""
    board = make_virtual_board()
    assert printed_by(board, source) == ["1 0 0 False slept", "4 4 1024 True slept", "4 4 1536 True slept"]
    assert len(board.rtc_memory) == 1792
    board.power_cut()
    assert board.rtc_memory == b""
    assert printed_by(board, source)[0] == "1 0 0 False slept"


def test_a_pin_wakes_the_board_from_deep_sleep(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board()
    start = boot_with(
        board,
        "import machine, esp32\n"
        "if machine.reset_cause() == machine.DEEPSLEEP_RESET:\n"
        "    print('woken by', machine.wake_reason())\n"
        "else:\n"
        "    esp32.wake_on_ext0(machine.Pin(0, machine.Pin.IN, machine.Pin.PULL_UP), 0)\n"
        "    print('sleeping')\n"
        "    machine.deepsleep()\n",
    )
    board.wait_for_console("sleeping", after=start)
    board.press_button()
    board.wait_for_console("woken by 2", after=start)


def test_the_watchdog_resets_a_board_that_hangs_and_no_other(make_virtual_board: MakeBoard) -> None:
    source = """
import machine, time
print("cause", machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    wdt = machine.WDT(timeout=400)
    for _ in range(5):
        time.sleep_ms(150)
        wdt.feed()
    print("fed")
    try:
        while True:
            pass
    except BaseException:
        print("not as on a board")
"""
    assert printed_by(make_virtual_board(), source) == ["cause 1", "fed", "cause 3"]


def test_no_handler_runs_at_a_hard_reset(make_virtual_board: MakeBoard) -> None:
    source = """
import machine
print("cause", machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    try:
        machine.reset()
    finally:
        print("not as on a board")
"""
    assert printed_by(make_virtual_board(), source) == ["cause 1", "cause 2"]


def test_a_flash_that_is_neither_blank_nor_littlefs_is_left_for_a_human(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board()
    board.replace_flash(b"\x00" * len(board.flash()))
    board.power_on()
    board.wait_for_console("appears to be corrupted")
    board.type(b"\x03")
    board.wait_for_console(">>> ")


def test_yesterdays_flash_can_be_put_back(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board()
    board.write_files({"/day": b"yesterday"})
    image = board.flash()
    board.write_files({"/day": b"today"})
    board.replace_flash(image)
    assert board.files() == {"/day": b"yesterday"}


def test_files_nvs_and_unique_id_are_there_again_for_the_next_host(make_virtual_board: MakeBoard) -> None:
    first = make_virtual_board("same")
    first.write_files({"/kept": b"1"})
    first.set_nvs("space", {"n": -1, "blob": b"\x01"})
    first.close()
    second = make_virtual_board("same")
    assert second.read_file("/kept") == b"1"
    assert second.nvs == {"space": {"n": -1, "blob": b"\x01"}}
    assert second.unique_id == first.unique_id


def test_flash_of_a_running_board_is_not_written_from_outside(virtual_board: VirtualBoard) -> None:
    with pytest.raises(RuntimeError, match=r"is on; power_cut\(\) first"):
        virtual_board.write_files({"/x": b""})
    assert json.dumps(sorted(virtual_board.files())) == '["/boot.py"]'
