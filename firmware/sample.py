"""One sample: ask every configured sensor, turn what they say into reports. A silent one costs only its own values.

Goes in: sensors by name. Comes out: {quantity: wire integer}, and from that (schema, values) pairs. Knows no journal.
"""

from drivers.constant import const
from drivers.link.schema import SELF_DESCRIBING, fit
from drivers.sensor.errors import SensorAbsent, SensorError

_QUANTITIES = {
    "bme280": ("temperature", "humidity", "pressure"),
    "pms5003": ("pm1", "pm2_5", "pm10"),
    "water": ("water_level",),
    "battery": ("battery",),
    "switch": ("switch",),
}
_WARM_AFTER_S = {"pms5003": 30}  # its fan has not drawn enough air before: data manual, note 4
_SELF_DESCRIBING_MAX = const(40)  # bytes: what fits the smallest frame that lora.max_frame allows


class Sampler:
    """All sensors of a node. `counters` has <sensor>_absent and <sensor>_garbled; `faults` the last message of each."""

    def __init__(self, sensors, uptime):
        """`sensors` is {kind: object with `async measure()`}; kinds are those of the configuration."""
        self._uptime = uptime
        # The slow one first, so that all values are of the moment at which it answered.
        self.sensors = [(kind, sensors[kind]) for kind in sorted(sensors, key=lambda kind: kind != "pms5003")]
        self.counters = {}
        self.faults = {}

    async def measure(self):
        """Return {quantity: integer} of the sensors that answered; the others are counted, those not warm left out."""
        mantissas = {}
        uptime_s = self._uptime.seconds()
        for kind, sensor in self.sensors:
            if uptime_s < _WARM_AFTER_S.get(kind, 0):
                continue
            try:
                values = await sensor.measure()
            except SensorError as error:
                self._count(kind + ("_absent" if isinstance(error, SensorAbsent) else "_garbled"))
                self.faults[kind] = str(error)
                continue
            self.faults.pop(kind, None)
            for quantity, value in zip(_QUANTITIES[kind], values if isinstance(values, tuple) else (values,)):
                mantissas[quantity] = value
        return mantissas

    def _count(self, name):
        self.counters[name] = self.counters.get(name, 0) + 1


def reports_of(mantissas):
    """Split one sample into as few (schema, values) as can carry it.

    One if the wire has a schema for exactly these quantities; else one per sensor; what lies outside its schema's range
    goes value by value, self-describing.
    """
    if not mantissas:
        return []
    schema, values = fit(mantissas)
    if schema != SELF_DESCRIBING:
        return [(schema, values)]
    if len(mantissas) == 1:
        from drivers.link import cbor

        return [(schema, values)] if len(cbor.encode(values)) <= _SELF_DESCRIBING_MAX else []
    parts = []
    for quantities in _QUANTITIES.values():
        part = {quantity: mantissas[quantity] for quantity in quantities if quantity in mantissas}
        if len(part) == len(mantissas):  # one sensor alone: go down to single values
            return [report for name in quantities if name in part for report in reports_of({name: part[name]})]
        parts += reports_of(part)
    return parts
