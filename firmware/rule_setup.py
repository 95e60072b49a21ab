"""From the configuration to the rules of a running node. Needed once at a start, then forgotten."""

from binascii import crc32

import machine


def set_up_alarms(parts):
    """The alarms of the configuration, with a clock if one of them wants it."""
    alarms, on_bits = parts.config.alarms, parts.state.alarms
    if alarms and hasattr(alarms[0], "hold_ms"):
        from firmware.alarm_timed import TimedAlarms

        return TimedAlarms(alarms, parts.uptime, on_bits=on_bits)
    from firmware.alarm import Alarms

    return Alarms(alarms, on_bits=on_bits)


def set_up_rules(parts):
    """Windows and exceptions, None if there are none; and what both they and the alarms carried through a sleep."""
    config, rules = parts.config.rules, None
    if config is not None:
        from firmware.rules import Rules

        rules = Rules(config.windows, config.exceptions, config.held_back_s, parts.uptime.nearest_s())
    states = (rules.states() if rules else []) + ([parts.alarms.state] if hasattr(parts.alarms, "state") else [])
    parts.carries = None
    if states and parts.config.sleep == "deep":
        from firmware import carried

        mark = crc32(repr((config, parts.config.alarms)).encode()) & 0xFFFFFFFF
        if parts.woke:
            carried.restore(parts.state.image, parts.settings.boot, mark, states)
        parts.carries = (mark, states)
    return rules


def hurry_if_woken_by_pin(parts):
    """Whatever woke the node before its time is measured and told now."""
    if parts.woke and machine.wake_reason() in (machine.EXT0_WAKE, machine.EXT1_WAKE):
        parts.state.sample_at_s = parts.state.report_at_s = parts.uptime.seconds()
