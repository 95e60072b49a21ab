"""A scripted SPI peer: answers register reads from the datasheet's reset values and writes down every transaction.

It has no radio behaviour; that is the chip model's. It shows which bytes a driver sends, and in what order.
"""

from __future__ import annotations

RESET_VALUES = {  # SX1261/2 datasheet rev 2.1, table 12-1
    0x0736: 0x0D,
    0x0740: 0x14,
    0x0741: 0x24,
    0x0889: 0x01,
    0x08AC: 0x94,
    0x08D8: 0xC8,
    0x08E7: 0x18,
    0x0902: 0x00,
    0x0944: 0x00,
}


class Pin:
    """A pin that remembers; `when_set` hears of every level."""

    def __init__(self, level: int = 0) -> None:
        self.level = level
        self.levels: list[int] = []

    def value(self, level: int | None = None) -> int:
        if level is not None:
            self.level = level
            self.levels.append(level)
        return self.level


class Recorder:
    """SPI, NSS, BUSY, DIO1 and NRST of a chip that does nothing but hold registers and raise `irq` when told to."""

    def __init__(self) -> None:
        self.registers = dict(RESET_VALUES)
        self.sent: list[bytes] = []
        self.nss, self.reset, self.busy, self.dio1 = Pin(1), Pin(1), Pin(0), Pin(0)
        self.irq_after: dict[int, int] = {0x83: 0x0001}  # SetTx -> TxDone
        self.irq = 0
        self.packet_type = 0
        self.device_errors = 0
        self.busy_at_nss: list[int] = []

    def write_readinto(self, out: memoryview, back: memoryview) -> None:
        assert self.nss.level == 0, "a transfer with NSS high"
        self.busy_at_nss.append(self.busy.level)
        mosi = bytes(out)
        self.sent.append(mosi)
        back[:] = self._answer(mosi).ljust(len(mosi), b"\0")[: len(mosi)]

    def _answer(self, mosi: bytes) -> bytes:
        opcode, status = mosi[0], 0x2C
        if opcode == 0x0D:
            address = mosi[1] << 8 | mosi[2]
            self.registers.update({address + at: value for at, value in enumerate(mosi[3:])})
        elif opcode == 0x1D:
            return bytes([0, 0, 0, status, self.registers.get(mosi[1] << 8 | mosi[2], 0)])
        elif opcode == 0x8A:
            self.packet_type = mosi[1]
        elif opcode == 0x11:
            return bytes([0, status, self.packet_type])
        elif opcode == 0x12:
            return bytes([0, status, self.irq >> 8, self.irq & 0xFF])
        elif opcode == 0x02:
            self.irq &= ~(mosi[1] << 8 | mosi[2])
            self.dio1.level = int(self.irq != 0)
        elif opcode == 0x17:
            return bytes([0, status, self.device_errors >> 8, self.device_errors & 0xFF])
        if opcode in self.irq_after:
            self.irq |= self.irq_after[opcode]
            self.dio1.level = 1
        return b""

    def after(self, opcode: int) -> list[bytes]:
        """What was sent from the first `opcode` on."""
        at = next(at for at, mosi in enumerate(self.sent) if mosi[0] == opcode)
        return self.sent[at:]

    def opcodes(self) -> list[int]:
        return [mosi[0] for mosi in self.sent]
