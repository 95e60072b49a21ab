"""The check at boot: prints, line by line, what is there, what is wrong, and the next step. Changes nothing.

A problem here stops nothing either: a node without radio still measures, one without a sensor still reports the others.
"""

import asyncio
import os

from drivers.sensor.errors import SensorError
from firmware.bearer_error import BearerError

_BLOCK = 4096


def check(parts, folder):
    """Run every check. Returns how many problems were found."""
    return asyncio.run(_check(parts, folder))


async def _check(parts, folder):
    found = 0
    for name, problem in (
        ("flash", _flash_problem(parts.config, folder)),
        ("sensors", await _sensor_problem(parts.sampler)),
        (parts.config.bearer, await _bearer_problem(parts.bearer)),
    ):
        print("lamppost: self-check: %s: %s" % (name, "PROBLEM: " + problem if problem else "good"))
        found += 1 if problem else 0
    return found


def _flash_problem(config, folder):
    """The journal's cap must fit: a segment of up to 64 reports takes a block."""
    stats = os.statvfs(folder)
    free_kib = stats[0] * stats[3] // 1024
    needed_kib = config.journal_reports * _BLOCK // 64 // 1024
    if free_kib >= needed_kib:
        return ""
    return "%d KiB free, journal_reports = %d may want %d KiB; lower it, or delete files" % (
        free_kib,
        config.journal_reports,
        needed_kib,
    )


async def _sensor_problem(sampler):
    """Ask them all, warm or not."""
    faults = []
    for _, sensor in sampler.sensors:
        try:
            await sensor.measure()
        except SensorError as error:
            faults.append(str(error))
    return "; ".join(faults)


async def _bearer_problem(bearer):
    """The radio answers at once or never. Wi-Fi takes seconds: the first report says what is wrong with it."""
    try:
        await bearer.start()
    except BearerError as error:
        return str(error)
    return ""
