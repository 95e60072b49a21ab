"""A boot that is spent on joining: it ends in a reset, so that the application starts in a heap as clean as ever.

A node without a session tries until it is admitted, at growing intervals; one whose gateway fell silent tries once and
goes on as it was. NVS entries besides settings': "priv" and "seed" (birth), "site" (whom it trusts: drivers.link.site),
"join" i32 1: a join is due, "joins" i32: joins that failed in a row, "next": what a join agreed on (enrol.adopt),
"acked": what a gateway has that fell silent (leaving).

The steps load their own modules and leave none behind: 128 KiB hold radio and curve, but not what opens them as well.
"""

import asyncio
import gc

import machine

from drivers import clock
from drivers.constant import const
from firmware.forget import forget
from firmware.identity import NotEnrolled, load_history, read_blob, read_u32
from firmware.settings import Settings
from firmware.uptime import Uptime

_LONGEST_DOWNLINK = const(255)
_RELAXED_MS = const(3_600_000)
_OF_RECOVERY = (
    "firmware.recovery",
    "firmware.epochs",
    "firmware.archive",
    "firmware.journal",
    "drivers.link.pack",
    "drivers.link.schema",
    "drivers.link.bits",
)
_OF_OPENING = ("firmware.hardware", "drivers.radio.sx126x_bringup")


def seek(parts):
    """Join, or give up for now; then reset. Returns only to leave the REPL open."""
    nvs = parts.nvs
    try:
        _seek(parts, nvs)
    except KeyboardInterrupt:
        machine.WDT(timeout=_RELAXED_MS).feed()
        print("lamppost: stopped by Ctrl-C, the REPL is open for an hour; machine.reset() goes on joining")
    except NotEnrolled as error:
        machine.WDT(timeout=_RELAXED_MS).feed()
        print("lamppost:", error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not lock anybody out
        machine.WDT(timeout=_RELAXED_MS).feed()
        from firmware.crash import fall

        fall(error, nvs)


def _seek(parts, nvs):
    settings = _settings_of(nvs)
    has_session = read_blob(nvs, "key", 32) is not None
    settings.erase("join")  # whatever happens next happens once
    if has_session:
        settings.write_u32("joins", (read_u32(nvs, "joins") or 0) + 1)
    watchdog = machine.WDT(timeout=parts.config.watchdog_s * 1000)
    bearer = _open_bearer(parts, settings)
    parts.board = parts.config = None
    gc.collect()
    joined = _join(nvs, settings, bearer, watchdog, has_session)
    if joined is not None:
        settings.write("set_blob", "next", joined.root + joined.epoch.to_bytes(4, "big"))  # the next boot adopts it
    machine.reset()


def _settings_of(nvs):
    """Names and history; no key."""
    settings = Settings(nvs)
    address = read_blob(nvs, "address", 2)
    if address is None or len(address) != 2:
        raise NotEnrolled("a key pair, but no address beside it in NVS; provision this node again")
    settings.address = address[0] << 8 | address[1]
    settings.node_id = str(read_blob(nvs, "id", 128) or b"", "utf-8")
    load_history(nvs, settings)
    return settings


def _open_bearer(parts, settings):
    """The bearer that the configuration names, started."""
    config = parts.config
    uptime = Uptime(clock)
    if config.bearer == "lora":
        from firmware.recovery import load_state

        state, _ = load_state(machine.RTC().memory)
        del load_state
        forget(*_OF_RECOVERY)
        from firmware import hardware
        from firmware.bearer_lora import LoraBearer

        radio = hardware.open_radio(parts.board)
        bearer = LoraBearer(radio, config.lora, uptime, clock, state, limit=_LONGEST_DOWNLINK)
    else:
        from firmware import hardware
        from firmware.bearer_mqtt import MqttBearer

        wlan = hardware.open_wlan()
        bearer = MqttBearer(wlan, config.wifi, config.mqtt, uptime, clock, settings, keepalive_s=60)
    asyncio.run(bearer.start())
    del hardware
    forget(*_OF_OPENING)
    return bearer


def _join(nvs, settings, bearer, watchdog, has_session):
    from firmware.seeker import seek_once, seek_until_joined

    epoch = (read_u32(nvs, "epoch") or 0) if has_session else 0
    seeking = seek_once if has_session else seek_until_joined
    return asyncio.run(seeking(nvs, settings, bearer, watchdog, epoch))
