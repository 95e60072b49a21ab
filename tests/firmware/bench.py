"""What stands for hardware when firmware modules run under MicroPython without a board.

Runs on MicroPython. Flash and NVS keep their content through a power cut, which strikes at a chosen operation, as on
the virtual board.
"""

from drivers.link.keys import DOWN, UP, derive
from drivers.link.seal import Ccm, aes_ecb
from firmware.enrol import enrol
from firmware.identity import load
from tests.firmware.judge import ADDRESS, NODE_ID, ROOT

_BLOCK = 512
_ERASED = b"\xff" * _BLOCK
_EIO = -5


class PowerCut(BaseException):
    """The supply is gone: nothing of the program may run on."""


class Supply:
    """Counts flash and NVS operations; at the chosen one the power goes, and stays away until `restore`."""

    def __init__(self):
        self.operations = 0
        self.is_cut = False
        self._cut_at = None

    def cut_after(self, count):
        """Tear the `count`-th operation from now."""
        self._cut_at = self.operations + count

    def restore(self):
        self.is_cut, self._cut_at = False, None

    def spend(self):
        """True if this operation is the one that is torn."""
        self.operations += 1
        self.is_cut = self.operations == self._cut_at
        return self.is_cut

    def require(self):
        """Raise PowerCut where a program notices that it does not run any more."""
        if self.is_cut:
            raise PowerCut()


class Flash:
    """A block device with torn writes, for VfsLfs2. After a power cut take the `survivor`.

    A cut shows as EIO at once and ever after: an exception through littlefs would leave it inconsistent, and files that
    are open are closed later by the garbage collector, which allows no allocation.
    """

    def __init__(self, supply, data=None):
        self._supply = supply
        self._is_dead = False
        self.data = data or bytearray(b"\xff" * (128 * _BLOCK))

    def survivor(self):
        """The same flash for the next boot."""
        self._is_dead = True
        return Flash(self._supply, bytearray(self.data))

    def readblocks(self, block, buf, offset=0):
        if self._is_dead:
            return _EIO
        at = block * _BLOCK + offset
        buf[:] = self.data[at : at + len(buf)]
        return 0

    def writeblocks(self, block, buf, offset=0):
        return self._put(buf, block * _BLOCK + offset)

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // _BLOCK
        if op == 5:
            return _BLOCK
        if op == 6:
            return self._put(_ERASED, arg * _BLOCK)
        return 0

    def _put(self, data, at):
        if self._is_dead or self._supply.is_cut:
            return _EIO
        if self._supply.spend():
            half = len(data) // 2
            self.data[at : at + half] = data[:half]
            return _EIO
        self.data[at : at + len(data)] = data
        return 0

    def mount(self):
        """As boot does: mount, or format what cannot be mounted."""
        import vfs  # only MicroPython has it

        try:
            vfs.umount("/node")
        except OSError:
            pass
        try:
            vfs.mount(vfs.VfsLfs2(self), "/node")
        except OSError:
            vfs.VfsLfs2.mkfs(self)
            vfs.mount(vfs.VfsLfs2(self), "/node")


class Nvs:
    """esp32.NVS: an entry is written whole or not at all."""

    def __init__(self, supply):
        self._supply = supply
        self.entries = {}

    def get_i32(self, name):
        if not isinstance(self.entries.get(name), int):
            raise OSError(-0x1102)
        return self.entries[name]

    def set_i32(self, name, value):
        if not -(1 << 31) <= value < 1 << 31:
            raise OverflowError(value)
        self._write(name, value)

    def get_blob(self, name, buf):
        value = self.entries.get(name)
        if not isinstance(value, bytes):
            raise OSError(-0x1102)
        buf[: len(value)] = value
        return len(value)

    def set_blob(self, name, value):
        self._write(name, bytes(value))

    def erase_key(self, name):
        if name not in self.entries:
            raise OSError(-0x1102)
        self._write(name, None)

    def commit(self):
        pass

    def _write(self, name, value):
        self._supply.require()
        self._supply.spend()
        self._supply.require()
        if value is None:
            del self.entries[name]
        else:
            self.entries[name] = value


class Clock:
    """drivers.clock, in a time of its own that only moves when somebody sleeps."""

    def __init__(self):
        self.now_us = (1 << 62) - 5_000_000

    def ticks_ms(self):
        return self.now_us // 1000 % (1 << 30)

    def ticks_us(self):
        return self.now_us % (1 << 30)

    def ticks_add(self, ticks, delta):
        return (ticks + delta) % (1 << 30)

    def ticks_diff(self, later, earlier):
        return (later - earlier + (1 << 29)) % (1 << 30) - (1 << 29)

    async def sleep_ms(self, duration_ms):
        self.now_us += max(duration_ms, 0) * 1000

    def pass_s(self, seconds):
        self.now_us += seconds * 1_000_000


def enrolled(supply=None, *, epoch=1, root=ROOT):
    """An NVS as enrolment leaves it."""
    nvs = Nvs(supply or Supply())
    enrol(nvs, key=root, address=ADDRESS, node_id=NODE_ID, epoch=epoch)
    return nvs


def settings_of(nvs):
    """Settings as they are after a start."""
    return load(nvs)


def seals(settings):
    """The `up` and `down` that a Reporter wants."""
    (up_key, up_iv), (down_key, down_iv) = (derive(settings.key, settings.epoch, way) for way in (UP, DOWN))
    return {"up": (Ccm(aes_ecb(up_key)), up_iv), "down": (Ccm(aes_ecb(down_key)), down_iv)}
