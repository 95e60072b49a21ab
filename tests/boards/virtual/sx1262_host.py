"""A host that speaks to an SX1262 in raw SPI bytes, in the order of the data sheet (14.2 transmit, 14.3 receive).

Not a driver: it waits by advancing the clock, and each step can be left out to see what the chip makes of that.
"""

from boards.virtual.air import Air
from boards.virtual.chips.sx1262.chip import Sx1262
from boards.virtual.chips.sx1262.front_end import Fitting
from boards.virtual.clock import ManualClock

FREQ_HZ = 868_100_000
TX_DONE, RX_DONE, PREAMBLE, HEADER_VALID, HEADER_ERR, CRC_ERR = 0x0001, 0x0002, 0x0004, 0x0010, 0x0020, 0x0040
CAD_DONE, CAD_DETECTED, TIMEOUT = 0x0080, 0x0100, 0x0200
ALL_IRQ = 0x03FF
BANDWIDTH_CODE = {125: 0x04, 250: 0x05, 500: 0x06}  # data sheet table 13-47


class Host:
    def __init__(
        self,
        air: Air,
        clock: ManualClock,
        name: str,
        *,
        position_m: tuple[float, float] = (0.0, 0.0),
        fitting: Fitting | None = None,
    ) -> None:
        self.clock = clock
        self.chip = Sx1262(air, clock, name=name, position_m=position_m, fitting=fitting)
        self.wait()

    def wait(self, limit_us: int = 100_000) -> int:
        """Let time pass until BUSY is low; the microseconds it took."""
        for passed_us in range(limit_us):
            if not self.chip.busy():
                return passed_us
            self.clock.advance_us(1)
        raise AssertionError("BUSY stays high")

    def send(self, command: str | bytes) -> bytes:
        """One command, given in hex as the data sheet prints it; what the chip answered to each byte."""
        mosi = bytes.fromhex(command) if isinstance(command, str) else command
        self.wait()
        self.chip.select(0)
        miso = self.chip.transfer(mosi)
        self.chip.select(1)
        return miso

    def get(self, opcode: int, n: int) -> bytes:
        return self.send(bytes((opcode, *bytes(n + 1))))[2:]

    def register(self, address: int) -> int:
        return self.send(bytes((0x1D, address >> 8, address & 0xFF, 0, 0)))[4]

    def irq(self) -> int:
        return int.from_bytes(self.get(0x12, 2), "big")

    def take_irq(self) -> int:
        """Read and clear."""
        flags = self.irq()
        self.send(b"\x02" + flags.to_bytes(2, "big"))
        return flags

    def mode(self) -> int:
        return self.send("c000")[1] >> 4

    def status(self) -> int:
        return self.send("c000")[1] >> 1 & 7

    def start(
        self,
        *,
        freq_hz: int = FREQ_HZ,
        tcxo: bool = True,
        image: bool = True,
        switch: bool = True,
        clamp: bool = True,
        irq_mask: int = ALL_IRQ,
    ) -> "Host":
        """From power-on to a chip that knows its frequency and its amplifier (22 dBm, then 14 dBm asked for)."""
        self.send("8000")  # SetStandby(STDBY_RC)
        if tcxo:
            self.send("9702000140")  # SetDio3AsTcxoCtrl 1.8 V, 5 ms
        self.send("070000")  # ClearDeviceErrors
        self.send("897f")  # Calibrate everything
        self.send("9601")  # SetRegulatorMode DC-DC
        if switch:
            self.send("9d01")  # SetDio2AsRfSwitchCtrl
        if image:
            self.send("98d7db")  # CalibrateImage 863 to 870 MHz
        if clamp:
            self.send(bytes((0x0D, 0x08, 0xD8, self.register(0x08D8) | 0x1E)))  # erratum 15.2
        self.send("8a01")  # SetPacketType LoRa
        self.tune(freq_hz)
        self.send("9504070001")  # SetPaConfig: SX1262, 22 dBm
        self.send("8e0e04")  # SetTxParams 14 dBm, 200 us
        self.send("8f0080")  # SetBufferBaseAddress: TX 0x00, RX 0x80
        mask = irq_mask.to_bytes(2, "big")
        self.send(b"\x08" + mask + mask + bytes(4))
        self.modulate()
        self.packet()
        return self

    def tune(self, freq_hz: int) -> None:
        self.send(b"\x86" + round(freq_hz * (1 << 25) / 32_000_000).to_bytes(4, "big"))

    def modulate(
        self, sf: int = 7, bandwidth_khz: int = 125, cr: int = 1, *, ldro: int | None = None, quality: bool = True
    ) -> None:
        if ldro is None:
            ldro = int((1 << sf) / bandwidth_khz > 16)
        self.send(bytes((0x8B, sf, BANDWIDTH_CODE[bandwidth_khz], cr, ldro)))
        if quality:  # erratum 15.1
            before = self.register(0x0889)
            self.send(bytes((0x0D, 0x08, 0x89, before & ~4 if bandwidth_khz == 500 else before | 4)))

    def packet(
        self, *, length: int = 255, preamble: int = 8, implicit: bool = False, crc: bool = True, inverted: bool = False
    ) -> None:
        self._packet = (preamble, implicit, crc, inverted)
        self.send(b"\x8c" + preamble.to_bytes(2, "big") + bytes((implicit, length, crc, inverted)))
        self.polarise(inverted)

    def polarise(self, inverted: bool) -> None:
        """Erratum 15.4."""
        before = self.register(0x0736)
        self.send(bytes((0x0D, 0x07, 0x36, before & ~4 if inverted else before | 4)))

    def load(self, payload: bytes) -> None:
        preamble, implicit, crc, inverted = self._packet
        self.send(b"\x0e\x00" + payload)
        self.packet(length=len(payload), preamble=preamble, implicit=implicit, crc=crc, inverted=inverted)

    def transmit(self, payload: bytes) -> None:
        """Put a payload on the air and come back at once."""
        self.load(payload)
        self.send("83000000")

    def receive(self, timeout_ms: int | None = None) -> None:
        """Listen: until a packet, or for a while. Come back at once."""
        steps = 0 if timeout_ms is None else timeout_ms * 64
        self.send(b"\x82" + steps.to_bytes(3, "big"))

    def take(self) -> bytes:
        length, start = self.get(0x13, 2)
        return self.send(bytes((0x1E, start, *bytes(1 + length))))[3:]
