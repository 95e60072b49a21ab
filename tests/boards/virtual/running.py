"""Runs a main.py on a virtual board and waits for what it prints."""

from boards.virtual.board import VirtualBoard


def boot_with(board: VirtualBoard, main: str) -> int:
    """Put /main.py there, switch on; the console position to wait from."""
    board.power_cut()
    board.write_files({"/boot.py": b"", "/main.py": main.encode()})
    position = board.console_position()
    board.power_on()
    return position


def printed_by(board: VirtualBoard, main: str, *, timeout_s: float = 10.0) -> list[str]:
    """What `main` prints up to the REPL's prompt, as lines."""
    start = boot_with(board, main)
    end = board.wait_for_console("MicroPython ", timeout_s, after=start)
    text = board.console(after=start)[: end - start]
    return [line for line in text.splitlines() if line][:-1]
