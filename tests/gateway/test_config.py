"""gateway.toml: what is accepted, and that each mistake names the key to edit."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from gateway.config import Config, ConfigError, load, parse
from gateway.config_table import inner_table
from gateway.config_template import template

MINIMAL = """
[gateway]
id = "gw-1"
site = "test"
data_dir = "/var/lib/lamppost"

[southbound.mqtt]                       # either or both
listen = "mqtt://127.0.0.1:1883"        # devices connect to us
broker = "mqtt://127.0.0.1:1882"        # or we subscribe at a broker

[[city]]
kind = "mqtt"
url = "mqtt://127.0.0.1:1884"
topic = "city/{site}/{node}/senml"
"""
LORA = '\n[southbound.lora]\ndevice = "virtual:/run/radio.sock"\n'
SENSOR = '\n[[sensor]]\nkind = "bme280"\nbus = "i2c:1"\n'
CITY = '\n[[city]]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:1885"\ntopic = "t/{node}"\n'

TEMPLATE = template().splitlines()


def test_contract_file_is_read_with_its_defaults() -> None:
    config = parse(MINIMAL)
    assert config.southbound.mqtt is not None
    assert str(config.southbound.mqtt.listen_endpoint) == "mqtt://127.0.0.1:1883"
    assert str(config.southbound.mqtt.broker_endpoint) == "mqtt://127.0.0.1:1882"
    assert config.southbound.lora is None
    assert config.city[0].name == "city"
    assert config.edge.window_s == 60
    assert config.warnings() == []


def test_radio_defaults_are_those_of_the_nodes() -> None:
    lora = parse(MINIMAL + LORA).southbound.lora
    assert lora is not None
    assert (lora.freq_hz, lora.downlink_freq_hz, lora.spreading_factor) == (868_100_000, 869_525_000, 7)


@pytest.mark.parametrize(
    "text, culprit, hint",
    [
        (MINIMAL.replace("data_dir", "datadir"), "gateway.datadir", "data_dir"),
        (MINIMAL.replace("[gateway]", "[gatway]"), "gatway", "gateway"),
        (MINIMAL.replace('site = "test"\n', ""), "gateway.site", "missing"),
        (MINIMAL.replace('"test"', "5"), "gateway.site", "text in quotes"),
        (MINIMAL.replace('"test"', '"a/b"'), "gateway.site", "letters"),
        (MINIMAL.replace('id = "gw-1"', 'id = "gw 1"'), "gateway.id", "letters"),
        (MINIMAL.replace("site =", 'time = "gps"\nsite ='), "gateway.time", "ntp or rtc"),
        (MINIMAL.replace("site =", "time_hold_s = -1\nsite ="), "gateway.time_hold_s", "0 to 86400"),
        ("", "gateway", "missing"),
        ("gateway = 5", "gateway", "table"),
        (MINIMAL.replace("127.0.0.1:1883", "127.0.0.1:99999"), "southbound.mqtt.listen", "not a URL"),
        (MINIMAL.replace("mqtt://127.0.0.1:1883", "http://127.0.0.1"), "southbound.mqtt.listen", "mqtt://"),
        (MINIMAL.replace("mqtt://127.0.0.1:1883", "mqtt://0.0.0.0:1883"), "southbound.mqtt.listen", "sealed_only"),
        (MINIMAL.replace("mqtt://127.0.0.1:1882", "mqtt://broker"), "southbound.mqtt.broker", "allow_plaintext"),
        (MINIMAL.replace("mqtt://127.0.0.1:1883", "mqtts://0.0.0.0"), "southbound.mqtt.listen", "cert_file"),
        (MINIMAL.replace("mqtt://127.0.0.1:1884", "mqtt://city.example"), "city[0].url", "mqtts://"),
        (MINIMAL.replace('"mqtt://127.0.0.1:1884"', "1884"), "city[0].url", "text in quotes"),
        (MINIMAL.replace('kind = "mqtt"', 'kind = "mqqt"'), "city[0].kind", "mqtt"),
        (MINIMAL.replace("{node}/senml", "{device}/senml"), "city[0].topic", "{node}"),
        (MINIMAL.replace("{node}/senml", "#"), "city[0].topic", "no +, #"),
        (MINIMAL + 'password = "x"\n', "city[0].password", "password_file"),
        (MINIMAL + 'content = "xml"\n', "city[0].content", "json or cbor"),
        (MINIMAL + 'require_subscriber = "yes"\n', "city[0].require_subscriber", "true or false"),
        (MINIMAL + 'password_file = "/x"\n', "city[0].username", "missing"),
        (MINIMAL + 'cert_file = "/x"\n', "city[0].key_file", "missing"),
        (MINIMAL + CITY, "city[1].name", "name of its own"),
        (MINIMAL + "\n[city]\n", "gateway.toml", "not TOML"),
        (MINIMAL.replace("[[city]]", "[city]"), "city", "double brackets"),
        (MINIMAL + LORA + "freq_hz = 868\n", "southbound.lora.freq_hz", "863000000"),  # someone wrote MHz
        (MINIMAL + LORA + "freq_hz = 868650000\n", "southbound.lora.freq_hz", "alarm slot"),
        (MINIMAL + LORA + "spreading_factor = 6\n", "southbound.lora.spreading_factor", "7 to 12"),
        (MINIMAL + LORA + "spreading_factor = true\n", "southbound.lora.spreading_factor", "whole number"),
        (MINIMAL + LORA + "spreading_factor = 7.0\n", "southbound.lora.spreading_factor", "whole number"),
        (MINIMAL + LORA + "bandwidth_hz = 125\n", "southbound.lora.bandwidth_hz", "125000"),
        (MINIMAL + LORA + "tx_power_dbm = 23\n", "southbound.lora.tx_power_dbm", "-9 to 22"),
        (MINIMAL + LORA + "beacon_s = 5\n", "southbound.lora.beacon_s", "16 to 3600"),
        (MINIMAL + LORA + "spreading_factor = 12\nbeacon_s = 60\n", "southbound.lora.beacon_s", "at least 182"),
        (MINIMAL + LORA + 'region = "US915"\n', "southbound.lora.region", "EU868"),
        (MINIMAL + LORA.replace("virtual:/run/radio.sock", "spi"), "southbound.lora.device", "spi:"),
        (MINIMAL + LORA.replace("virtual:/run/radio.sock", "spi:0.0"), "southbound.lora.reset_pin", "missing"),
        (MINIMAL + SENSOR + "period_s = 0\n", "sensor[0].period_s", "1 to 86400"),
        (MINIMAL + SENSOR.replace("i2c:1", "spi:1"), "sensor[0].bus", "i2c"),
        (MINIMAL + SENSOR.replace("bme280", "bme28"), "sensor[0].kind", "bme280"),
        (MINIMAL + "\n[outbox]\nmax_records = 1\n", "outbox.max_records", "100"),
        (MINIMAL + "\n[edge]\nwindow_s = 1\n", "edge.window_s", "5 to"),
        (MINIMAL[: MINIMAL.index("[southbound")], "southbound", "empty"),
    ],
)
def test_mistake_names_the_key_and_the_way_out(text: str, culprit: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.key == culprit
    assert hint in str(caught.value)


def test_a_clock_that_nothing_has_to_speak_for_is_a_warning() -> None:
    config = parse(MINIMAL.replace("site =", 'time = "assume"\nsite ='))
    assert "gateway.time" in config.warnings()[0]


def test_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(MINIMAL.replace("mqtt://127.0.0.1:1884", "mqtt://gw:hunter2@127.0.0.1:1884"))
    assert caught.value.key == "city[0].url"
    assert "hunter2" not in str(caught.value)


def test_plaintext_off_loopback_is_allowed_when_asked_for_and_warns() -> None:
    config = parse(
        MINIMAL.replace("[southbound.mqtt]", "[southbound.mqtt]\nallow_plaintext = true").replace(
            "mqtt://127.0.0.1:1883", "mqtt://0.0.0.0:1883"
        )
    )
    assert "southbound.mqtt.allow_plaintext" in config.warnings()[0]


def test_sealed_only_needs_no_warning() -> None:
    config = parse(
        MINIMAL.replace("[southbound.mqtt]", "[southbound.mqtt]\nsealed_only = true").replace(
            "mqtt://127.0.0.1:1883", "mqtt://0.0.0.0:1883"
        )
    )
    assert config.warnings() == []


def test_missing_file_is_an_operators_matter(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load(tmp_path / "none.toml")


def test_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(path)


def test_template_is_accepted_as_it_stands() -> None:
    assert parse(template()).city[0].url == "mqtt://127.0.0.1:1884"


def keys_of(cls: Any) -> set[str]:
    hints = {one.name: inner_table(get_type_hints(cls)[one.name])[0] for one in fields(cls)}
    below = [keys_of(inner) for inner in hints.values() if inner]
    return {name for name, inner in hints.items() if not inner}.union(*below)


def test_template_shows_every_key() -> None:
    shown = {line.lstrip("#").split(" = ")[0] for line in TEMPLATE if " = " in line}
    assert keys_of(Config) <= shown


@pytest.mark.parametrize(
    "at",
    [at for at, line in enumerate(TEMPLATE) if line.startswith("#") and line[1:2].islower()],
    ids=TEMPLATE.__getitem__,
)
def test_template_line_alone_is_read_or_says_what_else_it_needs(at: int) -> None:
    opener = next(before for before in reversed(range(at)) if TEMPLATE[before].lstrip("#").startswith("["))
    text = "\n".join(line.lstrip("#") if place in (at, opener) else line for place, line in enumerate(TEMPLATE))
    assert re.search("^$|missing|needs", mistake(text))


def mistake(text: str) -> str:
    """What `parse` says; empty if it takes it."""
    try:
        parse(text)
    except ConfigError as error:
        return str(error)
    return ""
