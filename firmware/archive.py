"""The archive: journal and reserved numbers together. Which epoch is open, what may be forgotten, what was given up.

Goes in: new reports, and what the gateway says it has. Comes out: the reports that are still to be sent, and the three
things a frame must say about those that never will be: the floor, why it was raised, and how earlier epochs ended.
Rules: design "Freshness" and "Two number spaces"; docs/decisions/0002. Knows no radio and no key.
"""

from drivers.constant import const
from drivers.link.pack import JOURNAL_DAMAGED, JOURNAL_FULL
from firmware.journal import Entry

_NO_SPACE = const(28)  # ENOSPC
_FORGOTTEN = const(0)  # reason "unknown": neither side can say any more


class Archive:
    """What this node has measured and the gateway may not have."""

    def __init__(self, settings, journal, *, cap):
        """`cap` is how many reports are kept before the oldest are given up, 32 to 16,000."""
        self._settings = settings
        self._journal = journal
        self._cap = cap
        self.reports_given_up = 0
        self.appends_failed = 0

    def add(self, boot, time_s, schema, values):
        """Number and keep one report; returns its sequence, or None if the flash refused it (then it is lost, counted).

        Raises SettingsError if no sequence can be reserved.
        """
        self._make_room()
        entry = Entry(self._settings.take_seq(), boot, time_s, schema, values)
        for _ in range(2):
            try:
                self._journal.append(self._settings.epoch, entry)
                return entry.seq
            except OSError as error:
                self.appends_failed += 1
                if error.errno != _NO_SPACE or not self._give_up_oldest():
                    break
        return None

    def next_run(self):
        """The run to send from: the oldest closed one until it is drained, then the current. None if all is sent."""
        for run in self._journal.runs:
            if run.base < run.end:
                return run
        return None

    def current(self):
        """The run of the epoch that reports are issued in, None before its first report."""
        return self._journal.run(self._settings.epoch)

    def unsent(self, run, first=0, end=None):
        """Yield what the gateway is not known to have of `run`, from sequence `first` to before `end`, oldest first.

        Close the generator: it holds a file.
        """
        for entry in self._journal.entries(run, max(first, run.base)):
            if end is not None and entry.seq >= end:
                return
            if not run.bitmap >> (entry.seq - run.base) & 1:
                yield entry

    def floor(self, run, oldest_seq):
        """(floor, lost): the oldest sequence held, and (count, reason) of those given up just below it, or None.

        oldest_seq  of the entries that unsent(run) yields, the first
        """
        lost = self._settings.lost
        if lost is not None and lost[0] == run.epoch:
            _, first, end, reason = lost
            return end, (end - first, reason)
        if oldest_seq > run.base:
            return oldest_seq, (oldest_seq - run.base, JOURNAL_DAMAGED)
        return oldest_seq, None

    def skip_unreadable(self, run):
        """Nothing of `run` can be read any more: a closed one counts as drained, its notice says what is missing."""
        if run.epoch != self._settings.epoch:
            advance(run, run.end)
            self._journal.trim(run, run.end, keep_last=False)

    def endings(self, limit):
        """(epoch, end, is_known) of at most `limit` closed and drained epochs that the gateway has not acknowledged."""
        untold = [ending for ending in self._settings.untold() if self._journal.run(ending[0]) is None]
        return untold[:limit]

    def acknowledge(self, epoch, ack, *, is_latest):
        """Forget what `ack` (drivers.link.ack.Ack) covers. Returns False if it speaks of what was never issued.

        is_latest  it answers the newest uplink: where its base is lower than ours, the gateway is right (it has a new
                   database, or our NVS forgot what was given up), and hears of what we hold no more
        """
        run = self._journal.run(epoch)
        end = self._settings.next_seq if epoch == self._settings.epoch else self._settings.closed_end(epoch)
        if end is None:
            return False
        ack.resolve(end)
        if epoch == self._settings.epoch and ack.is_beyond(end):
            return False  # of a closed epoch the gateway may know more than flash and NVS do, after both were harmed
        if run is None:
            return True
        if ack.base >= run.base:
            _merge(run, ack)
        elif is_latest:
            self._reopen(run, ack)
        self._journal.trim(run, run.base, keep_last=epoch == self._settings.epoch)
        drop_covered_loss(self._settings, self._journal)
        return True

    def give_up(self, run, seq):
        """Give up everything up to and with `seq`: it can be read, but not sent."""
        self._note_lost(run, run.base, seq + 1, JOURNAL_DAMAGED)
        self.reports_given_up += seq + 1 - run.base
        advance(run, seq + 1)

    def settle_lost(self, epoch, end):
        """The gateway knows of the reports of `epoch` given up before `end`."""
        lost = self._settings.lost
        if lost is None or lost[0] != epoch:
            return
        _, first, lost_end, reason = lost
        if end >= lost_end:
            self._settings.set_lost(None)
        elif end > first:
            self._settings.set_lost((epoch, end, lost_end, reason))

    def settle_endings(self, epochs):
        """The gateway knows how these epochs ended."""
        self._settings.mark_told(epochs)

    def count_held(self):
        """How many reports wait for the gateway."""
        return sum(run.end - run.base for run in self._journal.runs)

    def _make_room(self):
        while self.count_held() >= self._cap and self._give_up_oldest():
            pass

    def _give_up_oldest(self):
        """Give up the oldest segment, if another follows it. The loss is in NVS before anything is deleted."""
        run = self._journal.runs[0] if self._journal.runs else None
        if run is None or (len(run.firsts) == 1 and run.epoch == self._settings.epoch):
            return False
        first, end = run.base, self._journal.oldest_end(run)
        if end > first:
            self._note_lost(run, first, end, JOURNAL_FULL)
            self.reports_given_up += end - run.base
            advance(run, end)
        self._journal.give_up_oldest(run)
        drop_covered_loss(self._settings, self._journal)
        return True

    def _reopen(self, run, ack):
        """Go back to where the gateway is, as far as flash reaches; what lies before that is lost."""
        oldest = run.firsts[0]
        if ack.base < oldest:
            self._note_lost(run, ack.base, oldest, _FORGOTTEN)
        run.base = max(ack.base, oldest)
        run.bitmap = ack.bitmap << 1 >> (run.base - ack.base)
        _settle(run)

    def _note_lost(self, run, first, end, reason):
        """Keep a loss until the gateway knows; one that it does not know yet grows."""
        lost = self._settings.lost
        if lost is not None and lost[0] == run.epoch:
            first, end = min(first, lost[1]), max(end, lost[2])
        if lost != (run.epoch, first, end, reason):
            self._settings.set_lost((run.epoch, first, end, reason))


def _merge(run, ack):
    """Take a (resolved) ack that reaches at least as far as what is known."""
    known = run.bitmap >> (ack.base - run.base)
    run.base, run.bitmap = ack.base, ack.bitmap << 1 | known
    _settle(run)
    run.base = min(run.base, run.end)


def advance(run, base):
    """Move the base up to `base`, if it is below."""
    if base > run.base:
        run.bitmap >>= base - run.base
        run.base = base
        _settle(run)


def _settle(run):
    """The base is the lowest sequence that the gateway is not known to have."""
    while run.bitmap & 1:
        run.bitmap >>= 1
        run.base += 1


def drop_covered_loss(settings, journal):
    """Where nothing of an epoch is left, the notice of its end covers what was given up."""
    lost = settings.lost
    if lost is not None and journal.run(lost[0]) is None:
        settings.set_lost(None)
