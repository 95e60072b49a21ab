"""What a report can hold: quantities with unit and resolution, and the schemas that node and gateway both know.

A value is an integer everywhere: the mantissa m of m x 10^exponent in the quantity's unit (RFC 8428 section 12.1).
"""

CLIMATE = 1
PARTICLES = 2
CLIMATE_PARTICLES = 3
WATER = 4
CLIMATE_WATER = 5
CLIMATE_PARTICLES_WATER = 6
BATTERY = 7
SWITCH = 8
OUTCOME = 29  # what came of an order: drivers/link/order
WINDOW = 30  # what was aggregated over a span of time: drivers/link/window
SELF_DESCRIBING = 31  # name, unit, exponent and mantissa of each value are in the report

# quantity: (unit, exponent)
QUANTITIES = {
    "temperature": ("Cel", -2),
    "humidity": ("%RH", -2),
    "pressure": ("Pa", 0),
    "pm1": ("kg/m3", -9),
    "pm2_5": ("kg/m3", -9),
    "pm10": ("kg/m3", -9),
    "water_level": ("m", -3),
    "battery": ("V", -3),
    "switch": ("/", 0),
    "count": ("/", 0),
}

_CLIMATE = ("temperature", "humidity", "pressure")
_PARTICLES = ("pm1", "pm2_5", "pm10")
_WATER = ("water_level",)

# schema: quantities in the order of the wire
SCHEMAS = {
    CLIMATE: _CLIMATE,
    PARTICLES: _PARTICLES,
    CLIMATE_PARTICLES: _CLIMATE + _PARTICLES,
    WATER: _WATER,
    CLIMATE_WATER: _CLIMATE + _WATER,
    CLIMATE_PARTICLES_WATER: _CLIMATE + _PARTICLES + _WATER,
    BATTERY: ("battery",),
    SWITCH: ("switch",),
}

# quantity: lowest and highest value that a schema can carry
LIMITS = {
    "temperature": (-4000, 8500),
    "humidity": (0, 10000),
    "pressure": (30000, 110000),
    "pm1": (0, 65535),
    "pm2_5": (0, 65535),
    "pm10": (0, 65535),
    "water_level": (-32768, 32767),
    "battery": (0, 65535),
    "switch": (0, 1),
}


def in_range(schema, values):
    """True if `schema` has as many quantities as there are `values`, and can carry each of them."""
    names = SCHEMAS.get(schema)
    if names is None or len(names) != len(values):
        return False
    for i in range(len(names)):  # zip() would make a tuple per value
        low, high = LIMITS[names[i]]
        if not low <= values[i] <= high:
            return False
    return True


def fit(mantissas):
    """Choose how to report `mantissas` (quantity: integer). Returns (schema, values).

    The schema is the one with exactly these quantities if all are in its range, else the self-describing one,
    whose values are [name, unit, exponent, mantissa] lists.
    """
    for schema, names in SCHEMAS.items():
        if len(names) == len(mantissas) and all(name in mantissas for name in names):
            values = tuple(mantissas[name] for name in names)
            if in_range(schema, values):
                return schema, values
    return SELF_DESCRIBING, [list(_describe(name, mantissas[name])) for name in sorted(mantissas)]


def readings(schema, values):
    """Return a list of (name, unit, exponent, mantissa), one per value of a report."""
    if schema == SELF_DESCRIBING:
        return [tuple(value) for value in values]
    if schema == WINDOW:
        from drivers.link import window_reading

        return window_reading.readings(values)
    if schema == OUTCOME:
        from drivers.link import order

        return order.readings(values)
    return [_describe(name, value) for name, value in zip(SCHEMAS[schema], values)]


def _describe(name, mantissa):
    unit, exponent = QUANTITIES[name]
    return name, unit, exponent, mantissa
