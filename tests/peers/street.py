"""A real MicroPython on a virtual board, and a street of them, ready when yielded and gone when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boards import data
from boards.virtual.board import VirtualBoard
from boards.virtual.street import Street

MakeBoard = Callable[..., VirtualBoard]


@pytest.fixture
def make_virtual_board(tmp_path: Path) -> Iterator[MakeBoard]:
    """Call it with a name and VirtualBoard's keyword arguments; the board it returns is off."""
    made: list[VirtualBoard] = []

    def make(name: str = "node", **options: object) -> VirtualBoard:
        options = {"workdir": tmp_path, **options}
        made.append(VirtualBoard(name, data.load("heltec_v3"), **options).start())  # type: ignore[arg-type]
        return made[-1]

    yield make
    for board in made:
        board.close()


@pytest.fixture
def virtual_board(make_virtual_board: MakeBoard) -> VirtualBoard:
    """One board without chips, switched on, at its REPL; its file system holds the default boot.py."""
    board = make_virtual_board()
    board.power_on()
    board.wait_for_console(">>> ")
    return board


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """A street without nodes: add_node makes them."""
    with Street(tmp_path) as street:
        yield street
