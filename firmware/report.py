"""What to send next, and what an answer means. No I/O but the archive's: frames out, downlinks in.

A frame holds the oldest reports that the gateway is not known to have, as many as fit: of one epoch and one boot;
epochs that are closed come before the current one. Alarms go before all that, in frames of their own. A re-transmission
is a new frame with a new counter around the same sequences. Rules and bytes: docs/protocol.md.
"""

from drivers.constant import const
from drivers.link.ack import unpack_ack
from drivers.link.frame import (
    COMMAND,
    FULL_UPLINK_OVERHEAD,
    REPORT,
    UPLINK_OVERHEAD,
    URGENT,
    FrameError,
    aad_downlink,
    aad_uplink,
    parse_downlink,
    reconstruct_counter,
    uplink_header,
)
from drivers.link.pack import pack
from drivers.link.seal import nonce

_REMEMBERED = const(8)  # uplinks that may still be answered
_FULL_AGAIN = const(16_384)  # after so many counters or sequences without an ack the short forms come near their limit
_FULL_EVERY = const(16)  # of an unanswered run: a gateway with a new database cannot read the short form
_MAX_ENDINGS = const(4)  # notices of closed epochs in one frame
_MAX_URGENT = const(8)
_SAME_S = const(1)  # a gateway may round the same moment in two ways
_TELL_ROUND = const(6)  # of so many frames without an answer the first say when the boot began
_TELL_FIRST = const(4)


# What is kept of an uplink that may be answered, a list: its counter, and what an answer to it settles.
_COUNTER = const(0)
_IS_FULL = const(1)
_URGENT_TO = const(2)  # the alarm in it, -1 if it is none
_UPTIME_S = const(3)
_BEGAN_S = const(4)  # when this boot began, as it told; None if it did not
_LOST = const(5)  # (epoch, end) of the reports it said were given up, or None
_ENDINGS = const(6)  # epochs whose end it named
_IS_ANSWERED = const(7)


class Reporter:
    """Builds uplinks and takes downlinks of one boot. Which frame answers which is its only memory besides `state`."""

    def __init__(self, archive, settings, state, uptime, *, max_frame, up, down, always_full=False):
        """What frames are made of.

        state        the RtcState of this boot, kept up to date here
        up, down     (Ccm, iv) of the epoch's frame keys
        always_full  a few bytes cost nothing: let the gateway know each time exactly, whenever a frame arrives
        """
        self._archive = archive
        self._settings = settings
        self._state = state
        self._uptime = uptime
        self._max_frame = max_frame
        self._always_full = always_full
        self.up, self.down = up, down
        self.sent = []  # what may still be answered, a list of lists: _COUNTER and so on
        self.urgent = []  # sequences of this boot and epoch, ascending
        self.order = None  # what the last answer told us to do, as it came: firmware/obey
        self.counters = {"frames_sent": 0, "acks": 0}  # and the reasons of refused downlinks

    @property
    def has_urgent(self):
        """Whether an alarm waits for its ack."""
        return bool(self.urgent)

    def mark_urgent(self, seq):
        """This report is an alarm: it goes before all others until it is acknowledged."""
        self.urgent.append(seq)
        del self.urgent[:-_MAX_URGENT]  # the oldest go on as ordinary reports

    def has_unsent(self):
        """Whether there is anything the gateway is not known to have."""
        return self._archive.next_run() is not None

    def next_frame(self, uptime_s=None):
        """Seal the next uplink, its counter reserved. None if there is nothing to say. Raises SettingsError.

        uptime_s  the moment at which the transmission begins; now, rounded, unless given
        """
        if self.urgent:
            frame = self._frame(self._archive.current(), URGENT, uptime_s)
            if frame is not None:
                return frame
            self.urgent.clear()  # acknowledged or given up meanwhile
        run = self._archive.next_run()
        while run is not None:
            frame = self._frame(run, REPORT, uptime_s)
            if frame is not None:
                return frame
            self._archive.skip_unreadable(run)
            following = self._archive.next_run()
            run = following if following is not run else None
        return None

    def take_downlink(self, frame):
        """Take bytes that came down. Returns True if they were an answer of ours; else a counter has moved."""
        try:
            sent, body = self._open(frame)
            end = body[0] + 1 if frame[0] & 0x0F == COMMAND and body else 0  # an order, and the ack behind it
            self._apply(sent, unpack_ack(body[end:]))
            if end:
                self.order = body[1:end]
        except FrameError as error:
            self.count(error.reason)
            return False
        return True

    def _frame(self, run, kind, uptime_s):
        """One sealed frame of `run`, None if nothing in it can be read."""
        settings = self._settings
        body, full, said = self._body(run, kind, uptime_s)
        if body is None:
            return None
        counter = settings.take_counter()
        self.sent.append([counter, full, self.urgent[0] if kind == URGENT else -1] + said)
        del self.sent[:-_REMEMBERED]
        self._state.unanswered += 1
        self.counters["frames_sent"] += 1
        head = uplink_header(kind, settings.address, counter, epoch=settings.epoch if full else None)
        aad = aad_uplink(head[:3], settings.epoch, counter)
        box, iv = self.up
        return head + box.seal(nonce(iv, counter), aad, body)

    def _body(self, run, kind, uptime_s):
        """(plaintext, full, what is kept of it); (None, ...) if nothing can be read."""
        oldest = _first(self._archive.unsent(run))
        first = oldest if kind == REPORT else _first(self._entries(run, kind))
        if first is None:
            return None, False, []
        is_old = run.epoch != self._settings.epoch
        if uptime_s is None:
            uptime_s = self._uptime.nearest_s()
        floor, lost = self._archive.floor(run, oldest.seq)
        is_older = first.boot != self._settings.boot
        tells = self._state.unanswered % _TELL_ROUND < _TELL_FIRST  # else: it may be a gateway that knows no such word
        began_s = self._settings.began.get(first.boot) if tells else None
        said = {
            "uptime_s": uptime_s,
            "floor": floor,
            "boot": self._settings.boot,
            "other_epoch": run.epoch if is_old else None,
            "older_boot": first.boot if is_older else None,
            "floor_lost": lost,
        }
        lost = (run.epoch, floor) if lost else None
        is_news = not is_older and began_s not in (None, self._state.told_s)
        wants_full = is_old or is_news or self._must_be_full(first.seq)
        for full, limit in ((wants_full, _MAX_ENDINGS), (wants_full, 1), (wants_full, 0), (True, 0)):
            said["full"] = full
            said["began_s"] = told_s = began_s if limit and (full or is_older) else None
            said["max_len"] = self._max_frame - (FULL_UPLINK_OVERHEAD if full else UPLINK_OVERHEAD)
            said["epochs_opened"] = endings = self._archive.endings(limit)
            entries = self._entries(run, kind)
            try:
                body = pack(_same_boot(entries, first.boot), **said)[0]
                named = [ending[0] for ending in endings]
                return body, full, [uptime_s, None if is_older else told_s, lost, named, False]
            except FrameError as error:
                self.count(error.reason)
            finally:
                entries.close()
        self._archive.give_up(run, first.seq)  # it can never be written: say so, and do not try for ever
        return None, False, []

    def _entries(self, run, kind):
        """What a frame of this kind is made of: of urgent ones the oldest alone."""
        if kind == URGENT:
            return self._archive.unsent(run, self.urgent[0], self.urgent[0] + 1)
        return self._archive.unsent(run)

    def _must_be_full(self, seq):
        state = self._state
        return (
            self._always_full
            or not state.is_acked
            or self._settings.next_counter - state.acked_counter >= _FULL_AGAIN
            or seq - state.acked_seq >= _FULL_AGAIN
            or state.unanswered % _FULL_EVERY == _FULL_EVERY - 1
        )

    def _open(self, frame):
        """Verify a downlink. Returns (the uplink it answers, plaintext). Raises FrameError."""
        parsed = parse_downlink(frame)
        if parsed.address != self._settings.address:
            raise FrameError("not_mine")
        sent = self._answered_by(parsed)
        state = self._state
        counter = parsed.counter if parsed.is_full else reconstruct_counter(parsed.counter, state.down_next)
        if counter < state.down_next:
            raise FrameError("replayed")
        aad = aad_downlink(parsed.head, self._settings.epoch, counter, sent[_COUNTER])
        box, iv = self.down
        body = box.open(nonce(iv, counter), aad, frame[parsed.header_len :])
        sent[_IS_ANSWERED] = True
        state.down_next = counter + 1
        return sent, body

    def _answered_by(self, parsed):
        """The uplink that a downlink says it answers: one of the last eight of this boot, not answered before."""
        for sent in reversed(self.sent):
            if sent[_COUNTER] & 0xFF == parsed.answers and sent[_IS_FULL] == parsed.is_full:
                if sent[_IS_ANSWERED]:
                    raise FrameError("replayed")
                return sent
        raise FrameError("unasked")

    def _apply(self, sent, ack):
        """Forget what the gateway has. Raises FrameError("bad_sequence") if it speaks of what was never issued."""
        epoch = self._settings.epoch if ack.epoch is None else ack.epoch
        if not self._archive.acknowledge(epoch, ack, is_latest=sent is self.sent[-1]):
            raise FrameError("bad_sequence")
        if sent[_LOST] is not None:
            self._archive.settle_lost(*sent[_LOST])
        if sent[_ENDINGS]:
            self._archive.settle_endings(sent[_ENDINGS])
        # The gateway has heard the alarm, though its bitmap may not reach that far: from now on it is like any other.
        self.urgent = [seq for seq in self.urgent if seq > sent[_URGENT_TO]]
        self.counters["acks"] += 1
        state = self._state
        state.is_acked, state.unanswered, state.acked_counter = 1, 0, sent[_COUNTER]
        if epoch == self._settings.epoch:
            state.acked_seq = ack.base
        if sent[_BEGAN_S] is not None:
            state.told_s = sent[_BEGAN_S]
        if ack.utc_s is not None:
            began_s = max(ack.utc_s - sent[_UPTIME_S], 0)
            if abs(began_s - state.began_s) > _SAME_S:
                state.began_s = began_s
                from firmware.began import note

                note(self._settings, began_s)

    def count(self, reason):
        """A downlink was refused, or a report could not be written."""
        self.counters[reason] = self.counters.get(reason, 0) + 1


def _first(entries):
    """The first entry, None if there is none. The generator is closed, and with it its file."""
    entry = next(entries, None)
    entries.close()
    return entry


def _same_boot(entries, boot):
    for entry in entries:
        if entry.boot != boot:
            return
        yield entry
