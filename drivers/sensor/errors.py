"""What can be wrong with a sensor: three cases a caller may treat differently."""


class SensorError(Exception):
    """This reading is not to be had: count it, report without it, try at the next sample."""


class SensorAbsent(SensorError):
    """Nothing answers: wiring, power or address."""


class SensorGarbled(SensorError):
    """Something answers, but not with a reading: noise on the wire, or another chip than expected."""
