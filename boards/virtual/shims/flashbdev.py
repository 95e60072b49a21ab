"""The partition of the file system as a block device, like esp32.Partition: 4096-byte blocks, NOR flash."""

import struct

from _host import FLASH_LEN, LINK

_READ = 0x10
_PROGRAM = 0x11
_ERASE = 0x12
_BLOCK_LEN = 4096


class Partition:
    def info(self):
        """(type, subtype, address, size, label, encrypted)"""
        return (1, 129, 0x200000, FLASH_LEN, "vfs", False)

    def readblocks(self, block, buf, offset=0):
        LINK.ask_into(_READ, struct.pack(">IH", block * _BLOCK_LEN + offset, len(buf)), buf)

    def writeblocks(self, block, buf, offset=None):
        if offset is None:
            self.ioctl(6, block)
            offset = 0
        LINK.ask(_PROGRAM, struct.pack(">I", block * _BLOCK_LEN + offset) + buf)

    def ioctl(self, operation, argument):
        if operation == 4:
            return FLASH_LEN // _BLOCK_LEN
        if operation == 5:
            return _BLOCK_LEN
        if operation == 6:
            LINK.ask(_ERASE, struct.pack(">I", argument * _BLOCK_LEN))
        return 0


bdev = Partition()
