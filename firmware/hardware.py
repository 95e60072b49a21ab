"""From the board's data file to buses, sensors, radio and pins: the only place that knows `machine`.

/board.json is written at provisioning from boards/<name>.toml; its keys are the fields of boards.data.Board.
"""

import json

import machine

from firmware.config_error import ConfigError


def load_board(path):
    """Read the board file. Raises ConfigError."""
    try:
        with open(path) as file:
            return json.load(file)
    except OSError:
        raise ConfigError(path, "there is no such file; provision this node: lamppost enrol")
    except ValueError as error:
        raise ConfigError(path, "not valid JSON (%s); provision this node again: lamppost enrol" % error)


def is_button_held(board):
    """Whether the board's button is down (it pulls to ground)."""
    pin = board.get("button")
    return pin is not None and not machine.Pin(pin, machine.Pin.IN, machine.Pin.PULL_UP).value()


def power_sensors(board, on):
    """Switch the rail of external sensors, where a board has one."""
    vext = board.get("vext")
    if vext:
        machine.Pin(vext["pin"], machine.Pin.OUT, value=vext["on_level"] if on else 1 - vext["on_level"])


def open_sensors(board, wanted):
    """{kind: sensor} for the sensors of the configuration. Raises ConfigError if the board lacks a bus."""
    sensors = {}
    for at, sensor in enumerate(wanted):
        try:
            sensors[sensor.kind] = _OPENERS[sensor.kind](board, sensor)
        except (KeyError, TypeError):
            raise ConfigError("sensors[%d].kind" % at, "%s: /board.json has no bus or pin for it" % sensor.kind)
        except ValueError as error:
            raise ConfigError("sensors[%d]" % at, str(error))
    return sensors


def open_output(board, config):
    """The output of the board: [Pin, its safe level, uptime in seconds at which it is safe again, or None].

    It is safe now. An order may switch it (obey), the node's watch makes it safe again. Raises ConfigError if the board
    has none.
    """
    rail = board.get("output")
    if not rail:
        raise ConfigError("output_safe", "/board.json has no pin for it")
    level = rail["on_level"] if config.output_safe else 1 - rail["on_level"]
    return [machine.Pin(rail["pin"], machine.Pin.OUT, value=level), level, None]


def open_radio(board):
    """The LoRa radio of the board. Raises ConfigError if it has none we can drive."""
    from drivers.radio.sx126x_transceiver import Transceiver

    radio = board.get("radio")
    if not radio or not str(radio.get("chip")).startswith("sx126"):
        raise ConfigError("bearer", 'this board has no SX126x radio in /board.json; use "mqtt", or another board')
    if board.get("pmu"):
        raise ConfigError(
            "bearer", "the radio's supply is behind a %s, which this firmware cannot switch" % board["pmu"]["chip"]
        )
    if radio.get("ant_sw") is not None:
        machine.Pin(radio["ant_sw"], machine.Pin.OUT, value=1)
    bus = board["spi"]
    spi = machine.SPI(
        bus["id"],
        baudrate=8_000_000,
        sck=machine.Pin(bus["sck"]),
        mosi=machine.Pin(bus["mosi"]),
        miso=machine.Pin(bus["miso"]),
    )
    nss = machine.Pin(radio["nss"], machine.Pin.OUT, value=1, hold=False)  # pyright: ignore[reportCallIssue]  the stubs lack hold
    return Transceiver(
        spi,
        nss,
        machine.Pin(radio["reset"], machine.Pin.OUT, value=1),
        machine.Pin(radio["busy"], machine.Pin.IN),
        machine.Pin(radio["dio1"], machine.Pin.IN),
        tcxo_v=radio.get("tcxo_v"),
        dio2_rf_switch=bool(radio.get("dio2_rf_switch")),
        rxen=_output(radio.get("rxen")),
        txen=_output(radio.get("txen")),
        dcdc=radio.get("dcdc", True),
    )


def open_wlan():
    """The Wi-Fi station."""
    import network

    return network.WLAN(network.STA_IF)


def _output(pin):
    return None if pin is None else machine.Pin(pin, machine.Pin.OUT, value=0)


def _open_bme280(board, sensor):
    from drivers.sensor.bme280 import BME280

    bus = board["i2c"]
    i2c = machine.I2C(bus["id"], scl=machine.Pin(bus["scl"]), sda=machine.Pin(bus["sda"]), freq=100_000)
    return BME280(i2c, addr=sensor.addr)


def _open_pms5003(board, sensor):
    from drivers.sensor.pms5003 import BAUDRATE, PMS5003

    bus = board["uart"]
    uart = machine.UART(bus["id"], baudrate=BAUDRATE, tx=machine.Pin(bus["tx"]), rx=machine.Pin(bus["rx"]))
    return PMS5003(uart, passive=sensor.passive)


def _open_water(board, sensor):
    from drivers.sensor.water import WaterLevel

    return WaterLevel(machine.ADC(machine.Pin(board["water_adc"])), sensor.points)


def _open_battery(board, sensor):
    from firmware.battery import Battery

    return Battery(board["battery"])


def _open_switch(board, sensor):
    from firmware.switch import Switch

    switch = board["switch"]
    if sensor.wakes and not switch["wakes"]:
        raise ValueError("GPIO %d of this board cannot wake it from deep sleep; leave out wakes" % switch["pin"])
    return Switch(switch["pin"], on_level=sensor.on_level, wakes=sensor.wakes)


_OPENERS = {
    "bme280": _open_bme280,
    "pms5003": _open_pms5003,
    "water": _open_water,
    "battery": _open_battery,
    "switch": _open_switch,
}
