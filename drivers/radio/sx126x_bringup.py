"""An SX1261/2 from reset or cold start to standby in LoRa mode, and what is wrong if it does not get there.

Source: Semtech SX1261/2 datasheet rev 2.1: 9.2 (start-up), 13.3.6 (TCXO), 13.6 (device errors), 14.1 (order).
"""

from drivers.constant import const
from drivers.radio.lora import RadioError

_SET_REGULATOR_MODE = const(0x96)
_CALIBRATE = const(0x89)
_SET_FALLBACK_MODE = const(0x93)
_SET_DIO_IRQ_PARAMS = const(0x08)
_SET_DIO2_AS_RF_SWITCH = const(0x9D)
_SET_DIO3_AS_TCXO = const(0x97)
_SET_PACKET_TYPE = const(0x8A)
_SET_BUFFER_BASE = const(0x8F)
_GET_DEVICE_ERRORS = const(0x17)
_CLEAR_DEVICE_ERRORS = const(0x07)

_REG_RX_GAIN = const(0x08AC)
_REG_RETENTION = const(0x029F)
_POWER_ON_SYNC_WORD = const(0x1424)
_ERROR_XOSC = const(0x20)
_ALL_BLOCKS = const(0x7F)
_STANDBY_RC_AFTER_PACKETS = const(0x20)
TCXO_VOLTS = (1.6, 1.7, 1.8, 2.2, 2.4, 2.7, 3.0, 3.3)
TCXO_START_MS = 5


async def bring_up(chip, *, tcxo_v, dio2_rf_switch, dcdc, rx_boosted, irq_mask, dio1_mask):
    """Leave `chip` standing by, calibrated but for the image. Raises RadioError, which says what to check."""
    chip.stand_by()
    _require_answer(chip)
    if tcxo_v is not None:
        steps = TCXO_START_MS * 64
        chip.command(_SET_DIO3_AS_TCXO, TCXO_VOLTS.index(tcxo_v), steps >> 16, steps >> 8, steps)
        chip.command(_CLEAR_DEVICE_ERRORS, 0, 0)  # XOSC_START_ERR: the chip tried before the TCXO had its supply
    chip.command(_SET_REGULATOR_MODE, 1 if dcdc else 0)
    chip.command(_CALIBRATE, _ALL_BLOCKS)
    await chip.wait_ready(100)
    _require_no_errors(chip, tcxo_v)
    if dio2_rf_switch:
        chip.command(_SET_DIO2_AS_RF_SWITCH, 1)
    chip.command(_SET_FALLBACK_MODE, _STANDBY_RC_AFTER_PACKETS)
    chip.command(_SET_PACKET_TYPE, 1)  # LoRa
    chip.command(_SET_BUFFER_BASE, 0, 0)
    chip.fix_antenna_mismatch()
    chip.write_register(_REG_RX_GAIN, 0x96 if rx_boosted else 0x94)
    # Kept through warm sleep beside what the chip keeps by itself: RX gain, TX modulation (15.1), IQ polarity (15.4).
    chip.write_register(_REG_RETENTION, 3, 0x08, 0xAC, 0x08, 0x89, 0x07, 0x36)
    chip.command(_SET_DIO_IRQ_PARAMS, irq_mask >> 8, irq_mask, dio1_mask >> 8, dio1_mask, 0, 0, 0, 0)


def _require_answer(chip):
    """The sync word after power-on is known (12.1): whoever answers with it is an SX126x."""
    seen = chip.sync_word()
    if seen in (0x0000, 0xFFFF):
        raise RadioError("no radio answers on SPI (reads 0x%04x); check NSS, MISO and the radio's supply rail" % seen)
    if seen != _POWER_ON_SYNC_WORD:
        raise RadioError(
            "what answers on SPI is no SX1261 or SX1262 (0x%04x at 0x0740, not 0x1424); check the board file" % seen
        )


def _require_no_errors(chip, tcxo_v):
    chip.query(_GET_DEVICE_ERRORS, 2)
    errors = chip.bytes[2] << 8 | chip.bytes[3]
    if errors & _ERROR_XOSC:
        raise RadioError("the radio's oscillator does not start; check tcxo_v in the board file (now %s)" % tcxo_v)
    if errors:
        raise RadioError("the radio fails its calibration (device errors 0x%04x); check its supply" % errors)
