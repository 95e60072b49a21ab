"""The NVS partition of the ESP32 as esp32.NVS shows it: namespaces of 32-bit integers and blobs, each item atomic.

A value that was set is in flash at once, but only `commit` promises it. So at a power cut every write is kept up to
some point, chosen at random, after the last commit, and none behind that point: an application that relies on an order
without a commit in between, or on values without one, is found out. A value that was replaced or erased is only marked:
it stays in flash until room is wanted, or its page is erased. Source: ESP-IDF NVS library, "Internals".
"""

import base64
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from boards.virtual import rpc
from boards.virtual.power import FlashWear
from boards.virtual.rpc import IdfError

KIND_I32 = 0x14  # the item types of ESP-IDF
KIND_BLOB = 0x42

NOT_FOUND = -0x1102
TYPE_MISMATCH = -0x1103
NOT_ENOUGH_SPACE = -0x1105
KEY_TOO_LONG = -0x1109
INVALID_NAME = -0x1106

_ENTRY_LEN = 32
_ENTRIES_PER_PAGE = 126
_LONGEST_NAME = 15
_PAGE_BYTES = 4096

Item = tuple[int, bytes]
Place = tuple[str, str]
Items = dict[Place, Item]


class Nvs:
    """Items by (namespace, key); persisted in a JSON file after each write."""

    def __init__(self, path: Path, wear: FlashWear, *, size: int = 0x6000) -> None:
        self._wear = wear
        self.pages = size // _PAGE_BYTES
        self._entries_max = (self.pages - 1) * _ENTRIES_PER_PAGE  # one page is always kept free
        self._committed, self._marked = _load(path)  # marked: not valid any more, and still in flash
        self._written: list[tuple[Place, Item | None]] = []  # since the last commit, in order; None: erased
        self._items: Items = dict(self._committed)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._file_len = os.fstat(self._fd).st_size

    def handlers(self) -> dict[int, rpc.Handler]:
        def get(question: bytes) -> bytes:
            namespace, key = rpc.counted(question[1:])
            return self.get(namespace, key.decode(), question[0])

        def put(question: bytes) -> None:
            namespace, rest = rpc.counted(question[1:])
            key, value = rpc.counted(rest)
            self.set(namespace, key, question[0], value)

        def erase(question: bytes) -> None:
            namespace, key = rpc.counted(question)
            self.erase_key(namespace, key.decode())

        return {
            rpc.NVS_GET: get,
            rpc.NVS_SET: put,
            rpc.NVS_ERASE: erase,
            rpc.NVS_COMMIT: lambda _: self.commit(),
            rpc.NVS_PAGE_USED: lambda question: bytes([self.is_page_used(question[0])]),
            rpc.NVS_PAGE_ERASE: lambda question: self.erase_page(question[0]),
        }

    def get(self, namespace: str, key: str, kind: int) -> bytes:
        """Raises IdfError NOT_FOUND or TYPE_MISMATCH."""
        item = self._items.get((namespace, key))
        if item is None:
            raise IdfError(NOT_FOUND)
        if item[0] != kind:
            raise IdfError(TYPE_MISMATCH)
        return item[1]

    def set(self, namespace: str, key: str, kind: int, value: bytes) -> None:
        """One flash operation. Raises IdfError, PowerCut."""
        for name in (namespace, key):
            if not name:
                raise IdfError(INVALID_NAME)
            if len(name) > _LONGEST_NAME:
                raise IdfError(KEY_TOO_LONG)
        others = sum(_entries(item) for place, item in self._items.items() if place != (namespace, key))
        if others + _entries((kind, value)) > self._entries_max:
            raise IdfError(NOT_ENOUGH_SPACE)
        self._write((namespace, key), (kind, value))

    def erase_key(self, namespace: str, key: str) -> None:
        """One flash operation. Raises IdfError NOT_FOUND, PowerCut."""
        if (namespace, key) not in self._items:
            raise IdfError(NOT_FOUND)
        self._write((namespace, key), None)

    def commit(self) -> None:
        """From now on all that was set is promised. One flash operation. Raises PowerCut."""
        self._wear.perform(self._settle, lambda: None)

    def lose_power(self) -> None:
        """Of what was written after the last commit, keep the first few."""
        kept = self._wear.random.randint(0, len(self._written))
        for place, item in self._written[:kept]:
            _put(self._committed, place, item)
        self._marked += [(place, item) for place, item in self._written[kept:] if item is not None]
        self._items = dict(self._committed)
        self._written.clear()
        self._save()

    def erase_all(self) -> None:
        """What a technician does with `esptool erase-region`; no operation of the board."""
        self._items.clear()
        self._marked.clear()
        self._settle()

    def is_page_used(self, page: int) -> bool:
        """Whether anything is left in it, valid or not. Which page an item is in is ours to say; it is in one."""
        return any(_page_of(place, self.pages) == page for place in (*self._items, *(one for one, _ in self._marked)))

    def erase_page(self, page: int) -> None:
        """Erase 4096 bytes below the library's feet, as esp32.Partition does. One flash operation. Raises PowerCut."""

        def whole() -> None:
            self._items = {place: item for place, item in self._items.items() if _page_of(place, self.pages) != page}
            self._marked = [row for row in self._marked if _page_of(row[0], self.pages) != page]
            self._settle()

        self._wear.perform(whole, lambda: None)

    def put(self, namespace: str, key: str, value: int | bytes) -> None:
        """What provisioning does before the board starts; no operation of the board."""
        item = (KIND_BLOB, value) if isinstance(value, bytes) else (KIND_I32, value.to_bytes(4, "big", signed=True))
        self._mark((namespace, key))
        self._items[namespace, key] = item
        self._settle()

    def namespaces(self) -> dict[str, dict[str, int | bytes]]:
        """A copy of everything, as the board sees it."""
        seen: dict[str, dict[str, int | bytes]] = {}
        for (namespace, key), (kind, value) in self._items.items():
            plain = value if kind == KIND_BLOB else int.from_bytes(value, "big", signed=True)
            seen.setdefault(namespace, {})[key] = plain
        return seen

    def replace(self, namespaces: Mapping[str, Mapping[str, int | bytes]]) -> None:
        """Put everything in place at once, e.g. yesterday's; no operation of the board."""
        self._items.clear()
        self._marked.clear()
        for namespace, values in namespaces.items():
            for key, value in values.items():
                self.put(namespace, key, value)
        self._settle()

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, place: Place, item: Item | None) -> None:
        def whole() -> None:
            self._mark(place)
            _put(self._items, place, item)
            self._written.append((place, item))
            self._save()

        self._wear.perform(whole, whole)  # torn: the cut then decides whether the item is there, never half of it

    def _mark(self, place: Place) -> None:
        """What is there now is not valid any more. The oldest of such goes when the room is wanted."""
        if place in self._items:
            self._marked.append((place, self._items[place]))
        room = self._entries_max - sum(map(_entries, self._items.values()))
        while self._marked and sum(_entries(item) for _, item in self._marked) > room:
            self._marked.pop(0)

    def _settle(self) -> None:
        self._committed = dict(self._items)
        self._written.clear()
        self._save()

    def _save(self) -> None:
        plain = [_row(place, item) for place, item in self._items.items()]
        plain += [[*_row(place, item), "marked"] for place, item in self._marked]
        text = json.dumps(plain).encode().ljust(self._file_len)
        os.pwrite(self._fd, text, 0)  # in one call, which a kill does not tear
        self._file_len = len(text)


def _load(path: Path) -> tuple[Items, list[tuple[Place, Item]]]:
    """What is valid, and what is not any more."""
    if not path.exists() or not path.stat().st_size:
        return {}, []
    rows = json.loads(path.read_text())
    read = [((row[0], row[1]), (int(row[2]), base64.b64decode(row[3])), len(row) > 4) for row in rows]
    return (
        {place: item for place, item, is_marked in read if not is_marked},
        [(place, item) for place, item, is_marked in read if is_marked],
    )


def _row(place: Place, item: Item) -> list[str | int]:
    return [*place, item[0], base64.b64encode(item[1]).decode()]


def _page_of(place: Place, pages: int) -> int:
    return zlib.crc32("/".join(place).encode()) % pages


def _put(items: Items, place: Place, item: Item | None) -> None:
    if item is None:
        items.pop(place, None)
    else:
        items[place] = item


def _entries(item: Item) -> int:
    """Entries of 32 bytes an item takes: one for an integer, head and index and data for a blob."""
    kind, value = item
    return 1 if kind == KIND_I32 else 2 + -(-len(value) // _ENTRY_LEN)
