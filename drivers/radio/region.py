"""Where and how long a node may transmit: EU868 sub-bands, their power, and the duty ledger of the last hour.

Integers only. Time comes from the caller (seconds of a clock that does not step); no clock is read here.
Sources: ETSI EN 300 220-2 Annex B, ERC/REC 70-03 Annex 1; the sub-bands as in Semtech LoRa Basics Modem region_eu_868.
"""

from drivers.radio.duty import HOUR_S, METER_LEN, Meter

_EIRP_OVER_ERP_CENTI_DB = 215  # a dipole's gain, by definition of ERP


class RegionError(Exception):
    """A transmission the region forbids: change frequency, bandwidth or power, or wait."""


class Band:
    """One sub-band: edges in Hz, share of the hour in permille, highest ERP in dBm."""

    __slots__ = ("duty_permille", "high_hz", "index", "low_hz", "max_erp_dbm")

    def __init__(self, index, low_hz, high_hz, duty_permille, max_erp_dbm):
        self.index = index
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.duty_permille = duty_permille
        self.max_erp_dbm = max_erp_dbm

    @property
    def name(self):
        """For messages, e.g. "868.00-868.60 MHz"."""
        return "%s-%s MHz" % (_mhz(self.low_hz), _mhz(self.high_hz))

    @property
    def allowance_us(self):
        """Airtime per hour in microseconds."""
        return HOUR_S * 1_000 * self.duty_permille

    def max_tx_power_dbm(self, antenna_dbi=2):
        """Highest conducted power in whole dBm with an antenna of `antenna_dbi` (cable loss subtracted)."""
        return (self.max_erp_dbm * 100 + _EIRP_OVER_ERP_CENTI_DB - antenna_dbi * 100) // 100


EU868 = (
    Band(0, 863_000_000, 865_000_000, 1, 14),
    Band(1, 865_000_000, 868_000_000, 10, 14),
    Band(2, 868_000_000, 868_600_000, 10, 14),
    Band(3, 868_700_000, 869_200_000, 1, 14),
    Band(4, 869_400_000, 869_650_000, 100, 27),
    Band(5, 869_700_000, 870_000_000, 10, 14),
)
_EU868_ALARM_SLOTS = ((868_600_000, 868_700_000), (869_200_000, 869_400_000), (869_650_000, 869_700_000))


def band_of(freq_hz, bandwidth_hz=125_000):
    """The EU868 sub-band that holds the whole signal, half the bandwidth to either side of `freq_hz`.

    Raises RegionError for an alarm slot (by name), a signal across an edge, and anything outside 863 to 870 MHz.
    """
    low_hz, high_hz = freq_hz - bandwidth_hz // 2, freq_hz + (bandwidth_hz + 1) // 2
    for slot_low_hz, slot_high_hz in _EU868_ALARM_SLOTS:
        if low_hz < slot_high_hz and high_hz > slot_low_hz:
            raise RegionError(
                "%s MHz with %d Hz bandwidth reaches into the alarm slot %s-%s MHz, kept for alarms; "
                "choose 868.10, 868.30, 868.50 or 869.525 MHz"
                % (_mhz(freq_hz), bandwidth_hz, _mhz(slot_low_hz), _mhz(slot_high_hz))
            )
    for band in EU868:
        if band.low_hz <= low_hz and high_hz <= band.high_hz:
            return band
    if high_hz <= EU868[0].low_hz or low_hz >= EU868[-1].high_hz:
        raise RegionError("%s MHz lies outside EU868, 863 to 870 MHz" % _mhz(freq_hz))
    raise RegionError(
        "%s MHz with %d Hz bandwidth crosses the edge of a sub-band; move it %d Hz inwards or use a narrower bandwidth"
        % (_mhz(freq_hz), bandwidth_hz, (bandwidth_hz + 1) // 2)
    )


def check_power(freq_hz, tx_power_dbm, *, bandwidth_hz=125_000, antenna_dbi=2):
    """Raise RegionError if `tx_power_dbm` at the chip, with this antenna, radiates more than the sub-band's ERP."""
    band = band_of(freq_hz, bandwidth_hz)
    limit_dbm = band.max_tx_power_dbm(antenna_dbi)
    if tx_power_dbm > limit_dbm:
        raise RegionError(
            "%d dBm with a %d dBi antenna is above %d dBm ERP, the limit of %s; set tx_power_dbm to %d or less"
            % (tx_power_dbm, antenna_dbi, band.max_erp_dbm, band.name, limit_dbm)
        )


class DutyLedger:
    """Airtime spent in the last hour, per sub-band (drivers/radio/duty).

    A new ledger says nothing was sent; for a sender that lost power without a copy of its ledger use `unknown`; with a
    copy (say, in a file) `from_bytes` is right too, because the restarted clock makes time stand still.
    """

    def __init__(self, now_s=0):
        self._now_s = now_s
        self._meters = {}  # index of a band in use -> Meter

    @classmethod
    def unknown(cls, now_s=0, *, spent_permille=750):
        """The ledger after a power loss: takes three quarters of every allowance as spent just now.

        All of it would silence a node for an hour after each brown-out; nothing would let a loose contact transmit
        without limit.
        """
        ledger = cls(now_s)
        for band in EU868:
            ledger._meter(band).record(band.allowance_us // 1_000 * spent_permille, now_s)
        return ledger

    def may_transmit(self, freq_hz, airtime_us, now_s, bandwidth_hz=125_000):
        """Whether a frame of `airtime_us` may start now. Raises RegionError where nothing may ever be sent."""
        band = band_of(freq_hz, bandwidth_hz)
        return self._meter(band).spent_us(now_s) + airtime_us <= band.allowance_us

    def wait_s(self, freq_hz, airtime_us, now_s, bandwidth_hz=125_000):
        """Seconds until such a frame may start, 0 if now. Raises RegionError if it is longer than the hour allows."""
        band = band_of(freq_hz, bandwidth_hz)
        if airtime_us > band.allowance_us:
            raise RegionError(
                "a frame of %d ms is longer than the %d ms per hour that %s allows; use a lower spreading factor"
                % (airtime_us // 1_000, band.allowance_us // 1_000, band.name)
            )
        return self._meter(band).wait_s(airtime_us, now_s)

    def require(self, freq_hz, airtime_us, now_s, bandwidth_hz=125_000):
        """Raise RegionError with the waiting time if the frame may not start now."""
        wait_s = self.wait_s(freq_hz, airtime_us, now_s, bandwidth_hz)
        if wait_s:
            band = band_of(freq_hz, bandwidth_hz)
            spent_us = self._meter(band).spent_us(now_s)
            raise RegionError(
                "%s allows %d ms of airtime per hour and %d ms are spent; a frame of %d ms may start in %d s"
                % (band.name, band.allowance_us // 1_000, spent_us // 1_000, airtime_us // 1_000, wait_s)
            )

    def record(self, freq_hz, airtime_us, now_s, bandwidth_hz=125_000):
        """Note a transmission. Call it before the frame starts, so that a reset in between errs on the safe side."""
        self._meter(band_of(freq_hz, bandwidth_hz)).record(airtime_us, now_s)

    def spent_us(self, freq_hz, now_s, bandwidth_hz=125_000):
        """Airtime that counts against the sub-band's hour now, in microseconds."""
        return self._meter(band_of(freq_hz, bandwidth_hz)).spent_us(now_s)

    def to_bytes(self):
        """The ledger for a file: 2 bytes, and 90 per sub-band in use, at most MAX_BYTES."""
        used = sorted(self._meters)
        return bytes([_MARK, len(used)]) + b"".join([bytes([index]) + self._meters[index].to_bytes() for index in used])

    @classmethod
    def from_bytes(cls, data, now_s):
        """The ledger that `to_bytes` wrote, moved on to `now_s`. Raises ValueError for anything else: use `unknown`."""
        data = bytes(data)
        if len(data) < 2 or data[0] != _MARK or len(data) != 2 + data[1] * _BAND_LEN:
            raise ValueError("not a duty ledger (%d bytes)" % len(data))
        ledger = cls(now_s)
        for at in range(2, len(data), _BAND_LEN):
            if data[at] >= len(EU868):
                raise ValueError("not a duty ledger (sub-band %d)" % data[at])
            ledger._meter(EU868[data[at]]).restore(data[at + 1 : at + _BAND_LEN], now_s)
        return ledger

    def _meter(self, band):
        if band.index not in self._meters:
            self._meters[band.index] = Meter(band.allowance_us, self._now_s)
        return self._meters[band.index]


_MARK = 0xD2  # of this format
_BAND_LEN = 1 + METER_LEN
MAX_BYTES = 2 + len(EU868) * _BAND_LEN


def _mhz(freq_hz):
    """ "868.10" without floats; three decimals where they are needed."""
    khz = freq_hz // 1_000
    return "%d.%02d" % (khz // 1_000, khz % 1_000 // 10) if khz % 10 == 0 else "%d.%03d" % (khz // 1_000, khz % 1_000)
