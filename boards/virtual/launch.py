"""Becomes the interpreter of one board. Not imported: run with `python -I -S`, which starts in 10 ms.

Arguments: the parent's pid, the folder of micropython_run, the ROM image with the shims, the size of the heap. The
terminal is on 0, 1 and 2, the stream to the host on 3. The kernel ends this process when the parent's thread ends,
however it does.
"""

import ctypes
import fcntl
import os
import signal
import sys
import termios

_PR_SET_PDEATHSIG = 1

# The shims lie in this process's memory, outside of the interpreter's heap, as the port's own modules lie in flash.
_START = """\
import sys, uctypes, vfs
vfs.mount(vfs.VfsRom(uctypes.bytearray_at({address}, {length})), "/rom")
sys.path[:] = ["/rom", ".frozen"]
import _start
_start.run(globals())
"""


def main() -> None:
    parent, folder, shims, heapsize = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        os._exit(1)  # the parent was gone before the kernel knew that we want to follow it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the interpreter takes it
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    with open(shims, "rb") as file:
        rom = ctypes.create_string_buffer(file.read())
    start = _START.format(address=ctypes.addressof(rom), length=len(rom))
    sys.path.append(folder)
    import micropython_run  # type: ignore[import-not-found]

    os._exit(micropython_run.run_main(["micropython", "-X", f"heapsize={heapsize}", "-i", "-c", start]))


main()
