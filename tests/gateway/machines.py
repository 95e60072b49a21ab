"""A machine whose clocks are scripted: true time, a wall clock that may be wrong, boots, a time server, a crystal.

Nothing but the operating system's clocks is replaced; the gateway's own clock, core and disk are the shipped ones.
"""

from __future__ import annotations

from gateway.clock import ClockTrust, assumed
from gateway.time_evidence import KernelTime, Machine

TRUE_S = 1_795_600_000.0  # 2026-11-25
YEAR_S = 365.25 * 86_400.0
DAY_S = 86_400.0
NEVER_SET = -TRUE_S  # a wall clock that starts in 1970


class ScriptedMachine:
    """Starts in its first boot, with the wall clock `wall_off_s` seconds wrong and no time server.

    drift     the crystal gains this many seconds per second
    rtc_off_s how wrong the battery-backed clock is, None if there is none
    """

    def __init__(
        self,
        *,
        wall_off_s: float = 0.0,
        policy: str = "ntp",
        drift: float = 0.0,
        rtc_off_s: float | None = None,
        is_hosted: bool = False,
    ) -> None:
        self.true_s = TRUE_S
        self._wall_off_s = wall_off_s
        self.policy = policy
        self._drift = drift
        self._rtc_off_s = rtc_off_s
        self._is_hosted = is_hosted
        self._sync_error_s: float | None = None
        self._boot = 1
        self._began_s = self.true_s - 20.0

    def clock(self) -> ClockTrust:
        """What a gateway started now would use."""
        witness = Machine(
            self.policy,
            kernel=lambda: KernelTime(self.wall_s, self._sync_error_s),
            rtc=lambda: None if self._rtc_off_s is None else self.true_s + self._rtc_off_s,
            hosted=lambda: self._is_hosted,
        )
        return ClockTrust(
            wall=lambda: self.wall_s,
            monotonic=lambda: self.up_s,
            witness=assumed if self.policy == "assume" else witness,
            boot_id=f"boot-{self._boot}",
        )

    @property
    def wall_s(self) -> float:
        return self.true_s + self._wall_off_s

    @property
    def up_s(self) -> float:
        return (self.true_s - self._began_s) * (1 + self._drift)

    def live(self, seconds: float) -> None:
        """Time passes; the wall clock runs by the crystal unless a time server steers it."""
        self.true_s += seconds
        if self._sync_error_s is None:
            self._wall_off_s += seconds * self._drift

    def step(self, by_s: float) -> None:
        """Somebody sets the wall clock. The kernel forgets that it was synchronised, as Linux does."""
        self._wall_off_s += by_s
        self._sync_error_s = None

    def reach_time_server(self, *, off_s: float = 0.0) -> None:
        """A daemon sets the clock and tells the kernel; `off_s`: how wrong the server is."""
        self._wall_off_s = off_s
        self._sync_error_s = 0.05

    def lose_time_server(self) -> None:
        """Hours later the kernel says so."""
        self._sync_error_s = None

    def reboot(self, *, off_s: float, wall_off_s: float) -> None:
        """Power goes, and comes again after `off_s` seconds; the wall clock then starts wrong."""
        self.true_s += off_s
        self._boot += 1
        self._began_s = self.true_s
        self._wall_off_s = wall_off_s
        self._sync_error_s = None
        self.true_s += 20.0  # until the gateway starts
