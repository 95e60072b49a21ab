"""`lamppost board up`: a virtual board on a serial port, for mpremote and every other tool that speaks to one."""

import argparse
import json
import signal
import sys
import tempfile
import threading
from pathlib import Path

from boards import data
from boards.mpy import CompileError
from boards.virtual.street import Street
from provisioning.payload import node_files

DONE, FAILED, EDIT = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--board", required=True, metavar="NAME", help=f"which board: {', '.join(_virtual_boards())}")
    parser.add_argument("--virtual", action="store_true", help="without hardware; there is no other kind to start")
    parser.add_argument("--firmware", action="store_true", help="with the node's firmware on its file system")
    parser.add_argument("--dir", metavar="FOLDER", help="keep its flash, NVS and log here for the next time")
    parser.add_argument("--json", action="store_true", help="print port, log and folder as one line of JSON")


def run(args: argparse.Namespace) -> int:
    """Start the board, print its port, serve until Ctrl-C or SIGTERM. Returns the exit code."""
    problem = _problem(args)
    if problem:
        print(f"lamppost board up: {problem}", file=sys.stderr)
        return EDIT
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        with tempfile.TemporaryDirectory(prefix="lamppost-") as scratch:
            _serve(args, Path(args.dir or scratch), stop)
    except (OSError, CompileError) as error:
        print(f"lamppost board up: {error}", file=sys.stderr)
        return FAILED
    return DONE


def _serve(args: argparse.Namespace, folder: Path, stop: threading.Event) -> None:
    with Street(folder) as street:
        board = street.add_node(args.board, board=args.board)
        if args.firmware:
            board.write_files({**node_files(), "/board.json": board.board.to_json().encode()})
        board.power_on()
        if args.json:
            facts = {"port": board.port, "log": str(board.console_log), "folder": str(folder)}
            print(json.dumps({"board": args.board, **facts}), flush=True)
        else:
            print(board.port, flush=True)
            print(f"try: mpremote connect {board.port} ls        Ctrl-C here ends the board", file=sys.stderr)
        stop.wait()


def _virtual_boards() -> list[str]:
    return [name for name in data.names() if data.load(name).vfs_kib]


def _problem(args: argparse.Namespace) -> str:
    if args.board not in _virtual_boards():
        return f"--board {args.board}: there is {', '.join(_virtual_boards())}"
    if not args.virtual:
        return "add --virtual: a board with hardware needs no starting, connect it"
    return ""
