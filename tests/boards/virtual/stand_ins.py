"""Chips so small that what the host does with them is plain; the real models have tests of their own."""


class EchoRadio:
    """Answers each SPI frame with the bytes sent, one added; counts what its pins see."""

    def __init__(self) -> None:
        self.level = 1
        self.resets = 0
        self.frames = 0
        self.irq = 0

    def select(self, level: int) -> None:
        self.frames += self.level > level
        self.level = level

    def transfer(self, mosi: bytes) -> bytes:
        return bytes(byte + 1 & 0xFF for byte in mosi)

    def busy(self) -> int:
        return 0

    def dio1(self) -> int:
        return self.irq

    def reset(self, level: int) -> None:
        self.resets += level == 0


class Registers:
    """An I2C chip of 256 registers with a pointer that counts up."""

    def __init__(self, addr: int = 0x76) -> None:
        self.addr = addr
        self.cells = bytearray(range(256))
        self.at = 0
        self.power_cycles = 0

    def write(self, data: bytes) -> None:
        if data:
            self.at = data[0]
            self.cells[self.at : self.at + len(data) - 1] = data[1:]

    def read(self, n: int) -> bytes:
        return bytes(self.cells[self.at : self.at + n])

    def power_cycle(self) -> None:
        self.power_cycles += 1


class Loopback:
    """A UART whose other end sends everything back."""

    def __init__(self) -> None:
        self.waiting = b""

    def write(self, data: bytes) -> None:
        self.waiting += data

    def read(self, n: int) -> bytes:
        data, self.waiting = self.waiting[:n], self.waiting[n:]
        return data

    def any(self) -> int:
        return len(self.waiting)
