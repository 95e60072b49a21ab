"""A scripted SPI peer: answers register reads from the datasheet's reset values and writes down every transaction.

It has no radio behaviour; that is the chip model's. It shows which bytes a driver sends, and in what order. Written for
both interpreters, so no annotations.
"""

RESET_VALUES = {  # SX1261/2 datasheet rev 2.1, table 12-1
    0x0736: 0x0D,
    0x0740: 0x14,
    0x0741: 0x24,
    0x076B: 0x10,  # the last header announced a CRC
    0x0889: 0x01,
    0x08AC: 0x94,
    0x08D8: 0xC8,
    0x08E7: 0x18,
    0x0902: 0x00,
    0x0944: 0x00,
}


class Pin:
    """A pin that remembers, and lists what it was set to."""

    def __init__(self, level=0):
        self.level = level
        self.levels = []

    def value(self, level=None):
        if level is not None:
            self.level = level
            self.levels.append(level)
        return self.level


class Recorder:
    """SPI, NSS, BUSY, DIO1 and NRST of a chip that does nothing but hold registers and raise `irq` when told to."""

    def __init__(self):
        self.registers = dict(RESET_VALUES)
        self.sent = []
        self.nss, self.reset, self.busy, self.dio1 = Pin(1), Pin(1), Pin(0), Pin(0)
        self.irq_after = {0x83: 0x0001}  # SetTx -> TxDone
        self.irq = 0
        self.packet_type = 0
        self.device_errors = 0

    def write_readinto(self, out, back):
        assert self.nss.level == 0, "a transfer with NSS high"
        mosi = bytes(out)
        self.sent.append(mosi)
        answer = self._answer(mosi)[: len(mosi)]
        back[:] = answer + bytes(len(mosi) - len(answer))

    def _answer(self, mosi):
        opcode, status = mosi[0], 0x2C
        if opcode == 0x0D:
            address = mosi[1] << 8 | mosi[2]
            for at in range(3, len(mosi)):
                self.registers[address + at - 3] = mosi[at]
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

    def after(self, opcode):
        """What was sent from the first `opcode` on."""
        return self.sent[self.opcodes().index(opcode) :]

    def opcodes(self):
        return [mosi[0] for mosi in self.sent]


class StepClock:
    """What drivers.clock offers, for one task: time passes only while that sleeps."""

    def __init__(self):
        self.now_us = 0

    def ticks_us(self):
        return self.now_us

    def ticks_ms(self):
        return self.now_us // 1000

    def ticks_add(self, ticks, delta):
        return ticks + delta

    def ticks_diff(self, later, earlier):
        return later - earlier

    def pause_us(self, duration_us):
        self.now_us += duration_us

    async def sleep_ms(self, duration_ms):
        self.now_us += duration_ms * 1000
