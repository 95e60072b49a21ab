"""The flash under the board's file system: 4096-byte blocks in a file of the partition's real size, NOR rules.

Erased bytes are 0xFF and programming only clears bits, as in the chip (Espressif: W25Q-type SPI NOR). Every program and
erase counts as one operation, at which the power can be cut with half of it done.
"""

import errno
import mmap
import struct
from pathlib import Path

from boards.virtual import rpc
from boards.virtual.power import FlashWear

BLOCK_LEN = 4096


class Flash:
    def __init__(self, image: Path, size: int, wear: FlashWear) -> None:
        """image  made, all erased, if it does not exist; `size` bytes, a multiple of 4096"""
        self.image = image
        self.size = size
        self._wear = wear
        if not image.exists() or image.stat().st_size != size:
            make_blank(image, size)
        with image.open("r+b") as file:
            self._cells = mmap.mmap(file.fileno(), size)

    def handlers(self) -> dict[int, rpc.Handler]:
        return {
            rpc.FLASH_READ: lambda question: self.read(*struct.unpack(">IH", question)),
            rpc.FLASH_PROGRAM: lambda question: self.program(int.from_bytes(question[:4], "big"), question[4:]),
            rpc.FLASH_ERASE: lambda question: self.erase(int.from_bytes(question, "big")),
        }

    def read(self, address: int, length: int) -> bytes:
        self._check(address, length)
        return self._cells[address : address + length]

    def program(self, address: int, data: bytes) -> None:
        """Clear the bits that are 0 in `data`. Raises PowerCut with the first half done."""
        self._check(address, len(data))
        half = len(data) // 2
        self._wear.perform(lambda: self._clear(address, data), lambda: self._clear(address, data[:half]))

    def erase(self, address: int) -> None:
        """Erase the block at `address`. Raises PowerCut with the first half done."""
        self._check(address, BLOCK_LEN)
        self._wear.perform(lambda: self._set(address, BLOCK_LEN), lambda: self._set(address, BLOCK_LEN // 2))

    def erase_all(self) -> None:
        """What a technician does with `esptool erase-flash`; no operation of the board."""
        self._set(0, self.size)

    def replace(self, cells: bytes) -> None:
        """Put another image in place, e.g. yesterday's; no operation of the board."""
        if len(cells) != self.size:
            raise ValueError(f"image of {len(cells)} bytes: this board's partition has {self.size}")
        self._cells[:] = cells

    def cells(self) -> bytes:
        """All of it."""
        return self._cells[:]

    def close(self) -> None:
        self._cells.close()

    def _check(self, address: int, length: int) -> None:
        if address + length > self.size:
            raise OSError(errno.EINVAL, "beyond the partition's end")

    def _clear(self, address: int, data: bytes) -> None:
        end = address + len(data)
        old = int.from_bytes(self._cells[address:end], "big")
        self._cells[address:end] = (old & int.from_bytes(data, "big")).to_bytes(len(data), "big")

    def _set(self, address: int, length: int) -> None:
        self._cells[address : address + length] = b"\xff" * length


def make_blank(image: Path, size: int) -> None:
    """Write an erased flash."""
    image.write_bytes(b"\xff" * size)
