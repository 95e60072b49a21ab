"""What speaks for this machine's wall clock: a time server, a clock with a battery, or the host of a virtual machine.

Policies of [gateway] time: "ntp" hears the kernel's synchronised state alone; "rtc" also a hardware clock that agrees;
"auto" also the host of a virtual machine, which has no clock of its own to lose; "assume" takes the operator's word.
Knows nothing of floors and boots (gateway/clock). Source: adjtimex(2); Linux Documentation/admin-guide/rtc.rst.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import ClockTrust, Witness, Word, assumed

POLICIES = ("auto", "ntp", "rtc", "assume")

_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000
_TIME_ERROR = 5
_READ_APART_S = 1.0  # the kernel's own time and time.time(), read one after the other
_RTC_STEP_S = 1.0  # an RTC shows whole seconds
_RTC_ERROR_S = 5.0
_RTC_DRIFT = 20e-6  # since it was set, at the latest when the time was last known
_RTC_APART_S = 3.0
_HOST_ERROR_S = 1.0
_RTCS = Path("/sys/class/rtc")
_CPUINFO = Path("/proc/cpuinfo")
_HYPERVISORS = (Path("/sys/hypervisor/type"), Path("/proc/device-tree/hypervisor/compatible"))
_LIBC = ctypes.CDLL(None)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class KernelTime:
    """The kernel's clock and what it was told of it. `error_s`: None while no time server steers it."""

    now_s: float
    error_s: float | None


class _Timeval(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timeval),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("padding", ctypes.c_int * 11),
    )


def kernel_time() -> KernelTime | None:
    """Ask adjtimex(2), which changes nothing with modes = 0. None where the C library or a sandbox refuses."""
    timex = _Timex()
    try:
        verdict = _LIBC.adjtimex(ctypes.byref(timex))
    except AttributeError:
        return None
    if verdict < 0:
        return None
    parts = 1e9 if timex.status & _STA_NANO else 1e6
    is_steered = verdict != _TIME_ERROR and not timex.status & _STA_UNSYNC
    now_s = timex.time.tv_sec + timex.time.tv_usec / parts
    return KernelTime(now_s, timex.maxerror / 1e6 if is_steered else None)


def machine_boot_id() -> str | None:
    """The kernel's name for this boot. Where there is none, every start of the gateway counts as a boot."""
    try:
        return _BOOT_ID.read_text().strip() or None
    except OSError:
        return None


def rtc_time_s(folder: Path = _RTCS) -> float | None:
    """UTC by the hardware clock that the kernel took the time from at its start; None if there is none."""
    for rtc in _folders(folder):
        try:
            if (rtc / "hctosys").read_text().strip() == "1":
                return float((rtc / "since_epoch").read_text())
        except (OSError, ValueError):
            continue  # a chip that does not answer, or whose battery was empty, speaks for nothing
    return None


def is_hosted(rtcs: Path = _RTCS) -> bool:
    """Whether another system keeps this one's time, so that its clock was never without power.

    That is a hypervisor; or a PC that shows no hardware clock, which every PC has: this is a container on one.
    """
    if platform.machine() in ("x86_64", "i686") and not any(_folders(rtcs)):
        return True
    try:
        if any(" hypervisor" in line for line in _CPUINFO.read_text().splitlines() if line.startswith("flags")):
            return True
    except OSError:
        return False
    return any(path.exists() for path in _HYPERVISORS)


def _folders(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return ()


class Machine:
    """The witness of a real machine. What it reads can be given, as other machines have it."""

    def __init__(
        self,
        policy: str,
        *,
        kernel: Callable[[], KernelTime | None] = kernel_time,
        rtc: Callable[[], float | None] = rtc_time_s,
        hosted: Callable[[], bool] = is_hosted,
    ) -> None:
        self._hears_rtc = policy in ("rtc", "auto")
        self._is_hosted = policy == "auto" and hosted()
        self._kernel = kernel
        self._rtc = rtc

    def __call__(self, wall_s: float) -> Word | None:
        kernel = self._kernel()
        if kernel is not None:
            if abs(kernel.now_s - wall_s) > _READ_APART_S:
                return None  # what this process is shown is not what the kernel knows of
            if kernel.error_s is not None:
                return Word("ntp", kernel.error_s)
        if self._hears_rtc:
            rtc_s = self._rtc()
            if rtc_s is not None:
                return (
                    Word("rtc", _RTC_ERROR_S, _RTC_DRIFT) if abs(rtc_s - wall_s) <= _RTC_APART_S + _RTC_STEP_S else None
                )
        return Word("host", _HOST_ERROR_S) if self._is_hosted else None


def witness_of(policy: str) -> Witness:
    """What speaks for the clock of this machine under a policy of [gateway] time."""
    return assumed if policy == "assume" else Machine(policy)


def machine_clock(policy: str) -> ClockTrust:
    """The clock of this machine and boot."""
    return ClockTrust(witness=witness_of(policy), boot_id=machine_boot_id())
