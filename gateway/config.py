"""gateway.toml: every key, its default and its rule. Read once, checked once, then trusted.

Touches no disk but the file itself: whether paths exist and ports are free is `check`'s business. Secrets are never in
the file, only the names of files that hold them.
"""

# ruff: noqa: RUF009  option() and section() are dataclasses.field with words

import argparse
import tomllib
from dataclasses import dataclass
from pathlib import Path

from gateway.config_alarm import RuleConfig
from gateway.config_command import CommandConfig
from gateway.config_edge import (
    ActionConfig,
    GroupConfig,
    PrivacyConfig,
    ReportConfig,
    WindowConfig,
    require_unique,
)
from gateway.config_lan import LanConfig
from gateway.config_rules import (
    require_name,
    require_one_of,
    require_pair,
    require_range,
    require_topic,
    require_username,
)
from gateway.config_southbound import LoraSouthbound, MqttSouthbound, SensorConfig, Southbound
from gateway.config_table import build, option, section
from gateway.edge.expression import check_rules
from gateway.endpoint import Endpoint, parse_endpoint
from gateway.errors import ConfigError
from gateway.reading import STREAMS
from gateway.time_evidence import POLICIES

PLACES = (Path("gateway.toml"), Path("/etc/lamppost/gateway.toml"))

__all__ = [
    "CityConfig",
    "CommandConfig",
    "Config",
    "ConfigError",
    "EdgeConfig",
    "GatewayConfig",
    "LanConfig",
    "LoraSouthbound",
    "MqttSouthbound",
    "OutboxConfig",
    "SensorConfig",
    "Southbound",
    "add_config_argument",
    "load",
    "parse",
]


@dataclass(frozen=True, kw_only=True)
class GatewayConfig:
    """[gateway]: who this gateway is and where it keeps things."""

    id: str = option("This gateway's name; part of the ids of the records it makes itself.", example="gw-1")
    site: str = option("The site it belongs to; {site} in topics.", example="test")
    data_dir: Path = option("Folder for the database, enrolled nodes and status.", example=Path("/var/lib/lamppost"))
    log_format: str = option('How log lines look: "logfmt" for people, "json" for machines.', default="logfmt")
    log_level: str = option('What is logged: "debug", "info", "warning" or "error".', default="info")
    time: str = option(
        'What must speak for this machine\'s clock before it is believed: "ntp" a time server; "rtc" that, or a '
        'hardware clock with a battery; "auto" those, or the host of a virtual machine; "assume" nothing at all.',
        default="auto",
    )
    time_hold_s: int = option(
        "How long readings wait for the time, while a city could take them, before they go out as untrusted.",
        default=120,
    )

    def __post_init__(self) -> None:
        require_name("id", self.id)
        require_name("site", self.site)
        require_one_of("log_format", self.log_format, ("logfmt", "json"))
        require_one_of("log_level", self.log_level, ("debug", "info", "warning", "error"))
        require_one_of("time", self.time, POLICIES)
        require_range("time_hold_s", self.time_hold_s, 0, 86_400)


@dataclass(frozen=True, kw_only=True)
class CityConfig:
    """[[city]]: a platform that receives. Each keeps its own place in the outbox."""

    kind: str = option('How it is spoken to: "mqtt".', example="mqtt")
    url: str = option(
        "Its broker: mqtt://host:port on this machine, mqtts://host:port elsewhere.", example="mqtt://127.0.0.1:1884"
    )
    topic: str = option(
        "Where a pack goes; {site}, {node} and {gateway} are filled in.", example="city/{site}/{node}/senml"
    )
    name: str = option("Its name in status and logs; give one to each of several.", default="city")
    content: str = option('"json" or "cbor" (SenML, RFC 8428).', default="json")
    require_subscriber: bool = option("Keep a record until somebody is subscribed at the broker.", default=False)
    username: str | None = option("Our user name there.", default=None, example="gw-1")
    password_file: Path | None = option("File with our password.", default=None, example="/etc/lamppost/city.password")
    ca_file: Path | None = option(
        "Who signed its certificate, PEM; without it the system's list.",
        default=None,
        example="/etc/lamppost/city-ca.crt",
    )
    cert_file: Path | None = option("Our certificate there, PEM.", default=None, example="/etc/lamppost/gateway.crt")
    key_file: Path | None = option("Its private key, PEM.", default=None, example="/etc/lamppost/gateway.key")
    allow_plaintext: bool = option("Send readable data and the password over a network without TLS.", default=False)
    operator_topic: str | None = option(
        "Where operators there acknowledge alarms; only who may operate may publish to it.",
        default=None,
        example="city/{site}/{gateway}/ack",
    )
    ack_timeout_s: float = option("Seconds to wait for the broker's acknowledgement.", default=20.0)
    keep_alive_s: int = option("Seconds after which a silent connection is tested.", default=15)
    compress: str = option('Make long messages shorter: "none" or "zstd" (RFC 8878).', default="none")
    pack_records: int = option("Most records in one message while a queue exists.", default=500)
    pack_bytes: int = option("Most bytes of such a message; the broker's own limit holds too.", default=65_536)
    pack_wait_ms: int = option("Longest wait of a reading for others of its node once messages queue.", default=50)
    backlog_records_per_s: int = option("Most records of a backlog sent in any second; 0: no cap.", default=2_000)
    backlog_bytes_per_s: int = option("Most bytes of a backlog's messages in any second; 0: no cap.", default=1_000_000)

    def __post_init__(self) -> None:
        require_one_of("kind", self.kind, ("mqtt",))
        require_name("name", self.name)
        require_one_of("content", self.content, ("json", "cbor"))
        require_topic("topic", self.topic)
        require_range("ack_timeout_s", self.ack_timeout_s, 1, 300)
        require_range("keep_alive_s", self.keep_alive_s, 2, 3_600)
        require_one_of("compress", self.compress, ("none", "zstd"))
        require_range("pack_records", self.pack_records, 1, 1_000)
        require_range("pack_bytes", self.pack_bytes, 1_000, 250_000)
        require_range("pack_wait_ms", self.pack_wait_ms, 0, 5_000)
        require_range("backlog_records_per_s", self.backlog_records_per_s, 0, 1_000_000)
        require_range("backlog_bytes_per_s", self.backlog_bytes_per_s, 0, 1_000_000_000)
        if self.endpoint.is_plain_on_a_network and not self.allow_plaintext:
            raise ConfigError(
                "url", self.url, "plain mqtt:// off this machine; use mqtts://, or allow_plaintext = true"
            )
        require_pair("cert_file", self.cert_file, "key_file", self.key_file)
        require_username("password_file", self.password_file, "username", self.username)
        if self.operator_topic is not None:
            self._require_operator_topic(self.operator_topic)

    @property
    def endpoint(self) -> Endpoint:
        return parse_endpoint("url", self.url)

    def _require_operator_topic(self, topic: str) -> None:
        require_topic("operator_topic", topic)
        if "{node}" in topic:
            raise ConfigError("operator_topic", topic, "may hold only {site} and {gateway}")
        if self.endpoint.is_plain_on_a_network:
            raise ConfigError("operator_topic", topic, "needs mqtts://: else anybody on the way could acknowledge")


@dataclass(frozen=True, kw_only=True)
class OutboxConfig:
    """[outbox]: how much is kept while the city is away, and what goes first beyond it; all of it counted and told."""

    max_records: int = option("Most records kept.", default=5_000_000)
    max_bytes: int = option("Most bytes the records may take.", default=2_000_000_000)
    min_free_bytes: int = option("Bytes that stay free on the disk for others.", default=100_000_000)
    ttl_alarm_s: int = option("Seconds after which an alarm that was not delivered goes; 0: never.", default=0)
    ttl_event_s: int = option("The same for events and gap records.", default=0)
    ttl_telemetry_s: int = option("The same for readings and windows.", default=90 * 86_400)
    ttl_bulk_s: int = option("The same for what readings were thinned to.", default=365 * 86_400)
    thin_span_s: int = option(
        "For want of room old readings become one record per node and so many seconds: count, mean, min, max. "
        "0: they are given up as they are.",
        default=3_600,
    )
    alarm_budget_per_h: int = option(
        "Alarms of one node per hour; what it sends beyond that is kept as events. 0: any number.", default=60
    )

    def __post_init__(self) -> None:
        require_range("max_records", self.max_records, 100, 1_000_000_000)
        require_range("max_bytes", self.max_bytes, 1_000_000, 1_000_000_000_000)
        require_range("min_free_bytes", self.min_free_bytes, 0, 1_000_000_000_000)
        for name in STREAMS:
            if getattr(self, f"ttl_{name}_s"):
                require_range(f"ttl_{name}_s", getattr(self, f"ttl_{name}_s"), 60, 10_000_000_000)
        if self.thin_span_s:
            require_range("thin_span_s", self.thin_span_s, 10, 31_536_000)
        require_range("alarm_budget_per_h", self.alarm_budget_per_h, 0, 100_000)

    @property
    def ttl_s(self) -> dict[str, float]:
        """Seconds to live by class; a class that is not in it is kept for any time."""
        found = {name: float(getattr(self, f"ttl_{name}_s")) for name in STREAMS}
        return {name: ttl_s for name, ttl_s in found.items() if ttl_s}


@dataclass(frozen=True, kw_only=True)
class EdgeConfig:
    """[edge]: what the gateway computes, decides and holds back itself."""

    window_s: int = option("Seconds per window of count, mean, min and max of everything; 0 makes none.", default=60)
    withheld_every_s: int = option("How often the numbers of reports held back here are told.", default=3600)
    window: tuple[WindowConfig, ...] = section("Further windows.", default_factory=tuple)
    report: tuple[ReportConfig, ...] = section("What is forwarded only by exception.", default_factory=tuple)
    rule: tuple[RuleConfig, ...] = section("When an alarm is raised.", default_factory=tuple)
    action: tuple[ActionConfig, ...] = section("What an alarm does on the spot.", default_factory=tuple)
    privacy: tuple[PrivacyConfig, ...] = section(
        "What is done to a quantity before it is stored.", default_factory=tuple
    )

    def __post_init__(self) -> None:
        if self.window_s:
            require_range("window_s", self.window_s, 5, 86_400)
        require_range("withheld_every_s", self.withheld_every_s, 10, 7 * 86_400)
        for key in ("window", "rule", "action"):
            require_unique(key, [one.name for one in getattr(self, key)])
        check_rules(self.rule, [one.name for one in self.action])


def _no_sync() -> None:
    """Without [sync] and [lan] registries travel by file only."""


@dataclass(frozen=True, kw_only=True)
class SyncConfig:
    """[sync]: a broker at which the gateways of a site share their registry."""

    url: str = option("The broker: mqtts://host:port, or mqtt:// on this machine.", example="mqtts://city:8883")
    topic: str = option("Topics begin with this.", default="lamppost/{site}/registry")
    username: str | None = option("Our user name there.", default=None, example="gw-1")
    password_file: Path | None = option("File with our password.", default=None, example="/etc/lamppost/sync.password")
    ca_file: Path | None = option(
        "Who signed its certificate, PEM; without it the system's list.",
        default=None,
        example="/etc/lamppost/sync-ca.crt",
    )
    cert_file: Path | None = option("Our certificate there, PEM.", default=None, example="/etc/lamppost/gateway.crt")
    key_file: Path | None = option("Its private key, PEM.", default=None, example="/etc/lamppost/gateway.key")
    allow_plaintext: bool = option("Let others on the network read who is enrolled.", default=False)

    def __post_init__(self) -> None:
        require_topic("topic", self.topic)
        if self.endpoint.is_plain_on_a_network and not self.allow_plaintext:
            raise ConfigError(
                "url", self.url, "plain mqtt:// off this machine; use mqtts://, or allow_plaintext = true"
            )
        require_pair("cert_file", self.cert_file, "key_file", self.key_file)
        require_username("password_file", self.password_file, "username", self.username)

    @property
    def endpoint(self) -> Endpoint:
        return parse_endpoint("url", self.url)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole file."""

    gateway: GatewayConfig = section("Who this gateway is.")
    southbound: Southbound = section("The ways nodes reach us; at least one.", default_factory=Southbound)
    sensor: tuple[SensorConfig, ...] = section("Sensors wired to the gateway itself.", default_factory=tuple)
    city: tuple[CityConfig, ...] = section("Platforms that receive.", default_factory=tuple)
    outbox: OutboxConfig = section("How much is kept while the city is away.", default_factory=OutboxConfig)
    sync: SyncConfig | None = section("Where gateways share the site's registry.", default_factory=_no_sync)
    lan: LanConfig | None = section("The same with no broker.", default_factory=_no_sync)
    edge: EdgeConfig = section("What the gateway computes itself.", default_factory=EdgeConfig)
    group: tuple[GroupConfig, ...] = section("Nodes under one name.", default_factory=tuple)
    command: CommandConfig = section("What may be asked of nodes.", default_factory=CommandConfig)

    def __post_init__(self) -> None:
        if not (self.southbound.mqtt or self.southbound.lora or self.sensor):
            raise ConfigError("southbound", None, "is empty; add [southbound.mqtt], [southbound.lora] or [[sensor]]")
        seen: set[str] = set()
        for at, city in enumerate(self.city):
            if city.name in seen:
                raise ConfigError(f"city[{at}].name", city.name, "is taken; give each [[city]] a name of its own")
            seen.add(city.name)
        require_unique("group", [one.name for one in self.group])

    def warnings(self) -> list[str]:
        """What an operator should know though it is allowed."""
        found = []
        if self.southbound.mqtt and self.southbound.mqtt.allow_plaintext:
            found.append("southbound.mqtt.allow_plaintext = true: others on the network can read and forge readings")
        for at, city in enumerate(self.city):
            if city.allow_plaintext and city.endpoint.is_plain_on_a_network:
                found.append(f"city[{at}].allow_plaintext = true: others on the network can read what the city gets")
        if self.gateway.time == "assume":
            found.append(
                'gateway.time = "assume": nothing has to speak for this machine\'s clock; wrong, it is believed'
            )
        if not self.city:
            found.append("city: none is configured, so readings stay in the outbox")
        return found


def load(path: Path) -> Config:
    """Read gateway.toml. Raises ConfigError naming the dotted key, or the file and line where it is not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), None, f"cannot be read ({error.strerror}); give the file with --config") from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), None, "is not UTF-8 text; save it as UTF-8") from None
    return parse(text, name=str(path))


def parse(text: str, *, name: str = "gateway.toml") -> Config:
    """The same for text in hand; `name` is what messages call it."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, None, f"is not TOML: {error}") from None
    return build(Config, table, "")


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """--config, the same for every command; without it the first of PLACES that exists, or what the parser says."""
    default = parser.argument_default or next((path for path in PLACES if path.exists()), PLACES[0])
    words = f"the gateway's settings (default: {' here, or '.join(map(str, PLACES))})"
    parser.add_argument("--config", type=Path, default=default, metavar="FILE", help=words)
