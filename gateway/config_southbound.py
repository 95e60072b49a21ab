"""The southbound half of gateway.toml: MQTT, the LoRa radio, and sensors wired to the gateway."""

# ruff: noqa: RUF009  option() and section() are dataclasses.field with words

import re
from dataclasses import dataclass
from pathlib import Path

from drivers.link.beacon_pack import SHORTEST as BEACON_BYTES
from drivers.radio import airtime
from drivers.radio.region import RegionError, band_of, check_power
from gateway.config_rules import require_one_of, require_pair, require_range, require_username
from gateway.config_table import option, section
from gateway.endpoint import Endpoint, parse_endpoint
from gateway.errors import ConfigError

_BEACON_SHARE = 10  # beacons get at most a tenth of the airtime
_SENSOR_BUSES = {"bme280": "i2c", "pms5003": "serial"}


@dataclass(frozen=True, kw_only=True)
class MqttSouthbound:
    """[southbound.mqtt]: devices that connect to us, and a broker at which we listen for them. Either or both."""

    listen: str | None = option("Devices connect here.", default=None, example="mqtt://127.0.0.1:1883")
    broker: str | None = option(
        "A broker at which devices publish; we subscribe there.", default=None, example="mqtt://127.0.0.1:1882"
    )
    sealed_only: bool = option(
        "Take only sealed node frames, so that plain mqtt:// may be used off this machine.", default=False
    )
    allow_plaintext: bool = option(
        "Let devices send readable SenML over a network without TLS. Anyone there can read and forge it.", default=False
    )
    cert_file: Path | None = option(
        "Our certificate, PEM (listen = mqtts://).", default=None, example="/etc/lamppost/gateway.crt"
    )
    key_file: Path | None = option("Its private key, PEM.", default=None, example="/etc/lamppost/gateway.key")
    client_ca_file: Path | None = option(
        "Who signs device certificates, PEM; a device must then show one.",
        default=None,
        example="/etc/lamppost/devices.crt",
    )
    access_file: Path | None = option(
        "Who may connect: lines made by `lamppost gateway password`. Without it: anyone (assurance none).",
        default=None,
        example="/etc/lamppost/devices.access",
    )
    broker_username: str | None = option("Our user name at the broker.", default=None, example="gw-1")
    broker_password_file: Path | None = option(
        "File with our password there.", default=None, example="/etc/lamppost/broker.password"
    )
    broker_ca_file: Path | None = option(
        "Who signed the broker's certificate, PEM; without it the system's list.",
        default=None,
        example="/etc/lamppost/broker-ca.crt",
    )
    broker_cert_file: Path | None = option(
        "Our certificate at the broker, PEM.", default=None, example="/etc/lamppost/gateway.crt"
    )
    broker_key_file: Path | None = option("Its private key, PEM.", default=None, example="/etc/lamppost/gateway.key")
    max_frames_per_s: int = option("Most sealed frames taken per second from one connection.", default=50)

    def __post_init__(self) -> None:
        if self.listen is None and self.broker is None:
            raise ConfigError("listen", None, 'is missing; give listen = "mqtt://127.0.0.1:1883", or broker, or both')
        for key, endpoint in (("listen", self.listen_endpoint), ("broker", self.broker_endpoint)):
            if endpoint and endpoint.is_plain_on_a_network and not (self.sealed_only or self.allow_plaintext):
                raise ConfigError(
                    key,
                    endpoint,
                    "plain mqtt:// off this machine; use mqtts://, or sealed_only = true for sealed node frames alone, "
                    "or allow_plaintext = true to let readable data through",
                )
        if self.sealed_only and self.allow_plaintext:
            raise ConfigError("allow_plaintext", True, "contradicts sealed_only = true; keep one of them")
        if self.listen_endpoint and self.listen_endpoint.is_tls and not (self.cert_file and self.key_file):
            raise ConfigError("listen", self.listen, "needs cert_file and key_file")
        require_pair("cert_file", self.cert_file, "key_file", self.key_file)
        require_pair("broker_cert_file", self.broker_cert_file, "broker_key_file", self.broker_key_file)
        require_username("broker_password_file", self.broker_password_file, "broker_username", self.broker_username)
        require_range("max_frames_per_s", self.max_frames_per_s, 1, 10_000)

    @property
    def listen_endpoint(self) -> Endpoint | None:
        return parse_endpoint("listen", self.listen) if self.listen else None

    @property
    def broker_endpoint(self) -> Endpoint | None:
        return parse_endpoint("broker", self.broker) if self.broker else None


@dataclass(frozen=True, kw_only=True)
class LoraSouthbound:
    """[southbound.lora]: one SX1262. It hears one frequency and one spreading factor, and nothing while it sends."""

    device: str = option(
        'The radio: "spi:0.0" on a Raspberry Pi, "virtual:/path/radio.sock" on a virtual street.', example="spi:0.0"
    )
    region: str = option("Whose radio rules hold.", default="EU868")
    freq_hz: int = option("Uplink frequency.", default=868_100_000)
    downlink_freq_hz: int = option("Frequency of answers to nodes.", default=869_525_000)
    spreading_factor: int = option("7 (fast) to 12 (far); the same at every node.", default=7)
    bandwidth_hz: int = option("125000, 250000 or 500000.", default=125_000)
    tx_power_dbm: int = option("Power at the antenna socket, -9 to 22.", default=14)
    antenna_dbi: int = option("Gain of the antenna less cable loss; counts against the power limit.", default=2)
    reset_pin: int | None = option("GPIO (BCM) of the radio's RESET.", default=None, example=18)
    busy_pin: int | None = option("GPIO of BUSY.", default=None, example=20)
    dio1_pin: int | None = option("GPIO of DIO1.", default=None, example=16)
    nss_pin: int | None = option("GPIO of NSS, where it is not the chip select of the SPI.", default=None, example=21)
    rxen_pin: int | None = option("GPIO of the receive switch, if any.", default=None, example=12)
    txen_pin: int | None = option("GPIO of the transmit switch, if any.", default=None, example=13)
    ant_sw_pin: int | None = option(
        "GPIO that must be high for the antenna switch to work, if any.", default=None, example=6
    )
    tcxo_v: float | None = option(
        "Voltage of the crystal oscillator on DIO3, if there is one.", default=None, example=1.8
    )
    dio2_rf_switch: bool = option("Whether DIO2 drives the antenna switch.", default=True)
    beacon_s: int = option(
        "Seconds between beacons, which tell nodes the time; 0: none. They take airtime from answers.", default=0
    )

    def __post_init__(self) -> None:
        require_one_of("region", self.region, ("EU868",))
        require_range("spreading_factor", self.spreading_factor, 7, 12)
        require_one_of("bandwidth_hz", self.bandwidth_hz, (125_000, 250_000, 500_000))
        require_range("tx_power_dbm", self.tx_power_dbm, -9, 22)
        require_range("antenna_dbi", self.antenna_dbi, -20, 30)
        self._require_radio_rules()
        self._require_room_for_beacons()
        self._require_device()

    @property
    def longest_airtime_us(self) -> int:
        """Time on air of the longest frame, in microseconds."""
        return int(airtime.airtime_us(self.spreading_factor, self.bandwidth_hz, 1, 8, airtime.MAX_PAYLOAD))

    def _require_radio_rules(self) -> None:
        for key in ("freq_hz", "downlink_freq_hz"):
            freq_hz = getattr(self, key)
            if not 863_000_000 <= freq_hz <= 870_000_000:
                raise ConfigError(key, freq_hz, "must lie in the EU868 band, 863000000 to 870000000 Hz")
            try:
                band_of(freq_hz, self.bandwidth_hz)
            except RegionError as error:
                raise ConfigError(key, freq_hz, str(error)) from None
        try:
            check_power(
                self.downlink_freq_hz, self.tx_power_dbm, bandwidth_hz=self.bandwidth_hz, antenna_dbi=self.antenna_dbi
            )
        except RegionError as error:
            raise ConfigError("tx_power_dbm", self.tx_power_dbm, str(error)) from None

    def _require_room_for_beacons(self) -> None:
        if not self.beacon_s:
            return
        require_range("beacon_s", self.beacon_s, 16, 3_600)
        airtime_us = int(airtime.airtime_us(self.spreading_factor, self.bandwidth_hz, 1, 8, BEACON_BYTES))
        allowed_us = band_of(self.downlink_freq_hz, self.bandwidth_hz).allowance_us // _BEACON_SHARE
        least_s = -(-3_600 * airtime_us // allowed_us)
        if self.beacon_s < least_s:
            share = 100 // _BEACON_SHARE
            rule = f"takes more than {share} % of this band's airtime at this spreading factor; at least {least_s}"
            raise ConfigError("beacon_s", self.beacon_s, rule)

    def _require_device(self) -> None:
        kind, _, where = self.device.partition(":")
        if kind == "virtual" and where:
            return
        if kind != "spi" or not re.fullmatch(r"\d+\.\d+", where):
            raise ConfigError(
                "device", self.device, 'must be "spi:<bus>.<chip select>" or "virtual:<path of a socket>"'
            )
        for key in ("reset_pin", "busy_pin", "dio1_pin"):
            if getattr(self, key) is None:
                raise ConfigError(
                    key, None, f"is missing; a radio on {self.device} needs reset_pin, busy_pin and dio1_pin"
                )
        for key in ("reset_pin", "busy_pin", "dio1_pin", "nss_pin", "rxen_pin", "txen_pin", "ant_sw_pin"):
            if getattr(self, key) is not None:
                require_range(key, getattr(self, key), 0, 27)
        if self.tcxo_v is not None:
            require_one_of("tcxo_v", self.tcxo_v, (1.6, 1.7, 1.8, 2.2, 2.4, 2.7, 3.0, 3.3))


def _absent() -> None:
    """The default of a table that may be left out."""


@dataclass(frozen=True, kw_only=True)
class Southbound:
    """[southbound]: the ways nodes reach us."""

    mqtt: MqttSouthbound | None = section("MQTT: devices and nodes on a network.", default_factory=_absent)
    lora: LoraSouthbound | None = section("LoRa: nodes by radio.", default_factory=_absent)


@dataclass(frozen=True, kw_only=True)
class SensorConfig:
    """[[sensor]]: a sensor wired to the gateway itself."""

    kind: str = option('"bme280" (climate) or "pms5003" (particles).', example="bme280")
    bus: str = option('Where it is: "i2c:1", "serial:/dev/ttyAMA0" or "virtual:/path/board.sock".', example="i2c:1")
    addr: int | None = option("Its I2C address.", default=None, example=0x76)
    period_s: int = option("Seconds between two readings.", default=60)

    def __post_init__(self) -> None:
        require_one_of("kind", self.kind, tuple(_SENSOR_BUSES))
        require_range("period_s", self.period_s, 1, 86_400)
        if self.addr is not None:
            require_range("addr", self.addr, 0x08, 0x77)
        way = _SENSOR_BUSES[self.kind]
        bus, _, where = self.bus.partition(":")
        if bus not in (way, "virtual") or not where or (way == "i2c" == bus and not where.isdigit()):
            raise ConfigError("bus", self.bus, f'must be "{way}:<which>" or "virtual:<path>" for a {self.kind}')
