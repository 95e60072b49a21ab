"""From the interpreter's start to boot.py and main.py, as the ESP32 port does it (ports/esp32/main.c, _boot.py)."""

import gc
import sys

import utime
import vfs
from _host import IS_INTERRUPTED, LINK, SPEED, STARTS_RAW
from micropython import const

_READY = const(0x03)
_SOFT_RESET = const(0x05)
_BOOT_PY = "# This file is executed on every boot (including wake-boot from deepsleep)\n"


def run(names):
    """Load the shims, mount the flash, run boot.py and main.py with the names of the REPL."""
    _load_asyncio()
    _load_shims()
    _mount()
    sys.path[:] = ["", ".frozen", "/lib"]
    names.clear()
    names["__name__"] = "__main__"
    for module in ("_start", "_host", "_remote", "_micropython"):
        sys.modules.pop(module, None)
    gc.collect()  # the port's own start leaves no garbage
    sys.atexit(lambda: _close_files(names))
    LINK.ask(_READY)
    if not IS_INTERRUPTED and _run_file("boot.py", names) and not STARTS_RAW:
        _run_file("main.py", names)


def _load_asyncio():
    """Its scheduler is in C and lives by the interpreter's own ticks, so it gets those; only its sleeps are scaled."""
    sys.modules["time"] = utime
    import asyncio

    core, sleep_ms = asyncio.core, asyncio.core.sleep_ms
    del sys.modules["time"]
    if SPEED != 1:

        def scaled(duration_ms):
            return sleep_ms(int(duration_ms / SPEED))

        core.sleep_ms = asyncio.sleep_ms = scaled


def _load_shims():
    import os  # noqa: F401
    import socket  # noqa: F401
    import time  # noqa: F401

    import _micropython
    import esp32  # noqa: F401
    import flashbdev  # noqa: F401
    import machine  # noqa: F401
    import network  # noqa: F401

    sys.modules["micropython"] = _micropython


def _mount():
    from flashbdev import bdev

    vfs.umount("/rom")
    vfs.umount("/")
    try:
        vfs.mount(_open(bdev), "/")
    except OSError:
        _set_up(bdev)


def _open(bdev):
    return vfs.VfsLfs2(bdev, readsize=32, progsize=32, lookahead=32, mtime=True)


def _set_up(bdev):
    """inisetup.py of the ESP32 port: a blank flash gets a file system, any other is left for a human."""
    block = bytearray(bdev.ioctl(5, 0))
    bdev.readblocks(0, block)
    if any(byte != 0xFF for byte in block):
        _report_corruption()
    print("Performing initial setup")
    vfs.VfsLfs2.mkfs(bdev, readsize=32, progsize=32, lookahead=32)
    vfs.mount(_open(bdev), "/")
    with open("boot.py", "w") as file:
        file.write(_BOOT_PY)


def _report_corruption():
    LINK.ask(_READY)
    while True:
        print("The filesystem appears to be corrupted. If you had important data there, make a flash snapshot.")
        print("Otherwise erase the flash and start anew.")
        utime.sleep(3)


def _close_files(names):
    """A soft reset finalises all objects: files that were left open are written."""
    names.clear()
    sys.modules.clear()
    gc.collect()


def _run_file(path, names):
    """False if there was an exception other than "no such file"; it is printed."""
    try:
        with open(path) as file:
            source = file.read()
    except OSError:
        return True
    try:
        exec(compile(source, path, "exec"), names)
    except SystemExit:
        _close_files(names)
        LINK.ask(_SOFT_RESET)
    except BaseException as error:  # noqa: BLE001 - as the REPL does with what a file raises
        sys.print_exception(error)
        return False
    return True
