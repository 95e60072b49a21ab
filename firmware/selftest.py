"""The check at boot: prints, line by line, what is there, what is wrong, and the next step. Changes nothing.

A problem here stops nothing either: a node without radio still measures, one without a sensor still reports the others.
"""

import asyncio
import os

from drivers.constant import const
from drivers.sensor.errors import SensorError
from firmware.bearer_error import BearerError

_BLOCK = const(4096)


def check(parts, folder):
    """Run every check. Returns how many problems were found."""
    return asyncio.run(_check(parts, folder))


async def _check(parts, folder):
    problems = {"flash": [_flash_problem(parts.config, folder)], "sensors": [], parts.config.bearer: []}
    for _, sensor in parts.sampler.sensors:  # warm or not
        try:
            await sensor.measure()
        except SensorError as error:
            problems["sensors"].append(str(error))
    try:
        await parts.bearer.start()  # a radio answers at once or never; about Wi-Fi the first report says what is wrong
    except BearerError as error:
        problems[parts.config.bearer].append(str(error))
    return sum(_tell(name, [problem for problem in problems[name] if problem]) for name in sorted(problems))


def _tell(name, problems):
    print("lamppost: self-check: %s: %s" % (name, "PROBLEM: " + "; ".join(problems) if problems else "good"))
    return len(problems)


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
