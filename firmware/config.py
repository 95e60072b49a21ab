"""What an operator may choose, from /config.json: checked once, every default filled in, then trusted.

A wrong key, type or value is a ConfigError that names the key as a path ("lora.freq_hz", "alarms[0].above") and the
rule; an unknown key is named with the nearest one that exists. Pins are not here, they are the board's (/board.json).
"""

import json
from collections import namedtuple

from drivers.radio.lora import Channel
from drivers.radio.region import DutyLedger, RegionError, band_of, check_power
from firmware.config_error import ConfigError

REQUIRED = object()

# key: (rule, default). A rule is (int, low, high), (str, shortest, longest), (bool,), (tuple, choices) or a checker.
_LORA = {
    "freq_hz": ((int, 863_000_000, 870_000_000), 868_100_000),
    "spreading_factor": ((int, 7, 12), 7),
    "bandwidth_hz": ((tuple, (125_000, 250_000)), 125_000),
    "tx_power_dbm": ((int, -9, 22), 14),
    "antenna_dbi": ((int, -10, 15), 2),
    "downlink_freq_hz": ((int, 863_000_000, 870_000_000), 869_525_000),
    "max_frame": ((int, 96, 255), 120),  # 96: one report with all that a frame may have to say besides
    "listen_ms": ((int, 20, 5_000), 300),
    "beacons": ((bool,), False),
}
_WIFI = {
    "ssid": ((str, 1, 32), REQUIRED),
    "password": ((str, 0, 63), ""),
    "connect_s": ((int, 5, 120), 20),
}
_MQTT = {
    "host": ((str, 1, 253), REQUIRED),
    "port": ((int, 1, 65_535), 1_883),
    "user": ((str, 0, 64), ""),
    "password": ((str, 0, 128), ""),
    "ack_s": ((int, 1, 60), 5),
}
_SENSORS = {
    "bme280": {"kind": ((str, 1, 16), REQUIRED), "addr": ((tuple, (0x76, 0x77)), 0x76)},
    "pms5003": {"kind": ((str, 1, 16), REQUIRED), "passive": ((bool,), True)},
    "water": {"kind": ((str, 1, 16), REQUIRED), "points": ((list, 2, 16), REQUIRED)},
    "battery": {"kind": ((str, 1, 16), REQUIRED)},
    "switch": {"kind": ((str, 1, 16), REQUIRED), "on_level": ((tuple, (0, 1)), 0), "wakes": ((bool,), False)},
}
_ALARM = {
    "quantity": ((str, 1, 16), REQUIRED),
    "above": ((float,), None),
    "below": ((float,), None),
    "clear": ((float,), None),
    "hold_s": ((int, 0, 86_400), 0),
    "rate_above": ((float,), None),
    "rate_below": ((float,), None),
}
# What each kind of sensor measures: firmware/sample.
QUANTITIES_OF = {
    "bme280": ("temperature", "humidity", "pressure"),
    "pms5003": ("pm1", "pm2_5", "pm10"),
    "water": ("water_level",),
    "battery": ("battery",),
    "switch": ("switch",),
}
# What people write for a quantity: this many of the wire's integers per unit (Cel, %RH, Pa, ug/m3, m, V, 1).
ALARM_SCALES = {
    "temperature": 100,
    "humidity": 100,
    "pressure": 1,
    "pm1": 1,
    "pm2_5": 1,
    "pm10": 1,
    "water_level": 1000,
    "battery": 1000,
    "switch": 1,
}
_TOP = {
    "node": ((str, 0, 64), ""),
    "bearer": ((tuple, ("lora", "mqtt")), REQUIRED),
    "sample_s": ((int, 1, 86_400), 60),
    "report_s": ((int, 1, 86_400), 300),
    "sleep": ((tuple, ("idle", "deep")), "idle"),
    "retry_s": ((int, 1, 600), 5),
    "retry_max_s": ((int, 1, 86_400), 300),
    "journal_reports": ((int, 32, 16_000), 4_000),
    "repl_window_s": ((int, 1, 60), 2),
    "watchdog_s": ((int, 30, 600), 60),
    "sensors": ((list, 1, 8), REQUIRED),
    "alarms": ((list, 0, 8), ()),
    "rules": ((dict,), None),
    "output_safe": ((tuple, (0, 1)), None),  # there is an output, and this is its safe state
    "output_longest_s": ((int, 1, 604_800), 3_600),
    "rekey_frames": ((int, 256, 1_048_576), 65_536),
    "rekey_days": ((int, 1, 366), 30),
    "lora": ((dict,), None),
    "wifi": ((dict,), None),
    "mqtt": ((dict,), None),
}


def load(path):
    """Read and check the file. Raises ConfigError."""
    try:
        with open(path) as file:
            text = file.read()
    except OSError:
        raise ConfigError(path, "there is no such file; write one: lamppost enrol, or copy it with mpremote")
    try:
        return parse(json.loads(text))
    except ValueError as error:
        raise ConfigError(path, "not valid JSON (%s); check commas and quotes" % error)


def parse(raw):
    """Check a decoded file, fill in its defaults. Returns it as attributes, with lora.allowance_us (airtime per hour).

    Raises ConfigError.
    """
    if not isinstance(raw, dict):
        raise ConfigError("config", "must be a JSON object: {...}")
    values = check_table(raw, _TOP, "")
    values["sensors"] = [_parse_sensor(raw, at) for at, raw in enumerate(values["sensors"])]
    _require_one_of_each(values["sensors"])
    values["alarms"] = _parse_alarms(values["alarms"])
    _check_wakes(values)
    if values["rules"] is not None:
        from firmware.config_rules import parse_rules

        values["rules"] = parse_rules(values["rules"], values)
    if values["bearer"] == "lora" and values["lora"] is None:
        values["lora"] = {}
    if values["output_safe"] is not None and values["sleep"] != "idle":
        raise ConfigError("output_safe", 'needs sleep = "idle": a pin lets go in deep sleep')
    for name, table in (("lora", _LORA), ("wifi", _WIFI), ("mqtt", _MQTT)):
        if values[name] is not None:
            checked = check_table(values[name], table, name + ".")
            if checked.get("beacons") and values["sleep"] != "idle":
                raise ConfigError(
                    "lora.beacons", 'needs sleep = "idle": asleep, a node\'s clock is too coarse to believe one'
                )
            values[name] = section(_with_allowance(checked) if name == "lora" else checked)
    if values["bearer"] == "mqtt":
        for name in ("wifi", "mqtt"):
            if values[name] is None:
                raise ConfigError(name, "is missing, and bearer is 'mqtt'")
    if values["retry_max_s"] < values["retry_s"]:
        raise ConfigError("retry_max_s", "must not be below retry_s, %d" % values["retry_s"])
    return section(values)


def section(values):
    """Frozen, with attributes; and of a class that does not keep this module in a node's memory."""
    return namedtuple("Section", tuple(values))(**values)


def check_table(raw, table, path):
    for key in raw:
        if key not in table:
            raise ConfigError(path + str(key), "no such key; did you mean %s%s?" % (path, nearest(str(key), table)))
    values = {}
    for key in sorted(table):  # MicroPython keeps no order
        rule, default = table[key]
        if key in raw:
            _check_value(path + key, raw[key], rule)
            values[key] = raw[key]
        elif default is REQUIRED:
            raise ConfigError(path + key, "is missing; it must be %s" % _say(rule))
        else:
            values[key] = default
    return values


def _check_value(key, value, rule):
    kind = rule[0]
    if kind is tuple:
        is_right = not isinstance(value, bool) and value in rule[1]
    elif kind is int:
        is_right = isinstance(value, int) and not isinstance(value, bool) and rule[1] <= value <= rule[2]
    elif kind is float:
        is_right = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif kind is str or kind is list:
        is_right = isinstance(value, kind) and rule[1] <= len(value) <= rule[2]
    else:
        is_right = isinstance(value, kind)
    if not is_right:
        shown = "" if key.endswith("password") else " is %r," % (value,)
        raise ConfigError(key, "%s must be %s" % (shown.strip() or "it", _say(rule)))


def _say(rule):
    kind = rule[0]
    if kind is tuple:
        return " or ".join(repr(choice) for choice in rule[1])
    if kind is int:
        return "a whole number from %d to %d" % (rule[1], rule[2])
    if kind is str:
        return "a text of %d to %d characters" % (rule[1], rule[2])
    if kind is list:
        return "a list of %d to %d entries" % (rule[1], rule[2])
    return {float: "a number", bool: "true or false", dict: "an object: {...}"}[kind]


def _parse_sensor(raw, at):
    path = "sensors[%d]" % at
    if isinstance(raw, str):
        raw = {"kind": raw}
    if not isinstance(raw, dict) or not isinstance(raw.get("kind"), str):
        raise ConfigError(path, 'must be a name, or an object with a "kind": %s' % ", ".join(sorted(_SENSORS)))
    if raw["kind"] not in _SENSORS:
        raise ConfigError(
            path + ".kind", "%r is no sensor we know; did you mean %r?" % (raw["kind"], nearest(raw["kind"], _SENSORS))
        )
    values = check_table(raw, _SENSORS[raw["kind"]], path + ".")
    for point in values.get("points", ()):
        if not (isinstance(point, list) and len(point) == 2 and all(isinstance(number, int) for number in point)):
            raise ConfigError(path + ".points", "%r: must be [microvolts, millimetres], whole numbers" % (point,))
    return section(values)


def _require_one_of_each(sensors):
    kinds = [sensor.kind for sensor in sensors]
    for at, kind in enumerate(kinds):
        if kind in kinds[:at]:
            raise ConfigError("sensors[%d].kind" % at, "%s is there already; a node has one of each" % kind)


def _check_wakes(values):
    for at, sensor in enumerate(values["sensors"]):
        if sensor.kind == "switch" and sensor.wakes and values["sleep"] != "deep":
            raise ConfigError("sensors[%d].wakes" % at, 'is for sleep = "deep"; a node that is awake samples it anyway')


def _parse_alarms(raws):
    """Limits as wire integers; all know of time if one of them needs it."""
    alarms = [_parse_alarm(raw, "alarms[%d]" % at) for at, raw in enumerate(raws)]
    if not any(alarm["hold_ms"] or alarm["is_rate"] for alarm in alarms):
        for alarm in alarms:
            del alarm["hold_ms"], alarm["is_rate"]
    return [section(alarm) for alarm in alarms]


def _parse_alarm(raw, path):
    if not isinstance(raw, dict):
        raise ConfigError(path, 'must be an object, as {"quantity": "pm2_5", "above": 150, "clear": 120}')
    values = check_table(raw, _ALARM, path + ".")
    quantity = values["quantity"]
    if quantity not in ALARM_SCALES:
        raise ConfigError(
            path + ".quantity",
            "%r is no quantity we know; did you mean %r?" % (quantity, nearest(quantity, ALARM_SCALES)),
        )
    given = [key for key in ("above", "below", "rate_above", "rate_below") if values[key] is not None]
    if len(given) != 1:
        raise ConfigError(path, 'must have either "above" or "below", or else "rate_above" or "rate_below"')
    is_above, is_rate = given[0].endswith("above"), given[0].startswith("rate")
    limit = values[given[0]]
    clear = limit if values["clear"] is None else values["clear"]
    if clear > limit if is_above else clear < limit:
        raise ConfigError(path + ".clear", "%r lies on the alarm's own side of %r" % (clear, limit))
    scale = ALARM_SCALES[quantity] * (1000 if is_rate else 1)  # of a rate thousandths per second
    return {
        "quantity": quantity,
        "is_above": is_above,
        "limit": round(limit * scale),
        "clear": round(clear * scale),
        "hold_ms": values["hold_s"] * 1000,
        "is_rate": is_rate,
    }


def _with_allowance(values):
    """The region's word on frequencies, power and airtime, and the driver's on the modulation."""
    freq_hz, bandwidth_hz, power_dbm = values["freq_hz"], values["bandwidth_hz"], values["tx_power_dbm"]
    key = "lora.freq_hz"
    try:
        band = band_of(freq_hz, bandwidth_hz)
        key = "lora.downlink_freq_hz"
        band_of(values["downlink_freq_hz"], bandwidth_hz)
        key = "lora.tx_power_dbm"
        check_power(freq_hz, power_dbm, bandwidth_hz=bandwidth_hz, antenna_dbi=values["antenna_dbi"])
        key = "lora.max_frame"
        channel = Channel(freq_hz, values["spreading_factor"], bandwidth_hz, 1, power_dbm)
        DutyLedger().wait_s(freq_hz, channel.airtime_us(values["max_frame"]), 0, bandwidth_hz)
    except (RegionError, ValueError) as error:
        raise ConfigError(key, str(error))
    values["allowance_us"] = band.allowance_us
    return values


def nearest(word, words):
    """The one of `words` that takes the fewest edits to become `word`."""
    return min(sorted(words), key=lambda other: _edits(word, other))


def _edits(a, b):
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a):
        diagonal, row[0] = row[0], i + 1
        for j, other in enumerate(b):
            diagonal, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, diagonal + (letter != other))
    return row[-1]
