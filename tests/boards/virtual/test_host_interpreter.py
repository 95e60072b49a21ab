"""One interpreter per board: bounded, interruptible, on the board's own time, and gone with its host."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from boards.virtual.board import VirtualBoard
from tests.boards.virtual.running import boot_with, printed_by
from tests.boards.virtual.test_host_mpremote import mpremote

MakeBoard = Callable[..., VirtualBoard]
ROOT = Path(__file__).resolve().parents[3]


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def wait_for_end_of(pids: list[int], *, deadline_s: float = 5.0) -> None:
    ends_s = time.monotonic() + deadline_s
    alive = pids
    while alive := [pid for pid in alive if Path(f"/proc/{pid}").exists() and "Z" not in state_of(pid)]:
        assert time.monotonic() < ends_s, f"still running: {alive}"
        time.sleep(0.01)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_the_heap_is_bounded(make_virtual_board: MakeBoard) -> None:
    source = """
import gc
print(gc.mem_free() + gc.mem_alloc() <= 96 * 1024)
try:
    bytearray(97 * 1024)
except MemoryError:
    print("full")
"""
    assert printed_by(make_virtual_board(heapsize="96k"), source) == ["True", "full"]


def test_the_shims_leave_most_of_the_heap_to_the_application(make_virtual_board: MakeBoard) -> None:
    (used,) = printed_by(make_virtual_board(), "import gc; gc.collect(); print(gc.mem_alloc())")
    assert int(used) < 30_000  # of it 4.1 kB asyncio, which every application wants, and 2.2 kB an empty interpreter


def test_ctrl_c_ends_a_running_main_at_the_repl(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board()
    start = boot_with(board, "import time\nprint('going')\nwhile True:\n    time.sleep_ms(10_000)\n")
    board.wait_for_console("going", after=start)
    board.type(b"\x03")
    end = board.wait_for_console("KeyboardInterrupt", after=start)
    board.wait_for_console(">>> ", after=end)


_SLEEPER = """
import asyncio
async def main():
    print("going")
    await asyncio.sleep(100)
asyncio.run(main())
"""


def test_asyncio_is_interrupted_too(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board()
    start = boot_with(board, _SLEEPER)
    board.wait_for_console("going", after=start)
    board.type(b"\x03")
    board.wait_for_console("KeyboardInterrupt", after=start)


def test_ctrl_c_typed_before_the_interpreter_is_there_is_not_lost(make_virtual_board: MakeBoard) -> None:
    board = make_virtual_board()
    start = boot_with(board, "import time\nwhile True:\n    time.sleep_ms(10)\n")
    board.type(b"\x03")
    board.wait_for_console(">>> ", after=start)


_UNPREPARED = """
import sys
del sys.modules["micropython"]  # the shim's
import micropython
micropython.kbd_intr(-1)  # the interpreter's own: nothing takes the signal now
print("going")
while True:
    pass
"""


def test_what_is_typed_behind_a_ctrl_c_is_kept_when_that_ends_the_interpreter(make_virtual_board: MakeBoard) -> None:
    """A board would only be at its REPL: mpremote's next key is Ctrl-A, and at a terminal it waits for ever."""
    board = make_virtual_board()
    start = boot_with(board, _UNPREPARED)
    board.wait_for_console("going", after=start)
    board.type(b"\r\x03\r\x01")
    board.wait_for_console("raw REPL; CTRL-B to exit\r\n>", after=start)
    assert board.boots == 2


def test_ticks_wrap_at_thirty_bits(make_virtual_board: MakeBoard) -> None:
    source = """
import time
before = time.ticks_ms()
time.sleep_ms(80)
after = time.ticks_ms()
print(before > after, 75 < time.ticks_diff(after, before) < 300, time.ticks_add(after, -200) > after)
"""
    board = make_virtual_board(ticks_start_ms=(1 << 30) - 60)
    assert printed_by(board, source) == ["True True True"]


def test_time_begins_in_2000_and_goes_through_a_reset(make_virtual_board: MakeBoard) -> None:
    source = """
import machine, time
print(time.gmtime(0)[:3], time.mktime((2001, 1, 1, 0, 0, 0, 0, 0)), time.time() > 10)
if machine.reset_cause() == machine.PWRON_RESET:
    machine.RTC().datetime((2000, 1, 1, 5, 1, 0, 0, 0))
    machine.reset()
"""
    assert printed_by(make_virtual_board(), source) == [
        "(2000, 1, 1) 31622400 False",
        "(2000, 1, 1) 31622400 True",
    ]


def test_a_fast_board_sleeps_ticks_and_counts_seconds_faster(make_virtual_board: MakeBoard) -> None:
    source = """
import asyncio, time
async def forever():
    await asyncio.sleep(1_000_000)
async def rest():
    await asyncio.sleep_ms(10_000)
    try:
        await asyncio.wait_for(forever(), 10)
    except asyncio.TimeoutError:
        pass
ticks, second = time.ticks_ms(), time.time()
time.sleep(20)
asyncio.run(rest())
passed_ms = time.ticks_diff(time.ticks_ms(), ticks)
print(40_000 <= passed_ms < 60_000, 39 <= time.time() - second < 61)
"""
    started_s = time.monotonic()
    assert printed_by(make_virtual_board(speed=100.0), source) == ["True True"]
    assert time.monotonic() - started_s < 3


def test_what_an_interrupted_program_left_open_is_written_at_a_soft_reset(virtual_board: VirtualBoard) -> None:
    mpremote(virtual_board, "exec", "f = open('/open', 'w'); f.write('kept')")
    mpremote(virtual_board, "soft-reset")
    assert virtual_board.read_file("/open") == b"kept"


def test_sys_exit_in_main_is_a_soft_reset(make_virtual_board: MakeBoard) -> None:
    source = """
import machine, sys
print("cause", machine.reset_cause())
if machine.reset_cause() != machine.SOFT_RESET:
    sys.exit()
"""
    assert printed_by(make_virtual_board(), source) == ["cause 1", "MPY: soft reboot", "cause 5"]


def test_a_board_sees_nothing_of_its_host(make_virtual_board: MakeBoard) -> None:
    source = """
import os, sys
print(os.listdir("/"), hasattr(os, "system"), hasattr(os, "getenv"), sys.path)
"""
    assert printed_by(make_virtual_board(), source) == ["['boot.py', 'main.py'] False False ['', '.frozen', '/lib']"]


def test_a_board_that_is_closed_leaves_no_process(make_virtual_board: MakeBoard) -> None:
    before = set(children_of(os.getpid()))  # what other tests of this process have left to be reaped
    board = make_virtual_board()
    boot_with(board, "while True: pass\n")
    pids = set(children_of(os.getpid())) - before
    assert pids
    board.close()
    assert not pids & set(children_of(os.getpid()))


_HOST = """
import sys, time
from pathlib import Path
from boards.virtual.street import Street
with Street(Path(sys.argv[1])) as street:
    for name in ("one", "two"):
        node = street.add_node(name)
        node.write_files({"/main.py": b"import time\\nprint('going')\\nwhile True: time.sleep_ms(1)\\n"})
        node.power_on()
        node.wait_for_console("going")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_host_that_is_killed_leaves_no_interpreter(tmp_path: Path) -> None:
    host = subprocess.Popen([sys.executable, "-c", _HOST, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert host.stdout is not None
    assert host.stdout.readline() == "ready\n"
    pids = children_of(host.pid)
    assert len(pids) == 2
    host.kill()
    host.wait()
    wait_for_end_of(pids)
    host.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_board_up_prints_a_port_and_ends_with_everything_it_started(number: int) -> None:
    command = [
        str(Path(sys.executable).with_name("lamppost")),
        "board",
        "up",
        "--board",
        "heltec_v3",
        "--virtual",
        "--json",
    ]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    facts = json.loads(host.stdout.readline())
    done = subprocess.run(
        [str(Path(sys.executable).with_name("mpremote")), "connect", facts["port"], "fs", "ls"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert "boot.py" in done.stdout
    pids = children_of(host.pid)
    host.send_signal(number)
    assert host.wait(timeout=5) == 0
    wait_for_end_of(pids)
    assert not Path(facts["folder"]).exists()
    host.stdout.close()
