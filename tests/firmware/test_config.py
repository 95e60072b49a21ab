"""A wrong configuration is named by the key to edit, on the node and on the host that provisions it."""

import pytest

from firmware.config import nearest, parse
from firmware.config_error import ConfigError
from tests.peers.micropython import check_micropython

LORA = {"bearer": "lora", "sensors": ["bme280"]}
MQTT = {**LORA, "bearer": "mqtt", "wifi": {"ssid": "street"}, "mqtt": {"host": "10.0.0.1"}}

MANY = ["temperature", "humidity", "pressure", "pm1", "pm2_5", "pm10"]
EXCEPTION = "rules.exceptions[0]"

# configuration, key in the message, a word of the rule
WRONG = [
    ([], "config", "JSON object"),
    ({}, "bearer", "is missing"),
    ({"bearer": "lora"}, "sensors", "is missing"),
    ({**LORA, "bearer": "wifi"}, "bearer", "'lora' or 'mqtt'"),
    ({**LORA, "sampel_s": 5}, "sampel_s", "did you mean sample_s"),
    ({**LORA, "sample_s": "5"}, "sample_s", "a whole number from 1 to 86400"),
    ({**LORA, "sample_s": True}, "sample_s", "a whole number"),
    ({**LORA, "sample_s": 0}, "sample_s", "a whole number from 1"),
    ({**LORA, "journal_reports": 16_001}, "journal_reports", "16000"),
    ({**LORA, "repl_window_s": 0}, "repl_window_s", "from 1"),
    ({**LORA, "retry_s": 60, "retry_max_s": 30}, "retry_max_s", "not be below"),
    ({**LORA, "sensors": []}, "sensors", "1 to 8"),
    ({**LORA, "sensors": ["bme208"]}, "sensors[0].kind", "did you mean 'bme280'"),
    ({**LORA, "sensors": ["bme280", "bme280"]}, "sensors[1].kind", "there already"),
    ({**LORA, "sensors": [7]}, "sensors[0]", "must be a name"),
    ({**LORA, "sensors": [{"kind": "bme280", "adr": 118}]}, "sensors[0].adr", "did you mean sensors[0].addr"),
    ({**LORA, "sensors": [{"kind": "water"}]}, "sensors[0].points", "is missing"),
    ({**LORA, "sensors": [{"kind": "water", "points": [[1, 2], [3]]}]}, "sensors[0].points", "[microvolts, mill"),
    ({**LORA, "alarms": [{"quantity": "pm25", "above": 1}]}, "alarms[0].quantity", "did you mean 'pm2_5'"),
    ({**LORA, "alarms": [{"quantity": "pm10"}]}, "alarms[0]", "either"),
    ({**LORA, "alarms": [{"quantity": "pm10", "above": 1, "below": 0}]}, "alarms[0]", "either"),
    ({**LORA, "alarms": [{"quantity": "pm10", "above": 50, "clear": 60}]}, "alarms[0].clear", "own side"),
    ({**LORA, "alarms": [{"quantity": "pm10", "above": 1, "rate_above": 1}]}, "alarms[0]", "or else"),
    ({**LORA, "alarms": [{"quantity": "pm10", "rate_above": 1, "clear": 2}]}, "alarms[0].clear", "own side"),
    ({**LORA, "alarms": [{"quantity": "pm10", "above": 1, "hold_s": -1}]}, "alarms[0].hold_s", "from 0"),
    ({**LORA, "sensors": [{"kind": "switch", "wakes": True}]}, "sensors[0].wakes", 'sleep = "deep"'),
    ({**LORA, "rules": []}, "rules", "an object"),
    ({**LORA, "rules": {"window": []}}, "rules.window", "did you mean rules.windows"),
    ({**LORA, "rules": {"windows": [5]}}, "rules.windows[0]", "must be an object"),
    ({**LORA, "rules": {"windows": [{"quantities": ["pm10"]}]}}, "rules.windows[0].length_s", "is missing"),
    (
        {**LORA, "rules": {"windows": [{"quantities": ["pm1O"], "length_s": 9}]}},
        "rules.windows[0].quantities",
        "'pm1'",
    ),
    (
        {**LORA, "rules": {"windows": [{"quantities": [1], "length_s": 9}]}},
        "rules.windows[0].quantities",
        "no quantity",
    ),
    (
        {**LORA, "rules": {"windows": [{"quantities": ["pm1"] * 2, "length_s": 9}]}},
        "rules.windows[0].quantities",
        "twice",
    ),
    ({**LORA, "rules": {"windows": [{"quantities": MANY, "length_s": 9}] * 3}}, "rules.windows", "16"),
    (
        {**LORA, "rules": {"exceptions": [{"quantities": ["pm1"], "dead_band": 0}]}},
        f"{EXCEPTION}.dead_band",
        "more than 0",
    ),
    (
        {**LORA, "rules": {"exceptions": [{"quantities": ["pm1"], "dead_band": 1, "on_change": True}]}},
        f"{EXCEPTION}.on_change",
        "contradicts",
    ),
    (
        {**LORA, "rules": {"exceptions": [{"quantities": ["pm1"]}, {"quantities": ["pm1"]}]}},
        "rules.exceptions[1].quantities",
        "already",
    ),
    ({**LORA, "rules": {"sample_ms": 100}}, "rules.sample_ms", "temperature is in no window"),
    ({**LORA, "rules": {"sample_ms": 10}}, "rules.sample_ms", "from 20"),
    ({**LORA, "sleep": "deep", "rules": {"sample_ms": 100}}, "rules.sample_ms", "idle"),
    ({**LORA, "lora": {"freq_hz": 868}}, "lora.freq_hz", "863000000"),  # someone wrote MHz
    ({**LORA, "lora": {"freq_hz": 868_650_000}}, "lora.freq_hz", "alarm slot"),
    ({**LORA, "lora": {"downlink_freq_hz": 869_300_000}}, "lora.downlink_freq_hz", "alarm slot"),
    ({**LORA, "lora": {"tx_power_dbm": 20}}, "lora.tx_power_dbm", "ERP"),
    ({**LORA, "sleep": "deep", "lora": {"beacons": True}}, "lora.beacons", 'sleep = "idle"'),
    ({**LORA, "lora": {"max_frame": 51}}, "lora.max_frame", "from 96"),
    ({**LORA, "lora": {"freq_hz": 864_000_000, "spreading_factor": 12}}, "lora.max_frame", "lower spreading factor"),
    ({**LORA, "bearer": "mqtt"}, "wifi", "is missing"),
    ({**MQTT, "mqtt": {}}, "mqtt.host", "is missing"),
    ({**MQTT, "mqtt": {"host": "a", "prot": 1}}, "mqtt.prot", "did you mean mqtt.port"),
    ({**MQTT, "wifi": {"ssid": "a", "password": 5}}, "wifi.password", "a text"),
]


@pytest.mark.parametrize("raw, key, rule", WRONG)
def test_the_key_to_edit_is_named_with_its_rule(raw, key, rule):
    with pytest.raises(ConfigError) as caught:
        parse(raw)
    assert caught.value.key == key
    assert str(caught.value).startswith(key + ": ")
    assert rule in str(caught.value)


def test_every_wrong_configuration_is_refused_on_micropython_in_the_same_words():
    script = f"""
from firmware.config import parse
from firmware.config_error import ConfigError
for raw in {[raw for raw, _, _ in WRONG]!r}:
    try:
        parse(raw)
        print("taken", raw)
    except ConfigError as error:
        print(error.key)
"""
    assert check_micropython(script).splitlines() == [key for _, key, _ in WRONG]


def test_a_password_never_enters_a_message():
    with pytest.raises(ConfigError) as caught:
        parse({**MQTT, "wifi": {"ssid": "a", "password": "secret" * 20}})
    assert "secret" not in str(caught.value)


def test_defaults_are_filled_in_and_the_result_is_frozen():
    config = parse(LORA)
    assert (config.sample_s, config.report_s, config.sleep, config.lora.freq_hz) == (60, 300, "idle", 868_100_000)
    assert config.lora.allowance_us == 36_000_000
    with pytest.raises(AttributeError):
        config.sample_s = 1


@pytest.mark.parametrize(
    "alarm, limit, clear",
    [
        ({"quantity": "pm2_5", "above": 150, "clear": 120}, 150, 120),  # ug/m3
        ({"quantity": "temperature", "below": -10.5}, -1050, -1050),  # Cel
        ({"quantity": "water_level", "above": 1.25, "clear": 1}, 1250, 1000),  # m
        ({"quantity": "humidity", "above": 99.5}, 9950, 9950),  # %RH
        ({"quantity": "battery", "below": 3.4, "clear": 3.6}, 3400, 3600),  # V
    ],
)
def test_alarm_limits_are_turned_into_the_integers_of_the_wire(alarm, limit, clear):
    parsed = parse({**LORA, "alarms": [alarm]}).alarms[0]
    assert (parsed.limit, parsed.clear, parsed.is_above) == (limit, clear, "above" in alarm)


@pytest.mark.parametrize("word, wanted", [("freqhz", "freq_hz"), ("pasword", "password"), ("repots", "report_s")])
def test_the_nearest_key_is_offered(word, wanted):
    assert nearest(word, ("freq_hz", "password", "report_s", "sample_s")) == wanted
