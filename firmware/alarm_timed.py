"""Alarms that need to know the time: a limit that must hold for a while, or a rate of change. Else as firmware/alarm.

The same rules as the gateway's: a hold time begins with the first value beyond the limit and ends with one that is not;
a rate is taken from one value to the next.
"""

from firmware.alarm import Alarms

_FIELDS = 3  # of a rule: when the condition began to hold, the value before and when, in ms of uptime; -1: not known


class TimedAlarms(Alarms):
    """Takes the place of Alarms where a rule has hold_ms or is_rate."""

    def __init__(self, rules, uptime, *, on_bits=0):
        """`rules` also have hold_ms and is_rate; limit and clear of a rate are thousandths of wire integers per s."""
        super().__init__(rules, on_bits=on_bits)
        self._uptime = uptime
        self.state = [-1] * (_FIELDS * len(rules))
        self.states = [self.state]

    def judge(self, mantissas):
        """Take one sample {quantity: integer}. Returns "raised", "cleared" or None."""
        seconds, ms = self._uptime.split()
        now_ms = seconds * 1000 + ms
        verdict = None
        for at, rule in enumerate(self._rules):
            value = mantissas.get(rule.quantity)
            if value is None:
                continue
            bit = 1 << at
            is_beyond, is_back = self._compare(rule, _FIELDS * at, value, now_ms)
            if self._has_held(rule, _FIELDS * at, is_beyond, now_ms) and not self.on_bits & bit:
                self.on_bits |= bit
                verdict = "raised"
            elif is_back and self.on_bits & bit:
                self.on_bits &= ~bit
                verdict = verdict or "cleared"
        return verdict

    def _compare(self, rule, at, value, now_ms):
        """(beyond the limit, back beyond the clear level); neither without a value to take the rate from."""
        limit, clear, figure = rule.limit, rule.clear, value
        if rule.is_rate:
            before, before_ms = self.state[at + 1], self.state[at + 2]
            self.state[at + 1], self.state[at + 2] = value, now_ms
            elapsed_ms = now_ms - before_ms
            if before_ms < 0 or elapsed_ms <= 0:
                return False, False
            figure, limit, clear = (value - before) * 1_000_000, limit * elapsed_ms, clear * elapsed_ms
        if rule.is_above:
            return figure > limit, figure <= clear
        return figure < limit, figure >= clear

    def _has_held(self, rule, at, is_beyond, now_ms):
        if not is_beyond:
            self.state[at] = -1
            return False
        if self.state[at] < 0:
            self.state[at] = now_ms
        return now_ms - self.state[at] >= rule.hold_ms
