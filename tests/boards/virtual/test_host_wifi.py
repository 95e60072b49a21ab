"""A board's Wi-Fi reaches real servers, and can be taken away without a word."""

import select
import socket
from collections.abc import Callable, Iterator

import pytest

from boards.virtual.board import VirtualBoard
from tests.boards.virtual.running import boot_with, printed_by

MakeBoard = Callable[..., VirtualBoard]

_JOIN = """
import network, socket, time
wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect("street", "lamp")
while wlan.status() == network.STAT_CONNECTING:
    time.sleep_ms(10)
"""


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


def test_a_connection_carries_bytes_both_ways_and_its_end(make_virtual_board: MakeBoard, server: socket.socket) -> None:
    board = make_virtual_board()
    start = boot_with(
        board,
        _JOIN
        + f"""
s = socket.socket()
s.connect(socket.getaddrinfo("127.0.0.1", {server.getsockname()[1]})[0][-1])
s.write(b"ping" * 10000)
print("heard", s.read(4))
s.close()
""",
    )
    peer, _ = server.accept()
    with peer:
        peer.settimeout(10)
        received = b""
        while len(received) < 40000:
            received += peer.recv(65536)
        peer.sendall(b"pong")
        board.wait_for_console("heard b'pong'", after=start)
        assert peer.recv(1) == b""  # FIN


def test_wifi_that_goes_away_says_nothing_and_comes_back(make_virtual_board: MakeBoard, server: socket.socket) -> None:
    board = make_virtual_board()
    start = boot_with(
        board,
        _JOIN
        + f"""
s = socket.socket()
s.connect(socket.getaddrinfo("127.0.0.1", {server.getsockname()[1]})[0][-1])
s.write(b"a")
while wlan.isconnected():
    time.sleep_ms(10)
s.write(b"b")
print("status", wlan.status())
try:
    socket.getaddrinfo("127.0.0.1", 1)
except OSError as error:
    print("no route", error.errno)
while not wlan.isconnected():
    time.sleep_ms(10)
s.write(b"c")
print("back")
""",
    )
    peer, _ = server.accept()
    with peer:
        assert peer.recv(1) == b"a"
        board.set_wifi(is_up=False)
        board.wait_for_console("no route -202", after=board.wait_for_console("status 201", after=start))
        assert select.select([peer], [], [], 0.1)[0] == []  # neither data nor an end
        board.set_wifi(is_up=True)
        board.wait_for_console("back", after=start)
        peer.settimeout(10)
        assert peer.recv(1) + peer.recv(1) == b"bc"


def test_a_power_cut_leaves_the_server_with_a_silent_connection(
    make_virtual_board: MakeBoard, server: socket.socket
) -> None:
    board = make_virtual_board()
    boot_with(
        board,
        _JOIN
        + f"""
s = socket.socket()
s.connect(socket.getaddrinfo("127.0.0.1", {server.getsockname()[1]})[0][-1])
s.write(b"a")
while True: pass
""",
    )
    peer, _ = server.accept()
    with peer:
        assert peer.recv(1) == b"a"
        board.power_cut()
        peer.sendall(b"anybody?")
        assert select.select([peer], [], [], 0.1)[0] == []


def test_a_server_that_refuses_is_an_error_on_the_board(make_virtual_board: MakeBoard) -> None:
    source = (
        _JOIN
        + """
s = socket.socket()
try:
    s.connect(socket.getaddrinfo("127.0.0.1", 1)[0][-1])
    s.read(1)
except OSError as error:
    print("errno", error.errno)
"""
    )
    assert printed_by(make_virtual_board(), source) == ["errno 104"]


@pytest.mark.parametrize(("networks", "status"), [({"street": "lamp"}, 1010), ({"street": "other"}, 202), ({}, 201)])
def test_status_says_what_is_wrong_with_the_network(
    make_virtual_board: MakeBoard, networks: dict[str, str], status: int
) -> None:
    assert printed_by(make_virtual_board(networks=networks), _JOIN + "print(wlan.status())") == [str(status)]
