"""`lamppost audit verify | show`: what the gateway did, and whether anybody changed the record of it."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from gateway.audit import read_entries, verify
from gateway.errors import ConfigError
from gateway.registry import opening
from gateway.registry.keys import HOLDER_KEY, load_key
from gateway.trust import AUDIT_DIR, REGISTRY_DIR

_FAILED = 1


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost audit verify`."""
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="the gateway's data folder")


def run_verify(args: argparse.Namespace) -> int:
    """Follow the chain of hashes; 1 if it does not hold."""
    folder = _folder(args.data_dir)
    registry = args.data_dir / REGISTRY_DIR
    key = load_key(registry / HOLDER_KEY).public if opening.exists(registry) else None
    entries, problems = verify(folder, key)
    print(
        f"{entries} entries follow from each other{', and the gateway signed the last' if key and not problems else ''}"
    )
    for problem in problems:
        print(f"PROBLEM  {problem}")
    return _FAILED if problems else 0


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost audit show`."""
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="the gateway's data folder")
    parser.add_argument("--from", dest="start", type=int, default=0, metavar="N", help="begin with entry N")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def run_show(args: argparse.Namespace) -> int:
    """Print the entries."""
    for one in read_entries(_folder(args.data_dir), args.start):
        if args.json:
            told = {"number": one.number, "at_s": one.at_s, "actor": one.actor, "device": one.device}
            print(json.dumps(told | {"what": one.what, "detail": one.detail}))
        else:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.at_s))
            print(f"{one.number:>6}  {at}  {one.actor}  {one.what}  {one.device}  {one.detail}".rstrip())
    return 0


def _folder(data_dir: Path) -> Path:
    folder: Path = data_dir / AUDIT_DIR
    if not folder.is_dir():
        raise ConfigError("--data-dir", data_dir, "holds no audit log; has a gateway run here?")
    return folder
