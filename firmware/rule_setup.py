"""From the configuration to the rules of a running node. Needed once at a start, then forgotten."""

from binascii import crc32

import machine


def set_up(parts):
    """Give the parts `alarms`, `rules` (None if there are none) and `carries`; hurry if a pin ended the sleep."""
    parts.alarms = _alarms(parts)
    parts.rules = _rules(parts)
    parts.carries = None
    states = (parts.rules.states() if parts.rules else []) + getattr(parts.alarms, "states", [])
    if states and parts.config.sleep == "deep":
        _take_up(parts, states)
    if parts.woke and machine.wake_reason() in (machine.EXT0_WAKE, machine.EXT1_WAKE):
        parts.state.sample_at_s = parts.state.report_at_s = parts.uptime.seconds()


def _alarms(parts):
    """With a clock if one of them wants it."""
    alarms, on_bits = parts.config.alarms, parts.state.alarms
    if alarms and hasattr(alarms[0], "hold_ms"):
        from firmware.alarm_timed import TimedAlarms

        return TimedAlarms(alarms, parts.uptime, on_bits=on_bits)
    from firmware.alarm import Alarms

    return Alarms(alarms, on_bits=on_bits)


def _rules(parts):
    config = parts.config.rules
    if config is None:
        return None
    from firmware.rules import Rules

    return Rules(config.windows, config.exceptions, config.held_back_s, parts.uptime.nearest_s())


def _take_up(parts, states):
    """Go on with what was carried through a sleep, if it was under this very configuration."""
    from firmware import carried

    mark = crc32(repr((parts.config.rules, parts.config.alarms)).encode()) & 0xFFFFFFFF
    if parts.woke:
        carried.restore(parts.state.image, parts.settings.boot, mark, states)
    parts.carries = (mark, states)
