"""One attempt to be admitted by whichever gateway answers: three frames, and the answer to the third.

Goes in: the node's key pair, whom it trusts, a bearer. Comes out: a root key that the gateway has on disk, or the name
of what went wrong; NVS is not touched but for what the site signed. Loaded for a join only. docs/protocol.md, "Join".
"""

import gc

from drivers.constant import const
from drivers.link import join, p256, p256_base
from drivers.link.edhoc import EdhocError, credential, export, kid_of, read_ead
from drivers.link.frame import FrameError
from drivers.link.initiator import Offer, Owner
from firmware.bearer_error import BearerError

_TRIES = const(4)  # of each message
_PAUSE_S = const(3)  # between tries at first; doubled each time, and as much again at random


class Joined:
    """What the node got: `root` (32 bytes), `epoch` to go on in, `utc_s` or None."""

    def __init__(self, root, epoch, utc_s):
        self.root = root
        self.epoch = epoch
        self.utc_s = utc_s


class Joiner:
    """Asks to be admitted. `failure` says why the last attempt came to nothing."""

    def __init__(self, private, address, load_trust, *, draw, aes, pause, random_below, keep, release):
        """
        private       the node's scalar; address: its short address
        load_trust    returns drivers.link.site.Trust as it was kept last; it is held no longer than it is asked
        draw          returns 32 random bytes
        aes           what seal.Ccm wants of AES, made of a key
        pause         async, sleeps so many seconds
        random_below  a whole number from 0 to n - 1
        keep          called with trust.to_bytes() when the node has learnt something of its site
        release       called when trust is not needed for a while: the curve wants the memory
        """
        public = p256_base.public(private)
        compressed = p256.compress(public)
        self._owner = Owner(private, credential(compressed, public), kid_of(compressed))
        self._address = address
        self._load_trust = load_trust
        self._release = release
        self._draw = draw
        self._aes = aes
        self._pause = pause
        self._random_below = random_below
        self._keep = keep
        trust = load_trust()
        self._shows = not trust.known  # ask the gateway to show its entry
        self._versions = trust.version, trust.generation
        release()
        self.failure = ""

    async def attempt(self, bearer, epoch):
        """Join once. `epoch`: the node's, 0 if it has none. Returns Joined, or None. Raises SettingsError."""
        try:
            return await self._attempt(bearer, epoch)
        except EdhocError as error:
            self.failure = error.reason
        except FrameError as error:
            self.failure = error.reason
        except BearerError as error:
            self.failure = str(error)
        return None

    async def _attempt(self, bearer, epoch):
        connection = self._random_below(0x18)
        offer = self._offer(bytes([connection]))
        gc.collect()
        answer = offer.read(await self._ask(bearer, 1, 0, offer.message_1, connection, bytes))
        gc.collect()
        candidates = self._believe(answer)
        proven = answer.verify([self._credential(public) for public in candidates])
        gc.collect()
        state = join.pack_state(epoch, *self._versions)
        agreement = proven.finish([(join.STATE, state)], aes=self._aes)
        gc.collect()
        if len(answer.c_r) != 1:
            raise EdhocError("unknown_connection")

        def read(message_4):
            return agreement.read_message_4(message_4, aes=self._aes)

        items = await self._ask(bearer, 3, answer.c_r[0], agreement.message_3, connection, read)
        return self._conclude(items, candidates[proven.at], agreement)

    def _offer(self, connection):
        """message_1 with a key of its own."""
        while True:
            try:
                ephemeral = p256.scalar(self._draw())
                break
            except p256.CurveError:
                pass
        ead_1 = [(join.SHOW, bytes([self._versions[1]]))] if self._shows else []
        return Offer(self._owner, ephemeral, p256_base.public(ephemeral)[0], c_i=connection, ead_1=ead_1)

    def _believe(self, answer):
        """The public keys that may have made this answer: known ones, or the one whose entry it shows."""
        shown = read_ead(answer.ead_2, (join.SITE,))
        trust = self._load_trust()
        public = self._learn(trust, shown[join.SITE]) if join.SITE in shown else None
        candidates = [public] if public is not None else trust.candidates(answer.kid)
        self._release()
        self._shows = not candidates
        if not candidates:
            raise EdhocError("unknown_gateway")
        return candidates

    def _learn(self, trust, signed):
        """Take what the site signed; kept before anything is built on it."""
        public = trust.take(signed or b"")
        self._keep(trust.to_bytes())
        self._versions = trust.version, trust.generation
        return public

    def _credential(self, public):
        point = p256.decompress(public)
        return point, credential(public, point)

    def _conclude(self, items, gateway, agreement):
        told = read_ead(items, (join.GRANT, join.SITE))
        grant = join.read_grant(told.get(join.GRANT))
        if grant is None:
            raise EdhocError("malformed")
        if join.SITE in told:
            trust = self._load_trust()
            self._learn(trust, told[join.SITE])
            if trust.is_revoked(gateway):
                raise EdhocError("revoked_gateway")
        root = export(agreement.prk_out, join.ROOT_LABEL, join.ROOT_CONTEXT, join.ROOT_LEN)
        return Joined(root, grant[0], grant[1])

    async def _ask(self, bearer, number, connection, message, own, read):
        """Send a message until `read` likes what comes back. Returns what it made of it. Raises BearerError."""
        frame = join.pack_join(number, self._address, connection, message)
        answers = []

        def take(downlink):
            answer = self._read(downlink, number + 1, own, read)
            if answer is not None:
                answers.append(answer)
            return answer is not None

        for again in range(_TRIES):
            if again:
                pause_s = _PAUSE_S << (again - 1)
                await self._pause(pause_s + self._random_below(pause_s + 1))
            await self._pause(bearer.wait_s())
            await bearer.ready()
            if await bearer.exchange(frame, take):
                return answers[0]
        raise BearerError("no answer to message %d of a join" % number)

    def _read(self, downlink, number, own, read):
        """What `read` makes of the message in a downlink, None if it is not the one we wait for."""
        if not join.is_join(downlink):
            return None
        try:
            frame = join.parse_join(downlink)
            if (frame.number, frame.address, frame.connection) != (number, self._address, own):
                return None
            return read(frame.message)
        except (FrameError, EdhocError):
            return None
