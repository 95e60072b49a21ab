"""Between the SX1262's modem and the antenna: oscillator, calibration, amplifier, switch; and how the board is wired.

A missing step costs what it would cost outside: an uncalibrated image or a closed switch costs decibels, a silent
oscillator costs everything.
"""

from dataclasses import dataclass

from boards.virtual.chips.sx1262 import errata
from boards.virtual.chips.sx1262.modes import DeviceError
from boards.virtual.chips.sx1262.registers import OCP, RX_GAIN, RX_GAIN_BOOSTED, Registers
from boards.virtual.chips.sx1262.settings import PowerAmplifier, Settings

TCXO_V = (1.6, 1.7, 1.8, 2.2, 2.4, 2.7, 3.0, 3.3)  # data sheet table 13-35
TCXO_START_US = 1_000  # what the crystal on the board needs; drivers allow 5 to 10 ms
CALIBRATE_ALL = 0x7F
CALIBRATE_PLL, CALIBRATE_ADC, CALIBRATE_IMAGE = 0x08, 0x30, 0x40  # data sheet table 13-18
_DEFAULT_IMAGE_MHZ = (902, 928)  # data sheet 9.2.1

_NOISE_FIGURE_DB = 6.0  # gives the data sheet's -124 dBm (SF7) and -137 dBm (SF12) at 125 kHz
_POWER_SAVE_DB = 2.0  # receiver gain not boosted
_NO_IMAGE_CALIBRATION_DB = 10.0  # ours
_NO_ADC_CALIBRATION_DB = 20.0  # ours
_CLOSED_SWITCH_DB = 30.0  # isolation of a usual antenna switch
_POWER_RANGE_DBM = (-9, 22)  # data sheet table 13-40, high-power amplifier
# Most power by hpMax (data sheet table 13-21: 7, 5, 3 and 2 are the optimal settings for 22, 20, 17 and 14 dBm)
_MOST_DBM = (0, 10, 14, 17, 18, 20, 21, 22)
_NEEDED_MA = ((22, 118), (20, 95), (17, 65), (14, 45), (10, 35))  # data sheet table 3-4, in between ours


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How the board connects the chip. The default is a board like Heltec V3: TCXO of 1.8 V, DIO2 turns the switch."""

    tcxo_v: float | None = 1.8
    needs_dio2_switch: bool = True
    needs_rxen: bool = False  # a pin of the board must be high to receive
    needs_txen: bool = False  # and one to transmit
    has_dcdc: bool = True  # the inductor is there
    antenna_dbi: float = 0.0


class FrontEnd:
    def __init__(self, fitting: Fitting) -> None:
        self.fitting = fitting
        self.rxen = self.txen = 0
        self._calibrated = 0
        self._image_mhz = _DEFAULT_IMAGE_MHZ

    def power_on(self) -> None:
        """The chip calibrates itself at start, which fails where nobody has powered its TCXO yet (data sheet 9.2)."""
        self._image_mhz = _DEFAULT_IMAGE_MHZ
        self._calibrated = CALIBRATE_ALL if self.fitting.tcxo_v is None else 0

    def calibrate(self, blocks: int) -> None:
        self._calibrated |= blocks

    def calibrate_image(self, low: int, high: int) -> None:
        """Parameters count in 4 MHz."""
        self._image_mhz = (4 * low, 4 * high)
        self._calibrated |= CALIBRATE_IMAGE

    def fault(self, settings: Settings, *, synthesiser: bool) -> DeviceError | None:
        """What keeps the oscillator, and with it the synthesiser, from running; None if nothing does."""
        if not self._oscillator_runs(settings):
            return DeviceError.XOSC_START
        return DeviceError.PLL_LOCK if synthesiser and not self._synthesiser_locks(settings) else None

    def noise_figure_db(self, settings: Settings, registers: Registers) -> float:
        figure_db = _NOISE_FIGURE_DB
        if registers.read(RX_GAIN) != RX_GAIN_BOOSTED:
            figure_db += _POWER_SAVE_DB
        if self._calibrated & CALIBRATE_ADC != CALIBRATE_ADC:
            figure_db += _NO_ADC_CALIBRATION_DB
        low_mhz, high_mhz = self._image_mhz
        is_image_right = low_mhz <= (settings.freq_hz or 0) / 1e6 <= high_mhz
        if not (is_image_right and self._calibrated & CALIBRATE_IMAGE):
            figure_db += _NO_IMAGE_CALIBRATION_DB
        return figure_db

    def receive_gain_db(self, settings: Settings) -> float:
        return self._switched_dbi(settings, is_open=bool(self.rxen) or not self.fitting.needs_rxen)

    def radiated_dbm(self, settings: Settings, registers: Registers) -> float:
        """What leaves the antenna: amplifier and limits, less switch losses."""
        asked_dbm = min(max(settings.power_dbm, _POWER_RANGE_DBM[0]), _POWER_RANGE_DBM[1])
        chip_dbm = asked_dbm - (_POWER_RANGE_DBM[1] - _most_dbm(settings.pa))
        chip_dbm = min(chip_dbm, _ocp_limit_dbm(registers)) - errata.clamp_loss_db(registers)
        return chip_dbm + self._switched_dbi(settings, is_open=bool(self.txen) or not self.fitting.needs_txen)

    def _oscillator_runs(self, settings: Settings) -> bool:
        """False: a TCXO without its supply, with too little voltage, or given too little time."""
        needed_v = self.fitting.tcxo_v
        if needed_v is None:
            return True
        if settings.tcxo_code is None:
            return False
        return TCXO_V[settings.tcxo_code] >= needed_v and settings.tcxo_delay_us >= TCXO_START_US

    def _synthesiser_locks(self, settings: Settings) -> bool:
        if settings.uses_dcdc and not self.fitting.has_dcdc:
            return False
        in_range = settings.freq_hz is not None and 150_000_000 <= settings.freq_hz <= 960_000_000
        return in_range and bool(self._calibrated & CALIBRATE_PLL)

    def _switched_dbi(self, settings: Settings, *, is_open: bool) -> float:
        is_turned = settings.dio2_is_rf_switch or not self.fitting.needs_dio2_switch
        return self.fitting.antenna_dbi - (0.0 if is_open and is_turned else _CLOSED_SWITCH_DB)


def is_overdriven(pa: PowerAmplifier) -> bool:
    """Data sheet 13.1.14: a duty cycle above 4 (or hpMax above 7) can destroy the SX1262's amplifier."""
    return pa.duty_cycle > 4 or pa.hp_max > 7


def _most_dbm(pa: PowerAmplifier) -> float:
    if pa.is_sx1261:
        return -10.0  # the low-power amplifier is not connected to anything
    return _MOST_DBM[min(pa.hp_max, 7)]


def _ocp_limit_dbm(registers: Registers) -> float:
    """The over-current protection (2.5 mA per step) holds the amplifier to the power it can feed."""
    allowed_ma = 2.5 * (registers.read(OCP) & 0x3F)
    return next((dbm for dbm, needed_ma in _NEEDED_MA if needed_ma <= allowed_ma), 0.0)
