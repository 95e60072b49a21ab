"""The board's file system as the host sees it: littlefs on the bytes of the flash, by littlefs-python.

Reads what MicroPython wrote and writes what MicroPython mounts (disk version 2.1, 4096-byte blocks).
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext

from boards.virtual.flash import BLOCK_LEN


class ImageError(Exception):
    """The flash holds no file system, or no such file, or is full."""


def files(cells: bytes, *, below: str = "/") -> dict[str, bytes]:
    """All files of a folder and its folders, by absolute path; none if it is not there. Raises ImageError."""
    fs = _mount(bytearray(cells))
    try:
        found = [str(PurePosixPath("/", folder, name)) for folder, _, names in fs.walk(below) for name in names]
    except FileNotFoundError:
        return {}
    return {path: _read(fs, path) for path in found}


def read_file(cells: bytes, path: str) -> bytes:
    """One file. Raises ImageError."""
    return _read(_mount(bytearray(cells)), path)


def write_files(cells: bytes, wanted: Mapping[str, bytes]) -> bytes:
    """The flash with these files in it, beside what was there; a blank one is formatted. Raises ImageError."""
    buffer = bytearray(cells)
    fs = _format(buffer) if buffer[:BLOCK_LEN] == b"\xff" * BLOCK_LEN else _mount(buffer)
    try:
        for path, content in wanted.items():
            fs.makedirs(str(PurePosixPath("/", path).parent), exist_ok=True)
            with fs.open(path, "wb") as file:
                file.write(content)
    except LittleFSError as error:
        raise ImageError(f"{path} does not go into the flash: {error}") from error
    fs.unmount()
    return bytes(buffer)


def _filesystem(buffer: bytearray) -> LittleFS:
    return LittleFS(
        context=UserContext(buffer=buffer),
        mount=False,
        block_size=BLOCK_LEN,
        block_count=len(buffer) // BLOCK_LEN,
        read_size=32,
        prog_size=32,
        cache_size=128,
        lookahead_size=32,
    )


def _mount(buffer: bytearray) -> LittleFS:
    fs = _filesystem(buffer)
    try:
        fs.mount()
    except LittleFSError as error:
        raise ImageError(f"the flash holds no file system that can be mounted: {error}") from error
    return fs


def _format(buffer: bytearray) -> LittleFS:
    fs = _filesystem(buffer)
    fs.format()
    fs.mount()
    return fs


def _read(fs: LittleFS, path: str) -> bytes:
    try:
        with fs.open(path, "rb") as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise ImageError(f"{path} is not in the flash") from error
