"""Crashes in a row, kept in NVS: how long to wait before the next start, and when to stop trying for a while.

A node that crashes at every start must neither lock a technician out nor wear its battery down in silence.
"""

_SAFE_AFTER = 5
_TRIES_AFTER_SAFE = 1
_LONGEST_S = 300
FILE = "/crash.txt"


class Crashes:
    """The count in NVS entry "crashes"."""

    def __init__(self, nvs):
        """`nvs` has the methods of esp32.NVS."""
        self._nvs = nvs
        try:
            self.count = nvs.get_i32("crashes")
        except OSError:
            self.count = 0

    def add(self):
        """One more. Returns how many seconds to wait before starting again."""
        self._set(self.count + 1)
        return min(1 << min(self.count, 16), _LONGEST_S)

    def forget(self):
        """The node runs well."""
        if self.count:
            self._set(0)

    def is_safe_mode_due(self):
        """Whether to stay at the REPL for an hour. After it there is one more try before the next hour."""
        if self.count < _SAFE_AFTER:
            return False
        self._set(_SAFE_AFTER - _TRIES_AFTER_SAFE - 1)
        return True

    def _set(self, count):
        self.count = count
        try:
            self._nvs.set_i32("crashes", count)
            self._nvs.commit()
        except OSError:
            pass  # worn NVS must not be one more reason to crash
