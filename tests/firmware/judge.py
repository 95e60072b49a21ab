"""A judge stands where a gateway would: it opens frames with the link's receiving half, stores what they hold, answers,
and raises AssertionError at what must never happen. For both interpreters.
"""

from drivers.link import ack as acks
from drivers.link import frame as frames
from drivers.link.keys import DOWN, UP, derive, nonce
from drivers.link.order import pack_command
from drivers.link.schema import OUTCOME
from drivers.link.seal import Ccm
from drivers.link.unpack import unpack

try:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    def aes(key):
        """AES-ECB as drivers.link.seal wants it, from another implementation than the node's."""
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()

        def encrypt(source, target):
            target[:] = encryptor.update(bytes(source))

        return encrypt

except ImportError:
    from drivers.link.seal import aes_ecb as aes

ADDRESS = 0xA7C3
NODE_ID = "urn:dev:os:32473-abcdefghijklmnop"
ROOT = b"\x07" * 32


class Judge:
    """Takes uplinks as a gateway must, answers them, and raises AssertionError at anything that must never happen."""

    def __init__(self, root):
        self.root = root
        self.reports = {}  # (epoch, seq) -> (schema, values)
        self.lost = {}  # (epoch, seq) -> reason
        self.endings = {}  # epoch -> (end, is_known)
        self.nonces = set()
        self.frames = []  # the same in the order of arrival
        self.bodies = []  # resolved, newest last
        self.session = None  # epoch, highest counter
        self.highest = {}  # epoch -> highest sequence
        self.down_counter = 0
        self.repeats = 0
        self.began_s = None  # UTC of the beginning of the boot that sends: the answer to a FULL frame tells the time
        self.order = None  # goes with each answer until an outcome comes (drivers.link.order.pack_order)

    def take(self, frame):
        """Open, check and store one uplink. Returns the sealed ack."""
        parsed = frames.parse_uplink(frame)
        epoch, counter = self._numbers(parsed)
        assert (self.root, epoch, counter) not in self.nonces, f"counter {counter} of epoch {epoch} used twice"
        self.nonces.add((self.root, epoch, counter))
        self.frames.append((self.root, epoch, counter))
        key, iv = derive(self.root, epoch, UP)
        plain = Ccm(aes(key)).open(
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
            if report.schema == OUTCOME and known is None:
                self.order = None
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
            utc_s=self.began_s + body.uptime_s if parsed.is_full and self.began_s else None,
        )
        if self.order is None:
            return self.seal_down(epoch, counter, plain, full=parsed.is_full)
        plain = pack_command(self.order, plain)
        return self.seal_down(epoch, counter, plain, full=parsed.is_full, kind=frames.COMMAND)

    def seal_down(self, epoch, counter, plain, *, full, root=None, kind=frames.ACK):
        """A downlink around `plain`, that answers the uplink `counter`."""
        key, iv = derive(root or self.root, epoch, DOWN)
        self.down_counter += 1
        header = frames.downlink_header(ADDRESS, counter, self.down_counter, full=full, kind=kind)
        aad = frames.aad_downlink(header[:3], epoch, self.down_counter, counter)
        return header + Ccm(aes(key)).seal(nonce(iv, self.down_counter), aad, plain)
