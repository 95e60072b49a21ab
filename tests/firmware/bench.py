"""What stands for hardware and gateway when firmware modules run under MicroPython without a board.

Runs on MicroPython. Flash and NVS keep their content through a power cut, which strikes at a chosen operation, as on
the virtual board. The judge stands for a gateway: it opens frames with the link's receiving half, stores what they
hold, and refuses what must never happen.
"""

import vfs

from drivers.link import ack as acks
from drivers.link import frame as frames
from drivers.link.keys import DOWN, UP, derive, nonce
from drivers.link.seal import Ccm, aes_ecb
from drivers.link.unpack import unpack
from firmware.enrol import enrol
from firmware.settings import Settings

ADDRESS = 0xA7C3
NODE_ID = "urn:dev:os:32473-abcdefghijklmnop"
_BLOCK = 512


class PowerCut(BaseException):
    """The supply is gone: nothing of the program may run on."""


class Supply:
    """Counts flash and NVS operations; at the chosen one the power goes."""

    def __init__(self):
        self.operations = 0
        self.cut_at = None

    def spend(self):
        """True if this operation is the one that is torn."""
        self.operations += 1
        if self.cut_at is not None and self.operations > self.cut_at:
            raise PowerCut()
        return self.cut_at is not None and self.operations == self.cut_at


class Flash:
    """A block device with torn writes, for VfsLfs2. After a power cut take the `survivor`."""

    def __init__(self, supply, data=None):
        self._supply = supply
        self._is_dead = False  # files that a cut left open are closed by the garbage collector: too late
        self.data = data or bytearray(b"\xff" * (128 * _BLOCK))

    def survivor(self):
        """The same flash for the next boot; this object does nothing any more."""
        self._is_dead = True
        return Flash(self._supply, self.data)

    def readblocks(self, block, buf, offset=0):
        if self._is_dead:
            return
        at = block * _BLOCK + offset
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        if self._is_dead:
            return
        at = block * _BLOCK + offset
        if self._supply.spend():
            half = len(buf) // 2
            self.data[at : at + half] = buf[:half]
            raise PowerCut()
        self.data[at : at + len(buf)] = buf

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // _BLOCK
        if op == 5:
            return _BLOCK
        if op == 6 and not self._is_dead:
            size = _BLOCK // 2 if self._supply.spend() else _BLOCK
            self.data[arg * _BLOCK : arg * _BLOCK + size] = b"\xff" * size
            if size < _BLOCK:
                raise PowerCut()
        return 0

    def mount(self):
        """As boot does: mount, or format what cannot be mounted."""
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
        self._set(name, value)

    def get_blob(self, name, buf):
        value = self.entries.get(name)
        if not isinstance(value, bytes):
            raise OSError(-0x1102)
        buf[: len(value)] = value
        return len(value)

    def set_blob(self, name, value):
        self._set(name, bytes(value))

    def erase_key(self, name):
        if name not in self.entries:
            raise OSError(-0x1102)
        if self._supply.spend():
            raise PowerCut()
        del self.entries[name]

    def commit(self):
        pass

    def _set(self, name, value):
        if self._supply.spend():
            raise PowerCut()
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


class Judge:
    """Takes uplinks as a gateway must, answers them, and raises AssertionError at anything that must never happen."""

    def __init__(self, root):
        self.root = root
        self.reports = {}  # (epoch, seq) -> (schema, values)
        self.lost = {}  # (epoch, seq) -> reason
        self.endings = {}  # epoch -> (end, is_known)
        self.nonces = set()
        self.bodies = []  # resolved, newest last
        self.session = None  # epoch, highest counter
        self.highest = {}  # epoch -> highest sequence
        self.down_counter = 0
        self.repeats = 0

    def take(self, frame):
        """Open, check and store one uplink. Returns the sealed ack."""
        parsed = frames.parse_uplink(frame)
        epoch, counter = self._numbers(parsed)
        assert (self.root, epoch, counter) not in self.nonces, f"counter {counter} of epoch {epoch} used twice"
        self.nonces.add((self.root, epoch, counter))
        key, iv = derive(self.root, epoch, UP)
        plain = Ccm(aes_ecb(key)).open(
            nonce(iv, counter), frames.aad_uplink(parsed.head, epoch, counter), frame[parsed.header_len :]
        )
        if self.session is None or (epoch, counter) > self.session:
            self.session = (epoch, counter)
        body = unpack(plain, full=parsed.is_full)
        of_epoch = epoch if body.epoch is None else body.epoch
        body.resolve(self.highest.get(of_epoch, 0))
        self._store(of_epoch, body)
        self.bodies.append(body)
        return self._answer(parsed, epoch, counter, of_epoch, body)

    def base(self, epoch):
        """Everything below it is stored or declared lost."""
        seq = 0
        while (epoch, seq) in self.reports or (epoch, seq) in self.lost:
            seq += 1
        return seq

    def _numbers(self, parsed):
        if parsed.is_full:
            return parsed.epoch, parsed.counter
        assert self.session is not None, "a short frame before the first full one"
        return self.session[0], frames.reconstruct_counter(parsed.counter, self.session[1])

    def _store(self, epoch, body):
        for report in body.reports:
            content = (report.schema, tuple(report.values))
            known = self.reports.get((epoch, report.seq))
            assert known is None or known == content, f"two contents for {epoch}/{report.seq}"
            self.repeats += known is not None
            self.reports[epoch, report.seq] = content
            self.highest[epoch] = max(self.highest.get(epoch, 0), report.seq)
        for seq in range(body.floor - body.lost, body.floor):
            if (epoch, seq) not in self.reports:
                self.lost[epoch, seq] = body.lost_reason
        for ended, end, is_known in body.epochs_opened:
            self.endings[ended] = (end, is_known)
            for seq in range(end):
                if (ended, seq) not in self.reports:
                    self.lost[ended, seq] = "epoch ended"

    def _answer(self, parsed, epoch, counter, of_epoch, body):
        stored = [seq for of, seq in list(self.reports) + list(self.lost) if of == of_epoch]
        base = self.base(of_epoch)
        plain = acks.pack_ack(
            base,
            acks.bitmap(base, stored),
            wide=parsed.is_full,
            epoch=None if of_epoch == epoch else of_epoch,
        )
        return self.seal_down(epoch, counter, plain, full=parsed.is_full)

    def seal_down(self, epoch, counter, plain, *, full, root=None):
        """An ACK frame around `plain`, that answers the uplink `counter`."""
        key, iv = derive(root or self.root, epoch, DOWN)
        self.down_counter += 1
        header = frames.downlink_header(ADDRESS, counter, self.down_counter, full=full)
        aad = frames.aad_downlink(header[:3], epoch, self.down_counter, counter)
        return header + Ccm(aes_ecb(key)).seal(nonce(iv, self.down_counter), aad, plain)


def enrolled(supply=None, *, epoch=1, root=b"\x07" * 32):
    """An NVS as enrolment leaves it."""
    nvs = Nvs(supply or Supply())
    enrol(nvs, key=root, address=ADDRESS, node_id=NODE_ID, epoch=epoch)
    return nvs


def settings_of(nvs):
    """Settings as they are after a start."""
    settings = Settings(nvs)
    settings.load()
    return settings
