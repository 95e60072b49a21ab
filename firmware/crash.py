"""Crashes in a row, counted in NVS: how long to wait before the next start, and when to stop trying for a while.

A node that crashes at every start must neither lock a technician out nor wear its battery down in silence.
"""

import sys
import time

import machine

from drivers.constant import const

_SAFE_AFTER = const(5)
_LONGEST_S = const(300)
_SAFE_MODE_S = const(3_600)


def count(nvs):
    """How many there were in a row."""
    try:
        return nvs.get_i32("crashes")
    except OSError:
        return 0


def add(nvs):
    """One more. Returns how many seconds to wait before starting again."""
    crashes = count(nvs) + 1
    _keep(nvs, crashes)
    return min(1 << min(crashes, 16), _LONGEST_S)


def is_safe_mode_due(nvs):
    """Whether to stay at the REPL for an hour. After it there is one more try before the next hour."""
    if count(nvs) < _SAFE_AFTER:
        return False
    _keep(nvs, _SAFE_AFTER - 2)  # the watchdog that ends the hour counts as one
    return True


def _keep(nvs, crashes):
    try:
        nvs.set_i32("crashes", crashes)
        nvs.commit()
    except OSError:
        pass  # worn NVS must not be one more reason to crash


def fall(error, nvs):
    """Say and keep what happened, wait, reset. Ctrl-C while it waits opens the REPL."""
    sys.print_exception(error)
    try:
        with open("/crash.txt", "w") as file:
            sys.print_exception(error, file)
    except (OSError, MemoryError):
        pass  # a full flash is perhaps what it crashed of, or a full heap
    wait_s = add(nvs)
    print("lamppost: crash %d in a row, reset in %d s; Ctrl-C opens the REPL" % (count(nvs), wait_s))
    try:
        time.sleep_ms(wait_s * 1000)
    except KeyboardInterrupt:
        print("lamppost: the REPL is open; /crash.txt has the crash")
        return
    machine.reset()


def stay_safe():
    """Leave the REPL open for an hour; then the watchdog starts the node once more."""
    machine.WDT(timeout=_SAFE_MODE_S * 1000)
    print("lamppost: safe mode after crashes in a row: the REPL is open for an hour, then one more try")
    print("lamppost: read /crash.txt, then correct the configuration or install the firmware again")
