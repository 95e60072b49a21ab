"""How a signal fades on its way, and how faint it may be: log-distance path loss, thermal noise, SNR limits.

Figures come from the SX1261/2 data sheet where one is named; the others are usual for a street and say so.
"""

import math

# SNR at which a packet can still be read, per spreading factor: SX1261/2 data sheet table 6-1 (demodulator SNR).
SNR_LIMIT_DB = {5: -2.5, 6: -5.0, 7: -7.5, 8: -10.0, 9: -12.5, 10: -15.0, 11: -17.5, 12: -20.0}
CAPTURE_DB = 6.0  # a packet survives another of its own kind that is this much weaker
CROSS_SF_DB = -16.0  # and one of another spreading factor or polarity down to here (Croce et al. 2018, the mildest)

_THERMAL_DBM_HZ = -174.0
_LOSS_AT_1M_DB = 31.2  # free space at 868 MHz
_EXPONENT = 3.0  # a street: between free space (2) and a dense city (3.5)


def path_loss_db(a_m: tuple[float, float], b_m: tuple[float, float], freq_hz: int) -> float:
    """Between two places given as (x, y) in metres; nothing is nearer than one metre."""
    distance_m = max(1.0, math.dist(a_m, b_m))
    return _LOSS_AT_1M_DB + 20 * math.log10(freq_hz / 868e6) + 10 * _EXPONENT * math.log10(distance_m)


def noise_dbm(bandwidth_hz: float, noise_figure_db: float) -> float:
    return _THERMAL_DBM_HZ + 10 * math.log10(bandwidth_hz) + noise_figure_db


def sum_dbm(*levels_dbm: float) -> float:
    """The level of several signals together."""
    strongest = max(levels_dbm)
    return strongest + 10 * math.log10(sum(10 ** ((level - strongest) / 10) for level in levels_dbm))
