"""Board data: pins, chips, rails and band of one board, read from boards/<name>.toml.

Drivers and firmware know no pins. A node gets this as /board.json at provisioning; `None` means the board has none.
"""

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


class BoardError(Exception):
    """No such board, or its file is wrong: the message says which, and what there is."""


@dataclass(frozen=True, kw_only=True)
class Spi:
    id: int
    sck: int
    mosi: int
    miso: int


@dataclass(frozen=True, kw_only=True)
class Radio:
    """`busy` and `dio1` of an SX126x; `dio0` is the interrupt of an SX127x.

    rxen, txen    antenna switch: high while receiving, while transmitting
    ant_sw        supply of the antenna switch: high while the radio is used at all
    dio1_wakes    dio1 is on an RTC pin, so that the radio can wake the board from deep sleep
    """

    chip: str
    nss: int | None
    reset: int
    busy: int | None = None
    dio1: int | None = None
    dio0: int | None = None
    tcxo_v: float | None = None
    dio2_rf_switch: bool = False
    rxen: int | None = None
    txen: int | None = None
    ant_sw: int | None = None
    dcdc: bool = True
    dio1_wakes: bool = False


@dataclass(frozen=True, kw_only=True)
class I2c:
    id: int
    sda: int
    scl: int


@dataclass(frozen=True, kw_only=True)
class Uart:
    """The port that a PMS5003 is wired to."""

    id: int
    tx: int
    rx: int


@dataclass(frozen=True, kw_only=True)
class Battery:
    """Volts at the cell = volts at `pin` x `ratio`. `enable` switches the divider on at `enable_level`."""

    pin: int
    ratio: float
    enable: int | None = None
    enable_level: int = 0


@dataclass(frozen=True, kw_only=True)
class Switch:
    """The pin that a float switch or another contact to ground is wired to. `wakes`: it is an RTC pin, for EXT0."""

    pin: int
    wakes: bool = False


@dataclass(frozen=True, kw_only=True)
class Rail:
    """A switched supply, or an output that orders may switch: on while `pin` is at `on_level`."""

    pin: int
    on_level: int


@dataclass(frozen=True, kw_only=True)
class Pmu:
    """A power chip on I2C; the radio is dead until `radio_rail` is on."""

    chip: str
    sda: int
    scl: int
    radio_rail: str


@dataclass(frozen=True, kw_only=True)
class Board:
    name: str
    mcu: str
    band: str
    source: str
    spi: Spi
    radio: Radio
    flash_kib: int = 0
    vfs_kib: int = 0
    i2c: I2c | None = None
    uart: Uart | None = None
    water_adc: int | None = None
    button: int | None = None
    led: int | None = None
    battery: Battery | None = None
    switch: Switch | None = None
    output: Rail | None = None
    vext: Rail | None = None
    pmu: Pmu | None = None
    inferred: tuple[str, ...] = ()

    def to_json(self) -> str:
        """What a node reads as /board.json: all but what only the host side wants to know."""
        facts = {key: value for key, value in asdict(self).items() if key not in _HOST_ONLY}
        return json.dumps(facts, separators=(",", ":"))


# GPIOs that can end a deep sleep (EXT0, EXT1): ESP32 and ESP32-S3 datasheets, "RTC IO" of the pin tables.
RTC_PINS = {
    "esp32": frozenset((0, 2, 4, 12, 13, 14, 15, 25, 26, 27, *range(32, 40))),
    "esp32s3": frozenset(range(22)),
}

_HOST_ONLY = ("mcu", "source", "flash_kib", "vfs_kib", "inferred")
_PARTS: dict[str, type[Any]] = {
    "spi": Spi,
    "radio": Radio,
    "i2c": I2c,
    "uart": Uart,
    "battery": Battery,
    "switch": Switch,
    "output": Rail,
    "vext": Rail,
    "pmu": Pmu,
}


def names() -> list[str]:
    """All boards there is a file for."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load(name: str) -> Board:
    """The board of boards/<name>.toml. Raises BoardError."""
    path = _FOLDER / f"{name}.toml"
    if name not in names():
        raise BoardError(f"no board is called {name!r}; there are {', '.join(names())}")
    try:
        table = tomllib.loads(path.read_text())
        return Board(name=name, **{key: _part(key, value) for key, value in table.items()})
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise BoardError(f"{path.name} is wrong: {error}") from error


def _part(key: str, value: Any) -> Any:
    if key in _PARTS:
        return _PARTS[key](**value)
    return tuple(value) if isinstance(value, list) else value
