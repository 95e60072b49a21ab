"""What each opcode of the SX1262 does. Source: data sheet chapter 13 and table 11-1 to 11-5 (opcodes, lengths).

A write takes effect when NSS rises; a read answers with one status byte after its parameters, then data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from boards.virtual.chips.sx1262 import errata, front_end, modes
from boards.virtual.chips.sx1262.modes import Mode
from boards.virtual.chips.sx1262.radio import NotPossibleError, RadioCore
from boards.virtual.chips.sx1262.receiver import rssi_byte
from boards.virtual.chips.sx1262.registers import OCP
from boards.virtual.chips.sx1262.settings import (
    GFSK,
    LORA,
    CadParams,
    LoraModulation,
    LoraPacket,
    PowerAmplifier,
    freq_hz_of,
)

GET_STATUS = 0xC0
_ANY = 255


@dataclass(frozen=True, kw_only=True)
class Write:
    """`fewest` to `most` parameter bytes. Unless `while_active`, refused while the radio receives or transmits."""

    name: str
    fewest: int
    most: int
    run: Callable[[RadioCore, bytes], None]
    while_active: bool = False


@dataclass(frozen=True, kw_only=True)
class Read:
    """`params` bytes behind the opcode, then `answer` gives data byte number k."""

    name: str
    params: int
    answer: Callable[[RadioCore, bytes], Callable[[int], int]]


def _set_sleep(radio: RadioCore, params: bytes) -> None:
    radio.sleep(is_warm=bool(params[0] & 0x04))


def _set_standby(radio: RadioCore, params: bytes) -> None:
    radio.standby(Mode.STDBY_XOSC if _choice(params[0], 2) else Mode.STDBY_RC)


def _set_packet_type(radio: RadioCore, params: bytes) -> None:
    if params[0] not in (GFSK, LORA):
        raise ValueError(f"SetPacketType {params[0]}: only GFSK (0) and LoRa (1) are modelled")
    if radio.settings.packet_type != params[0]:
        radio.settings.packet_type = params[0]
        radio.settings.modulation = radio.settings.packet = None


def _set_modulation(radio: RadioCore, params: bytes) -> None:
    if radio.settings.packet_type != LORA:
        raise NotPossibleError("SetModulationParams: GFSK is not modelled")
    radio.settings.modulation = LoraModulation.parse(params)


def _set_packet(radio: RadioCore, params: bytes) -> None:
    if radio.settings.packet_type != LORA:
        raise NotPossibleError("SetPacketParams: GFSK is not modelled")
    radio.settings.packet = LoraPacket.parse(params)
    errata.spoil_iq_bit(radio.registers)


def _set_frequency(radio: RadioCore, params: bytes) -> None:
    radio.settings.freq_hz = freq_hz_of(_number(params))


def _set_pa_config(radio: RadioCore, params: bytes) -> None:
    duty_cycle, hp_max, device, lut = params
    if device > 1 or lut != 1:
        raise ValueError(f"SetPaConfig {params.hex()}: deviceSel must be 0 or 1, paLut 1")
    pa = PowerAmplifier(duty_cycle=duty_cycle, hp_max=hp_max, is_sx1261=device == 1)
    radio.settings.pa = pa
    radio.registers.write(OCP, 0x18 if pa.is_sx1261 else 0x38)  # data sheet 13.1.14 and 5.4
    if front_end.is_overdriven(pa):
        radio.counters["pa_overdriven"] += 1


def _set_tx_params(radio: RadioCore, params: bytes) -> None:
    power_dbm = params[0] - 256 if params[0] > 127 else params[0]
    low, high = (-17, 14) if radio.settings.pa.is_sx1261 else (-9, 22)
    if not low <= power_dbm <= high or params[1] > 7:
        raise ValueError(f"SetTxParams {power_dbm} dBm, ramp {params[1]}: out of range")
    radio.settings.power_dbm = power_dbm


def _set_tcxo(radio: RadioCore, params: bytes) -> None:
    if radio.mode is not Mode.STDBY_RC:
        raise NotPossibleError("SetDio3AsTcxoCtrl: only in STDBY_RC")
    radio.settings.tcxo_code = _choice(params[0], 8)
    radio.settings.tcxo_delay_us = modes.timer_us(_number(params[1:4]))


def _set_regulator(radio: RadioCore, params: bytes) -> None:
    if radio.mode not in modes.STANDBY:
        raise NotPossibleError("SetRegulatorMode: only in standby")
    radio.settings.uses_dcdc = bool(_choice(params[0], 2))


def _set_fallback(radio: RadioCore, params: bytes) -> None:
    known = {0x20: Mode.STDBY_RC, 0x30: Mode.STDBY_XOSC, 0x40: Mode.FS}
    if params[0] not in known:
        raise ValueError(f"SetRxTxFallbackMode 0x{params[0]:02x}: must be 0x20, 0x30 or 0x40")
    radio.settings.fallback = known[params[0]]


def _set_irq(radio: RadioCore, params: bytes) -> None:
    """DIO2 and DIO3 masks are taken and have no pin here."""
    radio.settings.irq_mask, radio.settings.dio1_mask = _number(params[0:2]), _number(params[2:4])


def _clear_irq(radio: RadioCore, params: bytes) -> None:
    radio.irq &= ~_number(params)


def _set_cad(radio: RadioCore, params: bytes) -> None:
    symbols, det_peak, _det_min, exit_mode = params[:4]
    if symbols > 4 or exit_mode > 1:
        raise ValueError(f"SetCadParams {params.hex()}: out of range")
    radio.settings.cad = CadParams(
        symbols=1 << symbols, det_peak=det_peak, exits_to_rx=bool(exit_mode), timeout_steps=_number(params[4:7])
    )


def _set_bases(radio: RadioCore, params: bytes) -> None:
    radio.settings.tx_base, radio.settings.rx_base = params


def _set_symbol_timeout(radio: RadioCore, params: bytes) -> None:
    radio.settings.symbol_timeout = params[0]


def _stop_on_preamble(radio: RadioCore, params: bytes) -> None:
    radio.settings.stops_timer_on_preamble = bool(_choice(params[0], 2))


def _set_dio2_switch(radio: RadioCore, params: bytes) -> None:
    radio.settings.dio2_is_rf_switch = bool(_choice(params[0], 2))


def _write_register(radio: RadioCore, params: bytes) -> None:
    address = _number(params[:2])
    for i, value in enumerate(params[2:]):
        radio.registers.write(address + i, value)
        radio.timers.stray.register_written(address + i, value)


def _write_buffer(radio: RadioCore, params: bytes) -> None:
    for i, value in enumerate(params[1:]):
        radio.buffer[(params[0] + i) & 0xFF] = value


def _clear_errors(radio: RadioCore, _params: bytes) -> None:
    radio.device_errors = 0


def _reset_stats(radio: RadioCore, params: bytes) -> None:
    if params:  # without parameters 0x00 is the NOP that hosts send to clock data out
        radio.stats = [0, 0, 0]


WRITES = {
    0x84: Write(name="SetSleep", fewest=1, most=1, run=_set_sleep),
    0x80: Write(name="SetStandby", fewest=1, most=1, run=_set_standby, while_active=True),
    0xC1: Write(name="SetFs", fewest=0, most=0, run=lambda radio, _: radio.synthesise(), while_active=True),
    0x83: Write(name="SetTx", fewest=3, most=3, run=lambda r, p: r.transmit(_number(p)), while_active=True),
    0x82: Write(name="SetRx", fewest=3, most=3, run=lambda r, p: r.receive(_number(p)), while_active=True),
    0x9F: Write(name="StopTimerOnPreamble", fewest=1, most=1, run=_stop_on_preamble),
    0x94: Write(
        name="SetRxDutyCycle",
        fewest=6,
        most=6,
        run=lambda radio, p: radio.receive_in_windows(_number(p[:3]), _number(p[3:])),
    ),
    0xC5: Write(name="SetCad", fewest=0, most=0, run=lambda radio, _: radio.detect_activity(), while_active=True),
    0xD1: Write(
        name="SetTxContinuousWave", fewest=0, most=0, run=lambda radio, _: radio.transmit_noise(is_preamble=False)
    ),
    0xD2: Write(
        name="SetTxInfinitePreamble", fewest=0, most=0, run=lambda radio, _: radio.transmit_noise(is_preamble=True)
    ),
    0x96: Write(name="SetRegulatorMode", fewest=1, most=1, run=_set_regulator),
    0x89: Write(name="Calibrate", fewest=1, most=1, run=lambda radio, p: radio.calibrate(p[0])),
    0x98: Write(name="CalibrateImage", fewest=2, most=2, run=lambda radio, p: radio.calibrate_image(p[0], p[1])),
    0x95: Write(name="SetPaConfig", fewest=4, most=4, run=_set_pa_config),
    0x93: Write(name="SetRxTxFallbackMode", fewest=1, most=1, run=_set_fallback),
    0x0D: Write(name="WriteRegister", fewest=3, most=_ANY, run=_write_register, while_active=True),
    0x0E: Write(name="WriteBuffer", fewest=2, most=_ANY + 2, run=_write_buffer, while_active=True),
    0x08: Write(name="SetDioIrqParams", fewest=8, most=8, run=_set_irq, while_active=True),
    0x02: Write(name="ClearIrqStatus", fewest=2, most=2, run=_clear_irq, while_active=True),
    0x9D: Write(name="SetDio2AsRfSwitchCtrl", fewest=1, most=1, run=_set_dio2_switch),
    0x97: Write(name="SetDio3AsTcxoCtrl", fewest=4, most=4, run=_set_tcxo),
    0x86: Write(name="SetRfFrequency", fewest=4, most=4, run=_set_frequency),
    0x8A: Write(name="SetPacketType", fewest=1, most=1, run=_set_packet_type),
    0x8E: Write(name="SetTxParams", fewest=2, most=2, run=_set_tx_params),
    0x8B: Write(name="SetModulationParams", fewest=4, most=8, run=_set_modulation),
    0x8C: Write(name="SetPacketParams", fewest=6, most=9, run=_set_packet),
    0x88: Write(name="SetCadParams", fewest=7, most=7, run=_set_cad),
    0x8F: Write(name="SetBufferBaseAddress", fewest=2, most=2, run=_set_bases),
    0xA0: Write(name="SetLoRaSymbNumTimeout", fewest=1, most=1, run=_set_symbol_timeout),
    0x07: Write(name="ClearDeviceErrors", fewest=2, most=2, run=_clear_errors, while_active=True),
    0x00: Write(name="ResetStats", fewest=0, most=_ANY, run=_reset_stats, while_active=True),
}


def _bytes(get: Callable[[RadioCore], bytes]) -> Callable[[RadioCore, bytes], Callable[[int], int]]:
    """An answer of fixed length; a host that clocks on reads zeros."""

    def answer(radio: RadioCore, _params: bytes) -> Callable[[int], int]:
        data = get(radio)
        return lambda k: data[k] if k < len(data) else 0

    return answer


def _read_register(radio: RadioCore, params: bytes) -> Callable[[int], int]:
    return lambda k: radio.registers.read(_number(params) + k)


def _read_buffer(radio: RadioCore, params: bytes) -> Callable[[int], int]:
    return lambda k: radio.buffer[(params[0] + k) & 0xFF]


def _rssi(radio: RadioCore) -> bytes:
    return bytes((rssi_byte(radio.rssi_dbm()),))


def _word(value: int) -> bytes:
    return (value & 0xFFFF).to_bytes(2, "big")


_fixed = partial(Read, params=0)
READS = {
    0x1D: Read(name="ReadRegister", params=2, answer=_read_register),
    0x1E: Read(name="ReadBuffer", params=1, answer=_read_buffer),
    GET_STATUS: _fixed(name="GetStatus", answer=_bytes(lambda radio: b"")),
    0x12: _fixed(name="GetIrqStatus", answer=_bytes(lambda radio: _word(radio.irq))),
    0x11: _fixed(name="GetPacketType", answer=_bytes(lambda radio: bytes((radio.settings.packet_type,)))),
    0x13: _fixed(name="GetRxBufferStatus", answer=_bytes(lambda radio: bytes(radio.rx_status))),
    0x14: _fixed(name="GetPacketStatus", answer=_bytes(lambda radio: radio.packet_status)),
    0x15: _fixed(name="GetRssiInst", answer=_bytes(_rssi)),
    0x10: _fixed(name="GetStats", answer=_bytes(lambda radio: b"".join(_word(n) for n in radio.stats))),
    0x17: _fixed(name="GetDeviceErrors", answer=_bytes(lambda radio: _word(radio.device_errors))),
}


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _choice(value: int, count: int) -> int:
    if value >= count:
        raise ValueError(f"parameter {value}: must lie below {count}")
    return value
