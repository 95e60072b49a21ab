"""When to try to join, and with what: the node's key pair, its entropy, whom it trusts. Loaded for a join only."""

import os

from drivers import clock
from drivers.constant import const
from drivers.link import p256
from drivers.link.seal import aes_ecb
from firmware.entropy import draw
from firmware.forget import forget
from firmware.identity import NotEnrolled, read_blob
from firmware.join import Joiner

_FIRST_PAUSE_S = const(15)
_LONGEST_PAUSE_S = const(3_600)
_QUICK_TRIES = const(3)  # a gateway that has to show its entry, or the site's next key, is asked again at once
_FEED_S = const(5)
_MAX_TRUST = const(512)


async def seek_until_joined(nvs, settings, bearer, watchdog, epoch):
    """Try at growing intervals, each with as much again at random. Returns Joined."""
    joiner = _joiner(nvs, settings, watchdog)
    pause_s = _FIRST_PAUSE_S
    while True:
        joined = await _try(joiner, bearer, epoch)
        if joined is not None:
            return joined
        await _pause(watchdog, pause_s // 2 + _random_below(pause_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def seek_once(nvs, settings, bearer, watchdog, epoch):
    """Try once. Returns Joined, or None."""
    return await _try(_joiner(nvs, settings, watchdog), bearer, epoch)


async def _try(joiner, bearer, epoch):
    for _ in range(_QUICK_TRIES):
        joined = await joiner.attempt(bearer, epoch)
        if joined is not None:
            print("lamppost: joined, epoch %d" % joined.epoch)
            return joined
        print("lamppost: not joined: %s" % joiner.failure)
        if joiner.failure != "unknown_gateway":
            break
    return None


def _joiner(nvs, settings, watchdog):
    return Joiner(
        p256.scalar(read_blob(nvs, "priv", 32)),
        settings.address,
        lambda: _load_trust(nvs),
        draw=lambda: draw(nvs),
        aes=aes_ecb,
        pause=lambda seconds: _pause(watchdog, seconds),
        random_below=_random_below,
        keep=lambda octets: settings.write("set_blob", "site", octets),
        release=lambda: forget("drivers.link.site"),
    )


def _load_trust(nvs):
    from drivers.link.site import trust_from

    try:
        return trust_from(read_blob(nvs, "site", _MAX_TRUST) or b"")
    except ValueError:
        raise NotEnrolled("no site to trust in NVS; provision this node again: lamppost provision")


async def _pause(watchdog, seconds):
    """Sleep, and keep the watchdog fed meanwhile."""
    while seconds > 0:
        watchdog.feed()
        step_s = min(seconds, _FEED_S)
        await clock.sleep_ms(step_s * 1000)
        seconds -= step_s
    watchdog.feed()


def _random_below(limit):
    return int.from_bytes(os.urandom(4), "big") % limit if limit > 0 else 0
