"""Register file of the SX1262: 8-bit values at 16-bit addresses. Source: data sheet table 12-1 unless noted."""

IQ_POLARITY = 0x0736
SYNC_WORD = 0x0740  # and the byte behind it
HEADER_CODING_RATE = 0x0749  # bits 6 to 4: of the last header (Semtech sx126x_driver, sx126x_regs.h)
HEADER_CRC = 0x076B  # bit 4: the last header announced a CRC (same source)
TX_MODULATION = 0x0889
RX_GAIN = 0x08AC
TX_CLAMP = 0x08D8
OCP = 0x08E7
RTC_CONTROL = 0x0902
EVENT_MASK = 0x0944
RETENTION_LIST = 0x029F  # count, then up to four addresses
_VERSION = 0x0320

RX_GAIN_BOOSTED = 0x96
_RANDOM = range(0x0819, 0x081D)

_RESET = {
    IQ_POLARITY: 0x0D,
    SYNC_WORD: 0x14,
    SYNC_WORD + 1: 0x24,
    TX_MODULATION: 0x01,
    RX_GAIN: 0x94,
    TX_CLAMP: 0xC8,
    OCP: 0x18,
    0x0911: 0x05,
    0x0912: 0x05,
    **{_VERSION + i: byte for i, byte in enumerate(b"SX1261 V2D 2D02\x00")},  # an SX1262 says SX1261 as well
}
# Not kept through a warm sleep unless the retention list names them (data sheet 9.6; Semtech's own driver lists these).
_VOLATILE = (RX_GAIN, TX_MODULATION, IQ_POLARITY)


class Registers:
    """Any address can be written; what was never written reads as its reset value, or 0."""

    def __init__(self) -> None:
        self._written: dict[int, int] = {}
        self._noise = 0x2545F491

    def read(self, address: int) -> int:
        address &= 0xFFFF
        if address in _RANDOM:
            self._noise = (self._noise * 1_103_515_245 + 12_345) & 0xFFFFFFFF
            return self._noise >> 16 & 0xFF
        return self._written.get(address, _RESET.get(address, 0x00))

    def write(self, address: int, value: int) -> None:
        self._written[address & 0xFFFF] = value & 0xFF

    def note_header(self, *, coding_rate: int, has_crc: bool) -> None:
        """What the header of the packet being received says."""
        self.write(HEADER_CODING_RATE, coding_rate << 4)
        self.write(HEADER_CRC, 0x10 * has_crc)

    def sync_word(self) -> int:
        return self.read(SYNC_WORD) << 8 | self.read(SYNC_WORD + 1)

    def forget_volatile(self) -> None:
        """What a warm sleep does to registers outside the retention list."""
        kept = self._retained()
        for address in _VOLATILE:
            if address not in kept:
                self._written.pop(address, None)

    def _retained(self) -> set[int]:
        count = min(4, self.read(RETENTION_LIST))
        first = RETENTION_LIST + 1
        return {self.read(first + 2 * i) << 8 | self.read(first + 2 * i + 1) for i in range(count)}
