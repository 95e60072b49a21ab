"""What of the samples becomes a report: windows in place of samples, and report by exception. Wire integers throughout.

A report of a sample is held back if each of its quantities is in a window or under an exception, and no exception is
due. The same rules as the gateway's [[edge.window]] and [[edge.report]]; loaded only where the configuration has them.
All that they remember is in flat lists of integers, so that it can sleep (carried) and costs no garbage per sample.
"""

from drivers.link.bits import BitWriter
from drivers.link.frame import FrameError
from drivers.link.schema import SCHEMAS
from drivers.link.window import CODES, LOWEST, MOST, write

_FIELDS = 6  # of a quantity in a window: count, first, sum of what the others differ from it, lowest, highest, last
_LONGEST = 40  # bytes that fit the smallest frame which lora.max_frame allows


class Rules:
    """The windows and exceptions of one node. `counters` says what became of samples."""

    def __init__(self, windows, exceptions, held_back_s, now_s):
        """windows      (quantities, length_s) each
        exceptions   {quantity: (dead band, dead band in thousandths of a percent, is_on_change, heartbeat_s)};
                     -1 for a band that is not set
        held_back_s  how often the number of reports that were held back is told
        """
        self._windows = [Window(quantities, length_s, now_s) for quantities, length_s in windows]
        self._exceptions = exceptions
        self._places = {name: 2 * at for at, name in enumerate(sorted(exceptions))}
        self._windowed = {name for quantities, _ in windows for name in quantities}
        self._sent = [-1] * (2 * len(exceptions))  # of each: value, and when; -1: never
        self._held_back_s = held_back_s
        self._held = [(now_s // held_back_s + 1) * held_back_s, 0]  # when it is told, and how many
        self.counters = {"reports_held_back": 0, "windows": 0, "values_out_of_range": 0}

    def take(self, mantissas, time_s):
        """Take one sample into the windows. Returns (end_s, values) of the windows that were over before it."""
        told = ()
        for window in self._windows:
            if time_s >= window.state[0]:
                told = list(told) + window.close(time_s)
            self.counters["values_out_of_range"] += window.take(mantissas)
        if time_s >= self._held[0]:
            told = list(told) + self._tell_held_back(time_s)
        if told:
            self.counters["windows"] += len(told)
            told.sort(key=_end)
        return told

    def lets_go(self, schema, values, time_s, is_due):
        """Whether this report of a sample is made; `is_due`: it is, whatever the rules say (an alarm)."""
        names = SCHEMAS.get(schema)
        if names is None:  # self-describing
            names, values = [value[0] for value in values], [value[3] for value in values]
        for at in range(len(names)):
            name = names[at]
            if name in self._places:
                is_due = is_due or self._has_moved(name, values[at], time_s)
            elif name not in self._windowed:
                is_due = True
        if not is_due:
            self._held[1] += 1
            self.counters["reports_held_back"] += 1
            return False
        for at in range(len(names)):
            place = self._places.get(names[at])
            if place is not None:
                self._sent[place], self._sent[place + 1] = values[at], time_s
        return True

    def states(self):
        """The lists of integers that hold all that is remembered."""
        return [window.state for window in self._windows] + [self._sent, self._held]

    def _has_moved(self, name, value, time_s):
        band, permille_of_pct, is_on_change, heartbeat_s = self._exceptions[name]
        place = self._places[name]
        last, at_s = self._sent[place], self._sent[place + 1]
        if at_s < 0 or time_s - at_s >= heartbeat_s:
            return True
        moved = abs(value - last)
        if band >= 0 and moved > band:
            return True
        if permille_of_pct >= 0 and moved * 100_000 > abs(last) * permille_of_pct:
            return True
        return is_on_change and moved > 0

    def _tell_held_back(self, time_s):
        end_s, count = self._held
        self._held[0], self._held[1] = (time_s // self._held_back_s + 1) * self._held_back_s, 0
        return [(end_s, (self._held_back_s, min(count, 0x1FFFFF)))] if count else []


class Window:
    """One tumbling window over some quantities, aligned to the uptime."""

    def __init__(self, quantities, length_s, now_s):
        self._quantities = quantities
        self._length_s = length_s
        self.state = [0] * (1 + _FIELDS * len(quantities))  # its end, then the fields of each quantity
        self._begin(now_s)

    def take(self, mantissas):
        """Take one sample. Returns how many values of it lie outside what the wire can carry."""
        state, refused = self.state, 0
        at = 1
        for name in self._quantities:
            value = mantissas.get(name)
            if value is not None:
                if LOWEST <= value < -LOWEST:
                    _add(state, at, value)
                else:
                    refused += 1
            at += _FIELDS
        return refused

    def close(self, time_s):
        """[(end_s, values)] of the window that is over, as few as can carry it; begins the one that time_s is in."""
        end_s = self.state[0]
        told = []
        for at in range(0, len(self._quantities), MOST):
            told += self._tell(at, min(at + MOST, len(self._quantities)))
        self._begin(time_s)
        return [(end_s, values) for values in told]

    def _tell(self, first, end):
        values = [self._length_s, 0]
        for at in range(first, end):
            count, origin, total, low, high, last = self.state[1 + _FIELDS * at : 1 + _FIELDS * (at + 1)]
            if count:
                mean = 10 * origin + (20 * total + count) // (2 * count)
                values += [CODES.index(self._quantities[at]), count, low, high, mean, last]
        if len(values) == 2:
            return []
        if end - first > 1 and not _fits(values):
            return [told for at in range(first, end) for told in self._tell(at, at + 1)]
        return [values]

    def _begin(self, now_s):
        for at in range(len(self.state)):
            self.state[at] = 0
        self.state[0] = (now_s // self._length_s + 1) * self._length_s


def _add(state, at, value):
    if state[at]:
        state[at + 2] += value - state[at + 1]
        state[at + 3] = min(state[at + 3], value)
        state[at + 4] = max(state[at + 4], value)
    else:
        state[at + 1] = state[at + 3] = state[at + 4] = value
    state[at] += 1
    state[at + 5] = value


def _fits(values):
    try:
        write(BitWriter(_LONGEST), values)
    except FrameError:
        return False
    return True


def _end(told):
    return told[0]
