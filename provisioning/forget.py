"""`lamppost node forget`: a board that is sold, scrapped or sent back keeps nothing: no key, no password, no reading.

Deleting is not enough: NVS and littlefs only mark what they replace or delete. So every block of both partitions is
erased, keys first, and read back; the script comes from here and needs nothing that is on the board. What a node had
besides is in RAM and in RTC memory, which the script empties and the reset ends.
"""

import argparse
import tempfile
from pathlib import Path

from gateway.errors import ConfigError
from provisioning.provision import ProvisionError, last_line, mpremote, run_script

_PARTITIONS = ("nvs", "vfs", "ffat")  # the last: file systems of older firmware
_SCRIPT = """\
import esp32, machine, os
machine.WDT(timeout=3600000).feed()
machine.RTC().memory(b"")
try:
    os.umount("/")
except OSError:
    pass
left, erased, buf = 0, 0, bytearray(4096)
for label in {partitions!r}:
    for part in esp32.Partition.find(esp32.Partition.TYPE_DATA, label=label):
        for block in range(part.ioctl(4, 0)):
            part.ioctl(6, block)
            part.readblocks(block, buf)
            erased += 1
            left += buf.count(b"\\xff") != len(buf)
print("erased", erased, "left", left)
"""


def forget_port(port: str) -> int:
    """Erase what the board on this port holds, and reset it. Returns how many blocks. Raises ProvisionError.

    A board that ends half way is told again: nothing on it is needed for this.
    """
    with tempfile.TemporaryDirectory(prefix="lamppost-") as name:
        answer = run_script(port, Path(name), _SCRIPT.format(partitions=_PARTITIONS), step="erasing")
    words = last_line(answer).split()
    if len(words) != 4 or words[0] != "erased":
        raise ProvisionError(f"{port}: not erased; the board said: {last_line(answer)}")
    if words[3] != "0" or words[1] == "0":
        raise ProvisionError(
            f"{port}: {words[3]} of {words[1]} blocks could not be erased; try again, or destroy the board"
        )
    mpremote(port, "reset", step="reset")
    return int(words[1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost node forget`."""
    add = parser.add_argument
    add("--port", required=True, metavar="PORT", help="the board's serial port, e.g. /dev/ttyACM0")
    add("--yes", action="store_true", help="needed: reports that wait on the node are erased too, and its key for good")


def run(args: argparse.Namespace) -> int:
    """Erase the board; 0."""
    if not args.yes:
        raise ConfigError("--yes", None, "is missing; this erases the node's key, its reports and its program for good")
    blocks = forget_port(args.port)
    print(f"{args.port}: {blocks} blocks erased and read back; nothing of the node is on this board any more")
    print("next: lamppost authority revoke NAME, so that a copy that somebody made is refused too")
    return 0
