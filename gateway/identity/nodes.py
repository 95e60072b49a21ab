"""The enrolled nodes: one file each in data_dir/nodes, as `lamppost enrol` writes them, and those a registry knows.

Goes in: a folder. Comes out: for a short address the nodes that may have it; addresses collide, the tag decides. Keys
stay in memory and never enter a message.
"""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.link.edhoc import kid_of

log = logging.getLogger(__name__)
_KEY_LEN = 32
_U32_MAX = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Node:
    """Who may speak, and the key that proves it. `epoch`: the lowest that is accepted.

    root_key    of 32 bytes, placed by hand; b"" for a node that must join
    public_key  compressed point of 33 bytes, by which it may join; b"" for a node that may not
    """

    id: str
    address: int
    root_key: bytes = field(repr=False)
    epoch: int
    public_key: bytes = b""
    alias: str | None = None
    enrolled_at_s: float = 0.0


Registered = Callable[[Any], Sequence[Node]]


def _nobody(shown: object) -> Sequence[Node]:
    return ()


class Nodes:
    """What the folder holds, read at `load` and again when an unknown address comes after the folder changed."""

    def __init__(self, folder: Path, *, at_address: Registered = _nobody, with_kid: Registered = _nobody) -> None:
        """at_address, with_kid: nodes of the site's registry, by u16 or kid; a file for the same node goes before."""
        self._folder = folder
        self._registered_at, self._registered_with = at_address, with_kid
        self._seen: tuple[int, int] = (0, 0)
        self._by_address: dict[int, list[Node]] = {}
        self._by_kid: dict[bytes, list[Node]] = {}
        self.by_id: dict[str, Node] = {}
        self.names: frozenset[str] = frozenset()
        self.problems: list[str] = []

    def load(self) -> None:
        """Read every file anew. A file that cannot be used is named in `problems` and left out."""
        self._seen = self._stamp()
        found: dict[str, Node] = {}
        problems: list[str] = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                node = read_node(path)
            except ValueError as error:
                problems.append(f"{path}: {error}")
            else:
                if node.id in found:
                    problems.append(f"{path}: {node.id} is already in another file; delete one of them")
                else:
                    found[node.id] = node
        by_address: dict[int, list[Node]] = {}
        for node in found.values():
            by_address.setdefault(node.address, []).append(node)
        by_kid: dict[bytes, list[Node]] = {}
        for node in found.values():
            if node.public_key:
                by_kid.setdefault(kid_of(node.public_key), []).append(node)
        self.by_id, self._by_address, self._by_kid, self.problems = found, by_address, by_kid, problems
        self.names = frozenset([*found, *(node.alias for node in found.values() if node.alias)])
        for problem in problems:
            log.warning("not enrolled: %s", problem)

    def candidates(self, address: int) -> list[Node]:
        """The nodes with this short address; a file that came since the last look counts."""
        found = self._by_address.get(address)
        if found is None and self._stamp() != self._seen:
            self.load()
            found = self._by_address.get(address)
        return self._with_registered(found, self._registered_at(address))

    def with_kid(self, kid: bytes) -> list[Node]:
        """The nodes that may join under this kid; a file that came since the last look counts."""
        found = self._by_kid.get(kid)
        if found is None and self._stamp() != self._seen:
            self.load()
            found = self._by_kid.get(kid)
        return self._with_registered(found, self._registered_with(kid))

    def _with_registered(self, found: list[Node] | None, registered: Sequence[Node]) -> list[Node]:
        return [*(found or ()), *(node for node in registered if node.id not in self.by_id)]

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self._folder.stat()
        except OSError:
            return (0, 0)
        return (status.st_mtime_ns, status.st_ino)


def read_node(path: Path) -> Node:
    """Read one node file. Raises ValueError saying what to mend; the message never holds a key."""
    try:
        status = path.stat()
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError):
            raise ValueError(f"is not JSON (line {error.lineno}); enrol the node again") from None
        raise ValueError("is not JSON; enrol the node again") from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ValueError("others can read this key; chmod 600 it, and enrol the node anew if they may have")
    if not isinstance(table, dict):
        raise ValueError("is not a JSON object; enrol the node again")
    public_key = _public_key(table["public_key"]) if table.get("public_key") else b""
    return Node(
        id=_text(table, "id"),
        address=_address(table.get("address")),
        root_key=b"" if public_key and table.get("root_key_hex") is None else _key(table.get("root_key_hex")),
        public_key=public_key,
        epoch=_epoch(table.get("epoch", 1)),
        alias=_text(table, "alias") if table.get("alias") else None,
        enrolled_at_s=_seconds(table.get("enrolled_at_s"), status.st_mtime),
    )


def _text(table: dict[str, Any], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 128:
        raise ValueError(f'"{name}" must be a text of 1 to 128 characters')
    return value


def _address(value: object) -> int:
    if isinstance(value, str) and len(value) == 4:
        try:
            return int(value, 16)
        except ValueError:
            pass
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFFFF:
        return value
    raise ValueError('"address" must be four hex digits or a number up to 65535')


def _key(value: object) -> bytes:
    try:
        key = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        key = b""
    if len(key) != _KEY_LEN:
        raise ValueError('"root_key_hex" must be 64 hex digits')
    return key


def _public_key(value: object) -> bytes:
    """Its form only: whether it is a point shows at the first join, and costs too much for a hundred thousand files."""
    try:
        octets = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        octets = b""
    if len(octets) != 33 or octets[0] >> 1 != 1:
        raise ValueError('"public_key" must be a compressed point of P-256, 66 hex digits')
    return octets


def _epoch(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _U32_MAX:
        raise ValueError('"epoch" must be a whole number from 1 on')
    return value


def _seconds(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default
