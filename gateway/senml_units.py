"""Units of SenML: the primary ones, which we keep, and the secondary ones, which we turn into primary ones.

Source: RFC 8428 section 12.1 and RFC 8798 (the tables of primary additions and of secondary units); IANA registry
"SenML Units".
"""

from fractions import Fraction

_PRIMARY = (
    "m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat m2 m3 l m/s m/s2 m3/s l/s W/m2 "
    "cd/m2 bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL 1/s 1/min beat/min beats S/m "
    "B VA VAs var vars J/m kg/m3 deg NTU"
)
PRIMARY = frozenset(_PRIMARY.split())

# secondary: (primary, scale, offset), value in primary = scale * value + offset
SECONDARY: dict[str, tuple[str, Fraction, int]] = {
    "ms": ("s", Fraction(1, 1000), 0),
    "min": ("s", Fraction(60), 0),
    "h": ("s", Fraction(3600), 0),
    "MHz": ("Hz", Fraction(1_000_000), 0),
    "kW": ("W", Fraction(1000), 0),
    "kVA": ("VA", Fraction(1000), 0),
    "kvar": ("var", Fraction(1000), 0),
    "Ah": ("C", Fraction(3600), 0),
    "Wh": ("J", Fraction(3600), 0),
    "kWh": ("J", Fraction(3_600_000), 0),
    "varh": ("vars", Fraction(3600), 0),
    "kvarh": ("vars", Fraction(3_600_000), 0),
    "kVAh": ("VAs", Fraction(3_600_000), 0),
    "Wh/km": ("J/m", Fraction(36, 10), 0),
    "KiB": ("B", Fraction(1024), 0),
    "GB": ("B", Fraction(1_000_000_000), 0),
    "Mbit/s": ("bit/s", Fraction(1_000_000), 0),
    "B/s": ("bit/s", Fraction(8), 0),
    "MB/s": ("bit/s", Fraction(8_000_000), 0),
    "mV": ("V", Fraction(1, 1000), 0),
    "mA": ("A", Fraction(1, 1000), 0),
    "dBm": ("dBW", Fraction(1), -30),
    "ug/m3": ("kg/m3", Fraction(1, 1_000_000_000), 0),
    "mm/h": ("m/s", Fraction(1, 3_600_000), 0),
    "m/h": ("m/s", Fraction(1, 3600), 0),
    "ppm": ("/", Fraction(1, 1_000_000), 0),
    "/100": ("/", Fraction(1, 100), 0),
    "/1000": ("/", Fraction(1, 1000), 0),
    "hPa": ("Pa", Fraction(100), 0),
    "mm": ("m", Fraction(1, 1000), 0),
    "cm": ("m", Fraction(1, 100), 0),
    "km": ("m", Fraction(1000), 0),
    "km/h": ("m/s", Fraction(10, 36), 0),
}


def primary_of(unit: str) -> str | None:
    """The primary unit that `unit` is, or is turned into; None if the registry does not know it."""
    return unit if unit in PRIMARY else SECONDARY[unit][0] if unit in SECONDARY else None


def in_primary(value: float, unit: str, *, is_difference: bool = False) -> float:
    """`value` in the primary unit, rounded once. `is_difference`: of a sum, to which no offset of a scale is added."""
    if unit in PRIMARY:
        return value
    _, scale, offset = SECONDARY[unit]
    return float(Fraction(value) * scale + (0 if is_difference else offset))
