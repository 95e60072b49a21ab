"""One run of the real MicroPython interpreter, from start to exit, on a pseudo-terminal and a stream to its host."""

import importlib.util
import os
import pty
import signal
import socket
import sys
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from boards import mpy
from boards.virtual import romfs
from boards.virtual.loop import Loop

_LAUNCHER = Path(__file__).with_name("launch.py")
_SHIMS = Path(__file__).with_name("shims")
_REMOTE = Path(__file__).parents[2] / "drivers" / "bus" / "remote.py"
_STREAM_FD = 3


def write_shims(into: Path) -> Path:
    """Write the compiled shims to a ROM image; the board's end of its buses is drivers/bus/remote.py, as `_remote`."""
    sources = {**{source.stem: source for source in sorted(_SHIMS.glob("*.py"))}, "_remote": _REMOTE}
    rom, draft = into / "shims.romfs", into / "shims.romfs.new"
    files = {f"{name}.mpy": mpy.compile_file(source, name=f"{name}.py") for name, source in sources.items()}
    draft.write_bytes(romfs.build(files))
    draft.replace(rom)  # another board of this folder may be starting
    return rom


class Interpreter:
    """A running child. It ends with us: its terminal hangs up, and the kernel kills it when the loop's thread ends."""

    def __init__(
        self,
        loop: Loop,
        shims: Path,
        *,
        heapsize: str,
        on_printed: Callable[[bytes], None],
        on_exit: Callable[[int, bytes], None],
    ) -> None:
        """on_exit   gets exit status (negative: a signal) and what was typed and not read; not called after kill()"""
        self._loop = loop
        self._on_printed = on_printed
        self._on_exit = on_exit
        self._terminal, self._slave = pty.openpty()  # both stay open: what is unread goes with the last end of it
        _make_like_a_uart(self._slave)
        self.stream, theirs = socket.socketpair()
        try:
            self._pid = _spawn(shims, heapsize, self._slave, theirs.fileno())
        finally:
            theirs.close()
        self._pid_fd = os.pidfd_open(self._pid)
        os.set_blocking(self._terminal, False)
        loop.watch(self._pid_fd, self._on_ended)
        loop.watch(self._terminal, self._drain)

    def type(self, keys: bytes) -> None:
        """As if typed. What does not fit into the terminal's buffer is lost, as with a UART."""
        try:
            os.write(self._terminal, keys)
        except OSError:  # full, or hung up
            return

    def kill(self) -> None:
        """End it at once; nothing of it runs any more when this returns."""
        self._drain()
        signal.pidfd_send_signal(self._pid_fd, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._drain()
        self._close()

    def _drain(self) -> None:
        """Take what it printed."""
        while data := _read(self._terminal):
            self._on_printed(data)

    def _on_ended(self) -> None:
        _, status = os.waitpid(self._pid, 0)
        self._drain()
        os.set_blocking(self._slave, False)  # not before: its ends share the setting with the interpreter
        unread = _read(self._slave)
        self._close()
        self._on_exit(os.waitstatus_to_exitcode(status), unread)

    def _close(self) -> None:
        self._loop.unwatch(self._pid_fd)
        self._loop.unwatch(self._terminal)
        self._loop.unwatch(self.stream.fileno())
        os.close(self._pid_fd)
        os.close(self._terminal)
        os.close(self._slave)
        self.stream.close()


def _read(terminal: int) -> bytes:
    """What can be read without waiting."""
    try:
        return os.read(terminal, 65536)
    except BlockingIOError:
        return b""


def _spawn(shims: Path, heapsize: str, terminal: int, stream: int) -> int:
    command = [
        sys.executable,
        "-I",
        "-S",
        str(_LAUNCHER),
        str(os.getpid()),
        _interpreter_folder(),
        str(shims),
        heapsize,
    ]
    actions = [
        *((os.POSIX_SPAWN_DUP2, terminal, fd) for fd in (0, 1, 2)),
        (os.POSIX_SPAWN_DUP2, stream, _STREAM_FD),
    ]
    # No HOME: the unix port would keep a REPL history there. UTC: its mktime is local time, a board's is not.
    environment = {"MICROPYPATH": ".frozen", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    return os.posix_spawn(sys.executable, command, environment, file_actions=actions, setsid=True)


def _interpreter_folder() -> str:
    spec = importlib.util.find_spec("micropython_run")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("MicroPython is not installed; install it with: pip install 'lamppost[virtual]'")
    return str(Path(spec.origin).parent)


def _make_like_a_uart(terminal: int) -> None:
    """Bytes pass as they are, but Ctrl-C interrupts a running program, and what was typed behind it is kept."""
    tty.setraw(terminal)
    attributes = termios.tcgetattr(terminal)
    attributes[3] |= termios.ISIG | termios.NOFLSH
    for control in (termios.VQUIT, termios.VSUSP):
        attributes[6][control] = b"\0"
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
