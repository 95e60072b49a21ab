"""One virtual board: a real MicroPython with flash, NVS, RTC, Wi-Fi, a serial port and the chips that are wired to it.

May be used from any thread; everything happens in the loop's. The board is off until power_on().
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from boards.data import Board
from boards.virtual import image
from boards.virtual.clock import Clock, WallClock
from boards.virtual.console import Console, ConsoleTimeout
from boards.virtual.flash import Flash
from boards.virtual.interpreter import write_shims
from boards.virtual.life import Life, Parts
from boards.virtual.loop import Loop
from boards.virtual.nvs import Nvs
from boards.virtual.power import FlashWear
from boards.virtual.rtc import Rtc
from boards.virtual.wifi import Wifi
from boards.virtual.wiring import Chips, Wiring

HEAPSIZE = "256k"  # a 64-bit object takes twice the room of a board's


class VirtualBoard:
    """A context manager: opened it has its files and its port, closed it has no process and no thread."""

    def __init__(
        self,
        name: str,
        board: Board,
        *,
        workdir: Path,
        chips: Chips | None = None,
        loop: Loop | None = None,
        clock: Clock | None = None,
        speed: float = 1.0,
        heapsize: str = HEAPSIZE,
        networks: Mapping[str, str] | None = None,
        ticks_start_ms: int = 0,
        seed: int = 0,
    ) -> None:
        """workdir        keeps <name>.flash, <name>.nvs.json and <name>.log over runs
        loop           shared by the boards of a street; None: one of its own
        clock, speed   must agree: a WallClock of that speed, or None for a new one
        heapsize       of the garbage-collected heap, a hard cap, e.g. "128k"
        networks       Wi-Fi password by SSID; None: any will do
        ticks_start_ms what ticks_ms() shows at each start, modulo 2**30
        seed           what survives of unfinished writes at power cuts
        """
        self.name = name
        self.board = board
        self.unique_id = bytes([0x02]) + hashlib.sha256(name.encode()).digest()[:5]  # a locally administered MAC
        self._workdir = workdir
        self._loop = loop or Loop()
        self._owns_loop = loop is None
        self._clock = clock or WallClock(speed=speed)
        self._speed = speed
        self._heapsize = heapsize
        self._chips = chips or Chips()
        self._networks = networks
        self._ticks_start_ms = ticks_start_ms
        self._wear = FlashWear(lambda: self._life.power_cut(), seed=seed)
        self._life: Life
        self._is_started = False

    def start(self) -> Self:
        """Make files, port and thread; the board stays off."""
        self._workdir.mkdir(parents=True, exist_ok=True)
        if self._owns_loop:
            self._loop.start()
        self._flash = Flash(self.flash_image, self.board.vfs_kib * 1024, self._wear)
        self._nvs = Nvs(self._workdir / f"{self.name}.nvs.json", self._wear)
        self._wiring = Wiring(self.board, self._chips)
        self._wifi = Wifi(self._loop, self._clock, self._networks)
        self._console = Console(self._workdir / f"{self.name}.log")
        self._parts = Parts(
            loop=self._loop,
            clock=self._clock,
            speed=self._speed,
            heapsize=self._heapsize,
            ticks_start_ms=self._ticks_start_ms,
            unique_id=self.unique_id,
            shims=write_shims(self._workdir),
            flash=self._flash,
            nvs=self._nvs,
            wiring=self._wiring,
            wifi=self._wifi,
            console=self._console,
            rtc=Rtc(self._clock),
        )
        self._life = self._loop.call(lambda: Life(self._parts))
        self._is_started = True
        return self

    def close(self) -> None:
        """End the interpreter; nothing is left running. Nothing happens the second time."""
        if not self._is_started:
            return
        self._is_started = False
        try:
            self._loop.call(self._life.close)
            self._loop.call(self._wifi.close)
        finally:
            if self._owns_loop:
                self._loop.close()
            self._flash.close()
            self._nvs.close()
            self._console.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- power ---

    def power_on(self) -> None:
        """Start it, with cause PWRON_RESET. Nothing happens if it is on."""
        self._loop.call(self._life.power_on)

    def power_cut(self) -> None:
        """Take the supply away, at whatever the board is doing. Nothing happens if it is off."""
        self._loop.call(self._life.power_cut)

    def cut_at_flash_op(self, n: int, *, torn: bool = True) -> None:
        """Cut the power at the n-th program, erase or NVS write from now; see FlashWear.cut_at."""
        self._loop.call(lambda: self._wear.cut_at(n, torn=torn))

    def cancel_cut(self) -> None:
        """No cut at a flash operation after all."""
        self._loop.call(self._wear.cancel)

    def wait_until_off(self, timeout_s: float) -> bool:
        """Wait for a power cut that was ordered. False if it did not come."""
        return self._parts.off.wait(timeout_s)

    def reset(self) -> None:
        """A hard reset, with cause HARD_RESET."""
        self._need_power(is_on=True)
        self._loop.call(self._life.reset)

    @property
    def is_on(self) -> bool:
        return not self._parts.off.is_set()

    @property
    def boots(self) -> int:
        """How often an interpreter was started."""
        return self._life.boots

    @property
    def flash_ops(self) -> int:
        """Programs, erases and NVS writes so far."""
        return self._wear.operations

    # --- serial port, console, button, Wi-Fi ---

    @property
    def port(self) -> str:
        """Path of the serial port, e.g. /dev/pts/3; the same until close()."""
        return self._life.port.path

    @property
    def console_log(self) -> Path:
        """Everything the board printed, also over runs."""
        return self._console.log

    def console(self, *, after: int = 0) -> str:
        """What it printed from position `after` on."""
        return self._console.text(after=after)

    def console_position(self) -> int:
        """Where the next output goes: give it as `after` to see only that."""
        return self._console.position()

    def wait_for_console(self, text: str, timeout_s: float = 10.0, *, after: int = 0) -> int:
        """Wait until `text` is printed. Returns the position behind it. Raises ConsoleTimeout, which shows the end."""
        try:
            return self._console.wait_for(text, timeout_s=timeout_s, after=after)
        except ConsoleTimeout:
            self._loop.check()
            raise

    def type(self, keys: bytes) -> None:
        """As if typed at the port, e.g. b"\\x03"."""
        self._loop.call(lambda: self._life.type(keys))

    def press_button(self, *, is_pressed: bool = True) -> None:
        """Hold the button down (its pin is low), or let it go."""
        self._loop.call(lambda: self._wiring.press(is_pressed))

    def close_switch(self, *, is_closed: bool = True) -> None:
        """Close the contact at the board's switch pin, or open it."""
        self._loop.call(lambda: self._wiring.close_switch(is_closed))

    def pin_level(self, pin: int) -> int:
        """What is measured at a pin."""
        return self._loop.call(lambda: self._wiring.level(pin))

    def set_wifi(self, *, is_up: bool) -> None:
        """Take the access point away, or bring it back. Connections fall silent and are not closed."""
        self._loop.call(lambda: self._wifi.set_up(is_up))

    # --- flash and NVS, as a technician's tools see them ---

    @property
    def flash_image(self) -> Path:
        """The file system's partition: littlefs, 4096-byte blocks."""
        return self._workdir / f"{self.name}.flash"

    def files(self, *, below: str = "/") -> dict[str, bytes]:
        """All files of a folder and its folders by absolute path; also while it runs. Raises ImageError."""
        return image.files(self.flash(), below=below)

    def read_file(self, path: str) -> bytes:
        """One file; also while it runs. Raises ImageError."""
        return image.read_file(self.flash(), path)

    def write_files(self, files: Mapping[str, bytes]) -> None:
        """Add or replace files by absolute path. A blank flash is formatted. The board must be off."""
        self._need_power(is_on=False)
        self._flash.replace(image.write_files(self._flash.cells(), files))

    def flash(self) -> bytes:
        """A copy of the flash, to be put back with replace_flash."""
        return self._loop.call(self._flash.cells)

    def replace_flash(self, cells: bytes) -> None:
        """Write a whole image, e.g. yesterday's. The board must be off."""
        self._need_power(is_on=False)
        self._flash.replace(cells)

    def erase_flash(self) -> None:
        """All 0xFF. The board must be off."""
        self._need_power(is_on=False)
        self._flash.erase_all()

    @property
    def nvs(self) -> dict[str, dict[str, int | bytes]]:
        """A copy of the NVS: values by key by namespace."""
        return self._loop.call(self._nvs.namespaces)

    def set_nvs(self, namespace: str, values: Mapping[str, int | bytes]) -> None:
        """Write items as provisioning does. The board must be off."""
        self._need_power(is_on=False)
        for key, value in values.items():
            self._nvs.put(namespace, key, value)

    def replace_nvs(self, namespaces: Mapping[str, Mapping[str, int | bytes]]) -> None:
        """Put a copy back. The board must be off."""
        self._need_power(is_on=False)
        self._nvs.replace(namespaces)

    def erase_nvs(self) -> None:
        """Nothing is left in it. The board must be off."""
        self._need_power(is_on=False)
        self._nvs.erase_all()

    @property
    def rtc_memory(self) -> bytes:
        """The 2048 bytes beside the RTC, or fewer; empty after a power cut."""
        return self._loop.call(lambda: self._parts.rtc.memory)

    def set_rtc_memory(self, memory: bytes) -> None:
        """Spoil it, as a weak supply does."""

        def put() -> None:
            self._parts.rtc.memory = memory

        self._loop.call(put)

    def _need_power(self, *, is_on: bool) -> None:
        if self.is_on != is_on:
            state, remedy = ("on", "power_cut()") if self.is_on else ("off", "power_on()")
            raise RuntimeError(f"board {self.name} is {state}; {remedy} first")
