"""The partition of the file system as a block device, like esp32.Partition: 4096-byte blocks, NOR flash."""

from _host import FLASH_LEN, LINK
from micropython import const

_READ = const(0x10)
_PROGRAM = const(0x11)
_ERASE = const(0x12)
_BLOCK_LEN = const(4096)


class Partition:
    """Allocates nothing: the garbage collector closes files, which writes to flash, while the heap is locked."""

    def __init__(self):
        self._read = bytearray(9)
        self._program = bytearray(7)
        self._erase = bytearray(7)

    def info(self):
        """(type, subtype, address, size, label, encrypted)"""
        return (1, 129, 0x200000, FLASH_LEN, "vfs", False)

    def readblocks(self, block, buf, offset=0):
        length = len(buf)
        question = self._read
        question[7] = length >> 8
        question[8] = length & 0xFF
        LINK.exchange(_addressed(question, _READ, 6, block * _BLOCK_LEN + offset), buf)

    def writeblocks(self, block, buf, offset=None):
        if offset is None:
            self.ioctl(6, block)
            offset = 0
        LINK.exchange(_addressed(self._program, _PROGRAM, 4 + len(buf), block * _BLOCK_LEN + offset), b"", buf)

    def ioctl(self, operation, argument):
        if operation == 4:
            return FLASH_LEN // _BLOCK_LEN
        if operation == 5:
            return _BLOCK_LEN
        if operation == 6:
            LINK.exchange(_addressed(self._erase, _ERASE, 4, argument * _BLOCK_LEN), b"")
        return 0


def _addressed(question, operation, payload_len, address):
    """Write the head and the address of a question into its buffer."""
    question[0] = payload_len >> 8
    question[1] = payload_len & 0xFF
    question[2] = operation
    question[3] = address >> 24
    question[4] = address >> 16 & 0xFF
    question[5] = address >> 8 & 0xFF
    question[6] = address & 0xFF
    return question


bdev = Partition()
