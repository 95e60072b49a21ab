"""A virtual board is a board to the real, unchanged mpremote."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boards.virtual.board import VirtualBoard
from tests.boards.virtual.running import boot_with

MPREMOTE = Path(sys.executable).with_name("mpremote")


def mpremote(board: VirtualBoard, *words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(MPREMOTE), "connect", board.port, *words], capture_output=True, text=True, timeout=20, cwd=cwd, check=False
    )
    assert done.returncode == 0, f"mpremote {' '.join(words)}: {done.stdout}{done.stderr}\n{board.console()[-500:]}"
    return done.stdout.replace("\r\n", "\n")


def test_exec_and_eval_run_on_the_board(virtual_board: VirtualBoard) -> None:
    assert mpremote(virtual_board, "exec", "print('a' * 3)") == "aaa\n"
    assert mpremote(virtual_board, "eval", "6 * 7") == "42\n"
    assert mpremote(virtual_board, "exec", "import machine; print(machine.unique_id())") == (
        f"{virtual_board.unique_id!r}\n"
    )


def test_copying_a_folder_twice_finds_it_up_to_date(virtual_board: VirtualBoard, tmp_path: Path) -> None:
    (tmp_path / "lib" / "deep").mkdir(parents=True)
    (tmp_path / "lib" / "deep" / "one.py").write_text("ONE = 1\n")
    (tmp_path / "lib" / "big.bin").write_bytes(bytes(range(256)) * 100)
    mpremote(virtual_board, "fs", "cp", "-r", "lib", ":", cwd=tmp_path)
    assert "Up to date: ./lib/deep/one.py" in mpremote(virtual_board, "fs", "cp", "-r", "lib", ":", cwd=tmp_path)
    assert virtual_board.read_file("/lib/big.bin") == bytes(range(256)) * 100
    assert "big.bin" in mpremote(virtual_board, "fs", "ls", ":lib")
    assert mpremote(virtual_board, "exec", "from deep.one import ONE; print(ONE)") == "1\n"


def test_sha256sum_is_that_of_the_bytes_in_flash(virtual_board: VirtualBoard) -> None:
    import hashlib

    digest = hashlib.sha256(virtual_board.read_file("/boot.py")).hexdigest()
    assert digest in mpremote(virtual_board, "fs", "sha256sum", ":boot.py")


def test_run_sends_a_local_script(virtual_board: VirtualBoard, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("import sys\nfor i in range(3):\n    print('line', i)\n")
    assert mpremote(virtual_board, "run", str(tmp_path / "job.py")) == "line 0\nline 1\nline 2\n"


def test_mount_serves_a_folder_of_the_host(virtual_board: VirtualBoard, tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text("print('from the host')\n" + "#" * 2000 + "\x03\n")  # Ctrl-C is data there
    assert "from the host" in mpremote(virtual_board, "mount", str(tmp_path), "exec", "import here")


@pytest.mark.parametrize(
    ("command", "cause"),
    [("soft-reset", 5), ("reset", 2)],  # machine.SOFT_RESET, machine.HARD_RESET
)
def test_the_board_knows_why_it_was_reset(virtual_board: VirtualBoard, command: str, cause: int) -> None:
    boots, at = virtual_board.boots, virtual_board.console_position()
    mpremote(virtual_board, command)
    if command == "reset":  # mpremote does not wait for the reset, and what is typed until then is lost
        virtual_board.wait_for_console("MicroPython ", after=at)
    assert mpremote(virtual_board, "resume", "eval", "__import__('machine').reset_cause()") == f"{cause}\n"
    assert virtual_board.boots > boots


def test_soft_reset_runs_boot_but_not_main_in_raw_mode(virtual_board: VirtualBoard) -> None:
    mpremote(virtual_board, "exec", "open('/boot.py','w').write('b = 1\\n'); open('/main.py','w').write('m = 1\\n')")
    assert mpremote(virtual_board, "exec", "print('b' in globals(), 'm' in globals())") == "True False\n"
    before = virtual_board.console_position()  # mpremote made it soft-reset, too
    virtual_board.type(b"\r\x02\x04")  # friendly mode, soft reset
    virtual_board.wait_for_console("MicroPython ", after=virtual_board.wait_for_console("soft reboot", after=before))
    assert mpremote(virtual_board, "resume", "exec", "print('b' in globals(), 'm' in globals())") == "True True\n"


def test_mpremote_gets_into_a_running_main(make_virtual_board: Callable[..., VirtualBoard]) -> None:
    board = make_virtual_board()
    boot_with(board, "import time\nprint('going')\nwhile True:\n    time.sleep_ms(1)\n")
    board.wait_for_console("going")
    assert mpremote(board, "eval", "1 + 1") == "2\n"
    assert "main.py" in mpremote(board, "fs", "ls")


def test_rtc_is_set_and_read(virtual_board: VirtualBoard) -> None:
    assert mpremote(virtual_board, "eval", "__import__('time').time() < 100") == "True\n"  # from 2000, as on the ESP32
    mpremote(virtual_board, "rtc", "--set")
    import datetime

    assert mpremote(virtual_board, "rtc").startswith(f"({datetime.datetime.now().year}, ")


def test_df_shows_the_boards_real_flash(virtual_board: VirtualBoard) -> None:
    assert str(6 * 1024 * 1024) in mpremote(virtual_board, "df")
