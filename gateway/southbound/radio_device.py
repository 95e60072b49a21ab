"""Gets the LoRa radio that gateway.toml names: on a Raspberry Pi's SPI, or on a virtual street."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers.bus import linux
from drivers.bus.remote import RemoteBoard
from drivers.radio.sx126x import SX126x
from gateway.config import LoraSouthbound


@dataclass(frozen=True, kw_only=True)
class Device:
    """A radio and how to give back what it sits on."""

    radio: Any
    close: Callable[[], None]


def open_device(config: LoraSouthbound) -> Device:
    """Open bus and pins; the chip itself is not asked yet. Raises OSError or linux.BusError, with the next step."""
    kind, _, where = config.device.partition(":")
    return _open_virtual(where) if kind == "virtual" else _open_spi(where, config)


def _open_virtual(path: str) -> Device:
    remote: Any = RemoteBoard(path)
    board = remote.board()
    chip = board["radio"]
    pin = remote.Pin

    def output(number: int | None, level: int) -> Any:
        return None if number is None else pin(number, pin.OUT, value=level)

    radio = SX126x(
        remote.SPI(board["spi"]["id"]),
        output(chip["nss"], 1),
        output(chip["reset"], 1),
        pin(chip["busy"], pin.IN),
        pin(chip["dio1"], pin.IN),
        tcxo_v=chip["tcxo_v"],
        dio2_rf_switch=chip["dio2_rf_switch"],
        rxen=output(chip["rxen"], 0),
        txen=output(chip["txen"], 0),
        dcdc=chip["dcdc"],
    )
    return Device(radio=radio, close=remote.close)


def _open_spi(where: str, config: LoraSouthbound) -> Device:
    opened: list[Any] = []

    def keep(one: Any) -> Any:
        opened.append(one)
        return one

    def output(number: int | None, level: int) -> Any:
        return None if number is None else keep(linux.Pin(number, linux.Pin.OUT, value=level))

    def close() -> None:
        for one in reversed(opened):
            one.deinit()

    bus, chip_select = map(int, where.split("."))
    try:
        spi = keep(linux.SPI(bus, chip_select, drives_nss=config.nss_pin is None))
        output(config.ant_sw_pin, 1)
        radio = SX126x(
            spi,
            output(config.nss_pin, 1),
            output(config.reset_pin, 1),
            keep(linux.Pin(config.busy_pin)),
            keep(linux.Pin(config.dio1_pin)),
            tcxo_v=config.tcxo_v,
            dio2_rf_switch=config.dio2_rf_switch,
            rxen=output(config.rxen_pin, 0),
            txen=output(config.txen_pin, 0),
        )
    except BaseException:
        close()
        raise
    return Device(radio=radio, close=close)
