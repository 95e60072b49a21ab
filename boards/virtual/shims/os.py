"""os as on the ESP32: nothing of the host's environment or shell."""

from collections import namedtuple

from uos import (  # noqa: F401
    VfsLfs2,
    chdir,
    getcwd,
    ilistdir,
    listdir,
    mkdir,
    mount,
    remove,
    rename,
    rmdir,
    sep,
    stat,
    statvfs,
    umount,
    unlink,
    urandom,
)

_Uname = namedtuple("uname_result", ("sysname", "nodename", "release", "version", "machine"))


def uname():
    return _Uname("esp32", "esp32", "1.29.0", "v1.29.0", "Virtual board with ESP32S3")


def sync():
    """Files are synced when closed or flushed."""
