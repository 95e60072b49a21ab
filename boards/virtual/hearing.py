"""What one receiver makes of one transmission among others: is it loud enough, and does it survive the company?

Pure functions over what is on the air; who listens when is the chip's business. Counters and chance are the air's.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from boards.virtual.propagation import CAPTURE_DB, CROSS_SF_DB, SNR_LIMIT_DB, noise_dbm, path_loss_db, sum_dbm
from boards.virtual.waveform import Modulation, Packet, airtime_us, header_us, preamble_us

DETECT_SYMBOLS = 4  # of a preamble that must be heard to lock on it (the data sheet recommends 5 and more for CAD + RX)


@dataclass(frozen=True, kw_only=True)
class Ear:
    """A receiver's place and quality; `gain_db` is the antenna's less everything between it and the chip."""

    name: str
    position_m: tuple[float, float]
    gain_db: float
    noise_figure_db: float


@dataclass(eq=False, kw_only=True)
class Transmission:
    """One packet on the air. `ends_us` is earlier than `planned_end_us` if the sender fell silent in the middle."""

    number: int
    sender: str
    position_m: tuple[float, float]
    power_dbm: float  # radiated
    modulation: Modulation
    packet: Packet
    starts_us: int
    modulation_loss_db: float = 0.0  # erratum 15.1 ignored by the sender
    has_wrong_iq_bit: bool = False  # erratum 15.4 ignored by the sender
    is_lost: bool = False  # by order of a test: nobody hears it
    is_corrupt: bool = False  # by order of a test: everybody gets a wrong payload
    planned_end_us: int = field(init=False)
    header_at_us: int = field(init=False)
    preamble_end_us: int = field(init=False)
    ends_us: int = field(init=False)

    def __post_init__(self) -> None:
        self.planned_end_us = self.ends_us = self.starts_us + airtime_us(self.modulation, self.packet)
        self.header_at_us = self.starts_us + header_us(self.modulation, self.packet)
        self.preamble_end_us = self.starts_us + preamble_us(self.modulation, self.packet)

    @property
    def airtime_us(self) -> int:
        return self.planned_end_us - self.starts_us

    @property
    def detect_us(self) -> int:
        """How long a receiver must hear the preamble."""
        return DETECT_SYMBOLS * self.modulation.symbol_us


@dataclass(eq=False, kw_only=True)
class Jam:
    """Noise on a band: a jammer, or a chip that sends a carrier."""

    sender: str
    freq_hz: int
    bandwidth_hz: float
    power_dbm: float
    position_m: tuple[float, float]
    starts_us: int
    ends_us: int


def is_same_channel(listener: Modulation, sent: Modulation) -> bool:
    """Same chirps, and the frequency within a quarter of the bandwidth (data sheet 6.1.1)."""
    return (
        abs(listener.freq_hz - sent.freq_hz) * 4 <= sent.bandwidth_hz
        and listener.spreading_factor == sent.spreading_factor
        and listener.bandwidth_divisor == sent.bandwidth_divisor
    )


def is_tuned(listener: Modulation, sent: Modulation) -> bool:
    """Everything a receiver needs to lock on a packet."""
    return (
        is_same_channel(listener, sent)
        and listener.sync_word == sent.sync_word
        and listener.is_inverted == sent.is_inverted
    )


def signal_dbm(sent: Transmission | Jam, ear: Ear) -> float:
    freq_hz = sent.freq_hz if isinstance(sent, Jam) else sent.modulation.freq_hz
    return sent.power_dbm - path_loss_db(sent.position_m, ear.position_m, freq_hz) + ear.gain_db


def snr_db(sent: Transmission, ear: Ear, jams: Iterable[Jam], from_us: int, to_us: int) -> float:
    """Signal over noise and jammers in one part of a packet, less what a badly modulated signal costs."""
    bandwidth_hz = sent.modulation.bandwidth_hz
    floor_dbm = sum_dbm(
        noise_dbm(bandwidth_hz, ear.noise_figure_db),
        *(
            signal_dbm(jam, ear)
            for jam in jams
            if meets(jam, from_us, to_us)
            and shares_band(jam.freq_hz, jam.bandwidth_hz, sent.modulation.freq_hz, bandwidth_hz)
        ),
    )
    return signal_dbm(sent, ear) - floor_dbm - sent.modulation_loss_db


def is_loud(sent: Transmission, ear: Ear, jams: Iterable[Jam], from_us: int, to_us: int) -> bool:
    return snr_db(sent, ear, jams, from_us, to_us) >= SNR_LIMIT_DB[sent.modulation.spreading_factor]


def survives(sent: Transmission, ear: Ear, others: Iterable[Transmission], from_us: int, to_us: int) -> bool:
    """True if no other packet drowns this one between the two moments (capture effect)."""
    level_dbm = signal_dbm(sent, ear)
    return all(
        level_dbm - signal_dbm(other, ear) >= _rejection_db(sent.modulation, other.modulation)
        for other in others
        if other is not sent and meets(other, from_us, to_us) and overlaps(sent.modulation, other.modulation)
    )


def _rejection_db(a: Modulation, b: Modulation) -> float:
    is_same_chirp = (a.spreading_factor, a.bandwidth_divisor, a.is_inverted) == (
        b.spreading_factor,
        b.bandwidth_divisor,
        b.is_inverted,
    )
    return CAPTURE_DB if is_same_chirp else CROSS_SF_DB


def meets(sent: Transmission | Jam, from_us: int, to_us: int) -> bool:
    return sent.starts_us < to_us and sent.ends_us > from_us


def overlaps(a: Modulation, b: Modulation) -> bool:
    return shares_band(a.freq_hz, a.bandwidth_hz, b.freq_hz, b.bandwidth_hz)


def shares_band(a_hz: int, a_width_hz: float, b_hz: int, b_width_hz: float) -> bool:
    return abs(a_hz - b_hz) * 2 < a_width_hz + b_width_hz
