"""Where a store is: --config names the gateway's, --data-dir any folder, such as a copy. And how things are printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.config import add_config_argument, load


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """--config or --data-dir."""
    add_config_argument(parser)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="a gateway's data_dir, or a copy of one")


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the same for machines")


def data_dir_of(args: argparse.Namespace) -> Path:
    """The folder that is meant. Raises ConfigError."""
    return args.data_dir if args.data_dir is not None else load(args.config).gateway.data_dir


def as_time(at_s: float | None) -> str:
    """UTC, to the second."""
    if at_s is None:
        return "-"
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def as_size(size: float) -> str:
    """Bytes in a unit that leaves few digits."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as they need to be: the first to the left, the others to the right."""
    lines = [list(head), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    for line in lines:
        cells = [
            line[0].ljust(widths[0]),
            *[cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)],
        ]
        print("  ".join(cells).rstrip())


def print_json(content: Any) -> None:
    json.dump(content, sys.stdout, indent=2)
    print()
