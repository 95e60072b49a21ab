"""The part of /config.json that says what of the samples becomes a report.

    "rules": {"sample_ms": 200, "held_back_s": 3600,
              "windows": [{"quantities": ["temperature", "humidity"], "length_s": 600}],
              "exceptions": [{"quantities": ["water_level"], "dead_band": 0.02, "heartbeat_s": 3600}]}
Loaded only where that key is there.
"""

from firmware.config import ALARM_SCALES, QUANTITIES_OF, REQUIRED, check_table, nearest, section
from firmware.config_error import ConfigError

_RULES = {
    "sample_ms": ((int, 20, 60_000), 0),
    "held_back_s": ((int, 60, 86_400), 3_600),
    "windows": ((list, 0, 8), ()),
    "exceptions": ((list, 0, 8), ()),
}
_WINDOW = {
    "quantities": ((list, 1, 9), REQUIRED),
    "length_s": ((int, 1, 86_400), REQUIRED),
}
_EXCEPTION = {
    "quantities": ((list, 1, 9), REQUIRED),
    "dead_band": ((float,), None),
    "dead_band_pct": ((float,), None),
    "on_change": ((bool,), False),
    "heartbeat_s": ((int, 1, 86_400), 3_600),
}
_MOST_SERIES = 16  # quantities in all windows: what RTC memory has room for
_LONGEST_SAMPLES = (1 << 21) - 1  # that the wire can count in a window


def parse_rules(raw, values):
    """Check "rules". `values`: the rest of the configuration, checked. Raises ConfigError."""
    rules = check_table(raw, _RULES, "rules.")
    windows = [_parse_window(raw, "rules.windows[%d]" % at) for at, raw in enumerate(rules["windows"])]
    exceptions = {}
    for at, one in enumerate(rules["exceptions"]):
        _parse_exception(one, "rules.exceptions[%d]" % at, exceptions)
    if sum(len(quantities) for quantities, _ in windows) > _MOST_SERIES:
        raise ConfigError("rules.windows", "more than %d quantities in all windows" % _MOST_SERIES)
    _check_covered(rules["sample_ms"], windows, exceptions, values)
    rules["windows"], rules["exceptions"] = windows, exceptions
    return section(rules)


def _parse_window(raw, path):
    if not isinstance(raw, dict):
        raise ConfigError(path, 'must be an object, as {"quantities": ["pm2_5"], "length_s": 600}')
    values = check_table(raw, _WINDOW, path + ".")
    return tuple(_quantities(values["quantities"], path)), values["length_s"]


def _parse_exception(raw, path, exceptions):
    if not isinstance(raw, dict):
        raise ConfigError(path, 'must be an object, as {"quantities": ["water_level"], "dead_band": 0.02}')
    values = check_table(raw, _EXCEPTION, path + ".")
    bands = values["dead_band"], values["dead_band_pct"]
    for key, band in zip(("dead_band", "dead_band_pct"), bands):
        if band is not None and not 0 < band < 1_000_000:
            raise ConfigError("%s.%s" % (path, key), "%r: must be more than 0" % band)
    if values["on_change"] and bands != (None, None):
        raise ConfigError(path + ".on_change", "contradicts a dead band; keep one of them")
    for quantity in _quantities(values["quantities"], path):
        if quantity in exceptions:
            raise ConfigError(path + ".quantities", "%r is under an exception already" % quantity)
        # A difference of integers is above the band if it is above the next whole number below it.
        band = -1 if bands[0] is None else int(bands[0] * ALARM_SCALES[quantity] + 1e-6)
        permille = -1 if bands[1] is None else round(bands[1] * 1000)
        exceptions[quantity] = (band, permille, values["on_change"], values["heartbeat_s"])


def _quantities(names, path):
    for at, name in enumerate(names):
        if name not in ALARM_SCALES:
            raise ConfigError(
                path + ".quantities",
                "%r is no quantity we know; did you mean %r?" % (name, nearest(str(name), ALARM_SCALES)),
            )
        if name in names[:at]:
            raise ConfigError(path + ".quantities", "%r is there twice" % name)
    return names


def _check_covered(sample_ms, windows, exceptions, values):
    """A node that samples fast must not report each sample: flash and the region's airtime would be gone in a day."""
    if not sample_ms:
        return
    if values["sleep"] != "idle":
        raise ConfigError("rules.sample_ms", 'needs sleep = "idle"; in deep sleep sample_s counts')
    covered = set(exceptions)
    for quantities, length_s in windows:
        covered.update(quantities)
        if length_s * 1000 // sample_ms > _LONGEST_SAMPLES:
            raise ConfigError("rules.sample_ms", "so many samples of a window of %d s cannot be counted" % length_s)
    for sensor in values["sensors"]:
        for quantity in QUANTITIES_OF[sensor.kind]:
            if quantity not in covered:
                raise ConfigError(
                    "rules.sample_ms", "%s is in no window and under no exception: each sample would be told" % quantity
                )
