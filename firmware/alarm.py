"""Alarms: a quantity beyond its limit, until it is back beyond its clear level. No I/O; wire integers throughout."""


class Alarms:
    """The configured alarms and which of them are on."""

    def __init__(self, rules, *, on_bits=0):
        """`rules` have quantity, is_above, limit, clear (firmware/config); `on_bits`: which were on before sleep."""
        self._rules = rules
        self.on_bits = on_bits

    def judge(self, mantissas):
        """Take one sample {quantity: integer}. Returns "raised", "cleared" or None.

        A missing quantity changes nothing.
        """
        verdict = None
        for at, rule in enumerate(self._rules):
            value = mantissas.get(rule.quantity)
            if value is None:
                continue
            bit = 1 << at
            if not self.on_bits & bit and (value > rule.limit if rule.is_above else value < rule.limit):
                self.on_bits |= bit
                verdict = "raised"
            elif self.on_bits & bit and (value <= rule.clear if rule.is_above else value >= rule.clear):
                self.on_bits &= ~bit
                verdict = verdict or "cleared"
        return verdict
