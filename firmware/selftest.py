"""The check at boot: prints, line by line, what is there, what is wrong, and the next step. Changes nothing.

A problem here stops nothing either: a node without radio still measures, one without a sensor still reports the others.
"""

import os

_BLOCK = 4096


async def check(config, parts, folder):
    """Run every check. Returns how many problems were found."""
    problems = [_check_space(config, folder), await _check_sensors(parts), await _check_bearer(config, parts)]
    count = 0
    for name, problem in zip(("flash", "sensors", config.bearer), problems):
        parts.say("self-check: %s: %s" % (name, "PROBLEM: " + problem if problem else "good"))
        count += 1 if problem else 0
    return count


def _check_space(config, folder):
    """The journal's cap must fit: a segment of up to 64 reports takes a block."""
    stats = os.statvfs(folder)
    free = stats[0] * stats[3]
    needed = config.journal_reports * _BLOCK // 64
    if free < needed:
        return "%d KiB free, journal_reports = %d may want %d KiB; lower it, or delete files" % (
            free // 1024,
            config.journal_reports,
            needed // 1024,
        )
    return ""


async def _check_sensors(parts):
    await parts.sampler.measure()
    return "; ".join(parts.sampler.faults[kind] for kind in sorted(parts.sampler.faults))


async def _check_bearer(config, parts):
    from firmware.bearer import BearerError

    if config.bearer == "mqtt":
        return ""  # Wi-Fi takes seconds: the first report says what is wrong with it
    try:
        await parts.bearer.start()
    except BearerError as error:
        return str(error)
    return ""
