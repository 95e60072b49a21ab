"""From reset to the parts of the running application, or to the REPL whenever a technician wants it.

Ways in: hold the button at reset or wake; Ctrl-C within the first seconds after a reset; Ctrl-C at any time. Whatever
is wrong with files or enrolment is said in one line, with the next step, and leaves the REPL open.

The code of this stage (checking the configuration, opening buses, comparing flash and NVS) is needed once: `prepare`
ends with taking its modules out of memory again, this one included: 128 KiB hold the application, but not both.
"""

import hashlib
import time

import esp32
import machine

from drivers import clock
from firmware import crash, identity
from firmware.forget import forget
from firmware.uptime import Uptime

_JOURNAL = "/journal"


class Parts:
    """What a Node is made of: attributes only."""

    is_joining = False  # this boot is for firmware.admission
    output = None  # hardware.open_output, where the configuration has one


def prepare():
    """Boot. Returns the parts of the application, or None where the REPL is to stay open. Crashes wait and reset."""
    parts = Parts()
    parts.nvs = esp32.NVS(identity.NAMESPACE)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return parts if _make(parts) else None
    except KeyboardInterrupt:
        print("lamppost: stopped by Ctrl-C, the REPL is open; machine.reset() starts the application")
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not lock anybody out
        nvs, parts = parts.nvs, None  # pyright: ignore[reportAttributeAccessIssue] - it may be for want of memory
        crash.fall(error, nvs)
    finally:
        forget("firmware.crash", "firmware.identity", "firmware.config_error", "firmware.start", "firmware.forget")
    return None


def _make(parts):
    """Do all steps, each with its own modules. False if one of them said why the application cannot run."""
    from firmware.config_error import ConfigError

    try:
        for step, modules in _STEPS:
            goes_on = step(parts)
            forget(*modules)
            if goes_on is False:
                return parts.is_joining
    except (ConfigError, identity.NotEnrolled) as error:
        print("lamppost:", error)
        print("lamppost: nothing is measured until then; the REPL is open")
        return False
    return True


def _load_files(parts):
    from firmware import config, hardware

    parts.woke = machine.reset_cause() == machine.DEEPSLEEP_RESET
    parts.board = hardware.load_board("/board.json")
    parts.is_button_held = hardware.is_button_held(parts.board)
    if not parts.is_button_held:
        parts.config = config.load("/config.json")
        if parts.config.output_safe is not None:
            parts.output = hardware.open_output(parts.board, parts.config)


def _may_start(parts):
    """Give a technician the chance to come in, and crashes in a row the rest they need."""
    if parts.is_button_held:
        print("lamppost: button held, the REPL is open; machine.reset() starts the application")
        return False
    if not parts.woke:
        window_s = parts.config.repl_window_s
        print("lamppost: Ctrl-C within %d s opens the REPL" % window_s)
        time.sleep_ms(window_s * 1000)
    if machine.reset_cause() == machine.WDT_RESET:
        crash.add(parts.nvs)  # pyright: ignore[reportAttributeAccessIssue]
    if crash.is_safe_mode_due(parts.nvs):  # pyright: ignore[reportAttributeAccessIssue]
        crash.stay_safe()
        return False
    return True


def _join_if_due(parts):
    """A node with a key pair and no session, or whose gateway is gone, spends this boot on asking to be admitted."""
    if identity.read_blob(parts.nvs, "priv", 32) is None:
        return True
    from firmware.rejoin import check

    return check(parts)


def _load_numbers(parts):
    """NVS, journal and RTC memory, in agreement; and the clock of this boot."""
    from firmware.archive import Archive
    from firmware.journal_scan import open_journal
    from firmware.recovery import begin_boot, close_what_disagrees, load_state, resume

    parts.settings = settings = identity.load(parts.nvs)  # pyright: ignore[reportAttributeAccessIssue]
    pace = identity.read_blob(parts.nvs, "pace", 8) or bytes(8)  # pyright: ignore[reportAttributeAccessIssue]
    parts.sample_s = int.from_bytes(pace[:4], "big") or parts.config.sample_s  # what an order said: obey
    parts.report_s = int.from_bytes(pace[4:], "big") or parts.config.report_s
    cap = parts.config.journal_reports
    owner = hashlib.sha256(settings.node_id.encode()).digest()[:8]
    journal, foreign = open_journal(_JOURNAL, owner, segment_records=min(max(cap // 8, 4), 64))
    if foreign:
        print("lamppost: %d journal segments of another node id are kept, not sent" % foreign)
    parts.archive = Archive(settings, journal, cap=cap)
    told = close_what_disagrees(settings, journal)
    if told:
        print("lamppost:", told)
    if identity.read_blob(parts.nvs, "acked", 24):
        from firmware.leaving import take_up

        take_up(parts.nvs, settings, journal)
    state, is_found = load_state(machine.RTC().memory)
    parts.state = state
    asleep_at_ms = state.asleep_at_s * 1000 + state.asleep_at_ms  # pyright: ignore[reportAttributeAccessIssue]
    slept_ms = time.time_ns() // 1_000_000 - asleep_at_ms if is_found else -1
    uptime_ms = resume(settings, journal, state, slept_ms) if parts.woke else None
    if uptime_ms is None:
        begin_boot(settings, journal, state)
        parts.uptime = Uptime(clock)
    else:
        parts.uptime = Uptime(clock, start_s=uptime_ms // 1000, phase_ms=uptime_ms % 1000)


def _open_devices(parts):
    from firmware import hardware
    from firmware.sample import Sampler

    hardware.power_sensors(parts.board, True)
    parts.sampler = Sampler(hardware.open_sensors(parts.board, parts.config.sensors), parts.uptime)


def _open_bearer(parts):
    """The bearer that the configuration names; the other one's modules are not loaded."""
    from firmware import hardware

    settings, state, uptime, config = parts.settings, parts.state, parts.uptime, parts.config
    if config.bearer == "lora":
        if config.lora.beacons:
            from firmware.bearer_beacons import BeaconBearer as LoraBearer
        else:
            from firmware.bearer_lora import LoraBearer

        parts.bearer = LoraBearer(hardware.open_radio(parts.board), config.lora, uptime, clock, state)
    else:
        from firmware.bearer_mqtt import MqttBearer

        keepalive_s = min(max(60, 2 * config.report_s), 65_535)
        wlan = hardware.open_wlan()
        parts.bearer = MqttBearer(wlan, config.wifi, config.mqtt, uptime, clock, settings, keepalive_s=keepalive_s)
    radio = parts.board.get("radio") or {}
    parts.board = {"vext": parts.board.get("vext"), "nss": radio.get("nss")}  # what asleep wants; the rest is used


def _open_reporter(parts):
    """After the bearer: its step left no room for this one's modules."""
    from drivers.link.keys import seals_of
    from firmware.report import Reporter

    settings = parts.settings
    up, down = seals_of(settings.key, settings.epoch)
    parts.reporter = Reporter(
        parts.archive,
        settings,
        parts.state,
        parts.uptime,
        max_frame=parts.bearer.max_frame,
        up=up,
        down=down,
        always_full=parts.config.bearer == "mqtt",
    )
    if hasattr(parts.bearer, "keys"):
        parts.bearer.keys = settings, up, down


def _load_rules(parts):
    """Early, while there is room in one piece: for the code, and for the table of names, which doubles when full.

    So are the names of what is loaded later for a moment.
    """
    import firmware.began
    import firmware.obey
    import firmware.turn

    if parts.config.rules is not None:
        import firmware.rule_setup
        import firmware.rules
    if parts.config.alarms and hasattr(parts.config.alarms[0], "hold_ms"):
        import firmware.alarm_timed  # noqa: F401


def _set_rules(parts):
    from firmware.rule_setup import set_up

    set_up(parts)


def _check(parts):
    """After a reset, not after each sleep."""
    settings, held = parts.settings, parts.archive.count_held()
    print(
        "lamppost: node %s, epoch %d, boot %d, %d reports wait"
        % (settings.node_id, settings.epoch, settings.boot, held)
    )
    if not parts.woke:
        from firmware.selftest import check

        check(parts, _JOURNAL)


def _slim_config(parts):
    """Keep what the application asks for later: every section is a class of its own, and 128 KiB are few."""
    from collections import namedtuple

    config = parts.config
    values = [getattr(config, name) for name in _KEPT]
    sample_ms = config.rules.sample_ms if config.rules is not None else 0
    parts.config = namedtuple("Config", _KEPT + ("sample_ms",))(*values, sample_ms)


_KEPT = (
    "sleep",
    "sample_s",
    "report_s",
    "retry_s",
    "retry_max_s",
    "watchdog_s",
    "output_safe",
    "output_longest_s",
    "rekey_frames",
    "rekey_days",
)
# What is done in which order, and the modules that nobody needs afterwards.
_STEPS = (
    (_load_files, ("firmware.config", "firmware.config_rules", "drivers.radio.region")),
    (_may_start, ()),
    (_join_if_due, ("firmware.rejoin", "firmware.enrol", "firmware.epochs")),
    (_load_rules, ("firmware.rule_setup", "firmware.began", "firmware.obey", "firmware.turn")),
    (_load_numbers, ("firmware.leaving", "firmware.recovery", "firmware.epochs", "firmware.journal_scan")),
    (_open_devices, ()),
    (_open_bearer, ("firmware.hardware",)),
    (_check, ("firmware.selftest", "drivers.radio.sx126x_bringup")),
    (_open_reporter, ("drivers.link.keys",)),
    (_set_rules, ("firmware.rule_setup",)),
    (_slim_config, ()),
)
