"""A boot that is spent on joining: it ends in a reset, so that the application starts in a heap as clean as ever.

A node without a session tries until it is admitted, at growing intervals; one whose gateway fell silent tries once and
goes on as it was. NVS entries besides settings': "priv" and "seed" (birth), "site" (whom it trusts: drivers.link.site),
"join" i32 1: a join is due, "joins" i32: joins that failed in a row.
"""

import asyncio
import os

import machine

from drivers import clock
from drivers.constant import const
from drivers.link import p256
from drivers.link.seal import aes_ecb
from drivers.link.site import trust_from
from firmware import hardware
from firmware.enrol import enrol
from firmware.entropy import draw
from firmware.identity import NotEnrolled, load_history, read_blob, read_u32
from firmware.join import Joiner
from firmware.recovery import load_state
from firmware.settings import Settings
from firmware.uptime import Uptime

_FIRST_PAUSE_S = const(15)
_LONGEST_PAUSE_S = const(3_600)
_QUICK_TRIES = const(3)  # a gateway that has to show its entry, or the site's next key, is asked again at once
_LONGEST_DOWNLINK = const(255)
_FEED_S = const(5)
_RELAXED_MS = const(3_600_000)


def seek(parts):
    """Join, or give up for now; then reset. Raises NotEnrolled, ConfigError for what a person must mend."""
    nvs = parts.nvs
    settings = _settings_of(nvs)
    has_session = read_blob(nvs, "key", 32) is not None
    settings.erase("join")  # whatever happens next happens once
    if has_session:
        settings.write_u32("joins", (read_u32(nvs, "joins") or 0) + 1)
    watchdog = machine.WDT(timeout=parts.config.watchdog_s * 1000)
    try:
        asyncio.run(_seek(parts, settings, watchdog, has_session))
    except KeyboardInterrupt:
        machine.WDT(timeout=_RELAXED_MS).feed()
        raise
    machine.reset()


def adopt(nvs, settings, joined):
    """Go on under a key that the gateway has. A cut leaves the key before, or none and the node joins again."""
    if read_blob(nvs, "key", 32) is not None and read_u32(nvs, "epoch") == joined.epoch:
        settings.write("set_blob", "key", joined.root)  # counters go on, so one entry is all that changes
    else:
        enrol(nvs, key=joined.root, address=settings.address, node_id=settings.node_id, epoch=joined.epoch)
    settings.erase("joins")


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


async def _seek(parts, settings, watchdog, has_session):
    nvs = parts.nvs

    async def pause(seconds):
        while seconds > 0:
            watchdog.feed()
            step_s = min(seconds, _FEED_S)
            await clock.sleep_ms(step_s * 1000)
            seconds -= step_s
        watchdog.feed()

    def keep(octets):
        settings.write("set_blob", "site", octets)

    joiner = Joiner(
        p256.scalar(read_blob(nvs, "priv", 32)),
        settings.address,
        _trust_of(nvs),
        draw=lambda: draw(nvs),
        aes=aes_ecb,
        pause=pause,
        random_below=_random_below,
        keep=keep,
    )
    bearer = _open_bearer(parts, settings)
    await bearer.start()
    pause_s = _FIRST_PAUSE_S
    while True:
        watchdog.feed()
        joined = await _try(joiner, bearer, (read_u32(nvs, "epoch") or 0) if has_session else 0)
        if joined is not None:
            adopt(nvs, settings, joined)
            print("lamppost: joined, epoch %d" % joined.epoch)
            return
        print("lamppost: not joined: %s" % joiner.failure)
        if has_session:
            return
        await pause(pause_s // 2 + _random_below(pause_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def _try(joiner, bearer, epoch):
    for _ in range(_QUICK_TRIES):
        joined = await joiner.attempt(bearer, epoch)
        if joined is not None or joiner.failure != "unknown_gateway":
            return joined
    return None


def _trust_of(nvs):
    try:
        return trust_from(read_blob(nvs, "site", 512) or b"")
    except ValueError:
        raise NotEnrolled("no site to trust in NVS; provision this node again: lamppost provision")


def _open_bearer(parts, settings):
    config = parts.config
    uptime = Uptime(clock)
    if config.bearer == "lora":
        from firmware.bearer_lora import LoraBearer

        state, _ = load_state(machine.RTC().memory)
        radio = hardware.open_radio(parts.board)
        return LoraBearer(radio, config.lora, uptime, clock, state, longest_downlink=_LONGEST_DOWNLINK)
    from firmware.bearer_mqtt import MqttBearer

    return MqttBearer(hardware.open_wlan(), config.wifi, config.mqtt, uptime, clock, settings, keepalive_s=60)


def _random_below(limit):
    return int.from_bytes(os.urandom(4), "big") % limit if limit > 0 else 0
