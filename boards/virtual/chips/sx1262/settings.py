"""What the commands of an SX1262 have set. Lost in reset and cold sleep, kept in warm sleep."""

from dataclasses import dataclass, field

from boards.virtual.chips.sx1262.modes import Mode
from boards.virtual.waveform import BANDWIDTH_DIVISORS, Modulation

GFSK, LORA = 0, 1
_XTAL_HZ = 32_000_000


@dataclass(kw_only=True)
class LoraModulation:
    """Parameters of SetModulationParams; raises ValueError outside data sheet tables 13-45 to 13-49."""

    spreading_factor: int
    bandwidth_divisor: int
    coding_rate: int
    is_ldro: bool

    @classmethod
    def parse(cls, params: bytes) -> "LoraModulation":
        sf, bandwidth, coding_rate, ldro = params[:4]
        if not 5 <= sf <= 12 or bandwidth not in BANDWIDTH_DIVISORS or not 1 <= coding_rate <= 4 or ldro > 1:
            raise ValueError(f"SetModulationParams {params.hex()}: out of range")
        return cls(
            spreading_factor=sf,
            bandwidth_divisor=BANDWIDTH_DIVISORS[bandwidth],
            coding_rate=coding_rate,
            is_ldro=bool(ldro),
        )


@dataclass(kw_only=True)
class LoraPacket:
    """Parameters of SetPacketParams; raises ValueError outside data sheet tables 13-67 to 13-71."""

    preamble_symbols: int
    is_explicit: bool
    payload_len: int
    has_crc: bool
    is_inverted: bool

    @classmethod
    def parse(cls, params: bytes) -> "LoraPacket":
        preamble = int.from_bytes(params[:2], "big")
        header, payload_len, crc, inverted = params[2:6]
        if preamble == 0 or header > 1 or crc > 1 or inverted > 1:
            raise ValueError(f"SetPacketParams {params.hex()}: out of range")
        return cls(
            preamble_symbols=preamble,
            is_explicit=not header,
            payload_len=payload_len,
            has_crc=bool(crc),
            is_inverted=bool(inverted),
        )


@dataclass(frozen=True, kw_only=True)
class PowerAmplifier:
    """SetPaConfig. What a chip holds that was never told is not in the data sheet; a weak setting is assumed."""

    duty_cycle: int = 1
    hp_max: int = 1
    is_sx1261: bool = False


@dataclass(frozen=True, kw_only=True)
class CadParams:
    symbols: int = 4
    det_peak: int = 22
    exits_to_rx: bool = False
    timeout_steps: int = 0


@dataclass(kw_only=True)
class Settings:
    packet_type: int = GFSK
    freq_hz: int | None = None
    modulation: LoraModulation | None = None
    packet: LoraPacket | None = None
    pa: PowerAmplifier = field(default_factory=PowerAmplifier)
    power_dbm: int = 0
    tx_base: int = 0
    rx_base: int = 0
    irq_mask: int = 0
    dio1_mask: int = 0
    uses_dcdc: bool = False
    tcxo_code: int | None = None
    tcxo_delay_us: int = 0
    dio2_is_rf_switch: bool = False
    fallback: Mode = Mode.STDBY_RC
    stops_timer_on_preamble: bool = False
    symbol_timeout: int = 0
    cad: CadParams = field(default_factory=CadParams)

    def is_lora_ready(self) -> bool:
        return self.packet_type == LORA and self.modulation is not None and self.packet is not None

    def waveform(self, sync_word: int) -> Modulation:
        """The modulation on the air. Only when is_lora_ready() and a frequency is set."""
        assert self.modulation is not None
        assert self.packet is not None
        return Modulation(
            freq_hz=self.freq_hz or 0,
            spreading_factor=self.modulation.spreading_factor,
            bandwidth_divisor=self.modulation.bandwidth_divisor,
            coding_rate=self.modulation.coding_rate,
            is_ldro=self.modulation.is_ldro,
            sync_word=sync_word,
            is_inverted=self.packet.is_inverted,
        )


def freq_hz_of(register: int) -> int:
    """Data sheet 13.4.1: frequency = register * 32 MHz / 2^25."""
    return round(register * _XTAL_HZ / (1 << 25))
