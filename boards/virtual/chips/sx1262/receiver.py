"""One reception of an SX1262: searching for a preamble, locked on a packet, done. Made anew by each SetRx.

Knows the modem, not the chip: tells its owner what happens next and when, and changes nothing in the chip itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from boards.virtual.air import Air
from boards.virtual.chips.sx1262.errata import LONGEST_SAFE_LEN
from boards.virtual.chips.sx1262.settings import LoraPacket
from boards.virtual.hearing import Ear, Transmission, signal_dbm
from boards.virtual.propagation import CAPTURE_DB
from boards.virtual.waveform import Modulation


class Happening(Enum):
    PREAMBLE = "preamble"
    HEADER = "header"
    HEADER_ERROR = "header error"
    LOST = "lost"  # the sender fell silent before the header
    DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Window:
    """When the receiver is on. `cycle_us` is 0 for always, else it listens `open_us` of every cycle (RX duty cycle)."""

    since_us: int
    open_us: int = 0
    cycle_us: int = 0

    def first_us(self, from_us: int, needed_us: int) -> int | None:
        """The earliest moment from which it listens for that long; None if its windows are too short."""
        from_us = max(from_us, self.since_us)
        if not self.cycle_us:
            return from_us
        if needed_us > self.open_us:
            return None
        into_us = (from_us - self.since_us) % self.cycle_us
        return from_us if into_us + needed_us <= self.open_us else from_us + self.cycle_us - into_us

    def is_open(self, at_us: int) -> bool:
        return not self.cycle_us or (at_us - self.since_us) % self.cycle_us < self.open_us


@dataclass(frozen=True, kw_only=True)
class Reception:
    """A packet as the modem hands it over."""

    payload: bytes
    is_crc_wrong: bool
    rssi_dbm: float
    signal_dbm: float
    snr_db: float

    def status_bytes(self) -> bytes:
        """What GetPacketStatus answers: RssiPkt, SnrPkt, SignalRssiPkt (data sheet 13.5.3)."""
        snr = max(-128, min(127, round(4 * self.snr_db))) & 0xFF
        return bytes((rssi_byte(self.rssi_dbm), snr, rssi_byte(self.signal_dbm)))


def rssi_byte(level_dbm: float) -> int:
    """The level is minus half of the value, in dBm."""
    return max(0, min(255, round(-2 * level_dbm)))


class Receiver:
    def __init__(
        self, air: Air, ear: Ear, modulation: Modulation, packet: LoraPacket, window: Window, *, has_wrong_iq_bit: bool
    ) -> None:
        self._air, self._ear = air, ear
        self._modulation, self._packet, self._window = modulation, packet, window
        self._has_wrong_iq_bit = has_wrong_iq_bit
        self._free_us = window.since_us
        self._locked: Transmission | None = None
        self._is_past_header = False
        self._missed: set[int] = set()

    @property
    def is_locked(self) -> bool:
        return self._locked is not None

    @property
    def listens_from_us(self) -> int:
        return self._window.since_us

    def is_listening(self, at_us: int) -> bool:
        return self.is_locked or self._window.is_open(at_us)

    def next_happening(self) -> tuple[int, Happening, Transmission] | None:
        """The earliest thing that will happen if nothing else comes in between."""
        if self._locked is None:
            return self._next_preamble(self._candidates(), self._free_us)
        return min(self._while_locked(self._locked), key=lambda happening: happening[0])

    def accept(self, at_us: int, happening: Happening, sent: Transmission) -> None:
        """Let what next_happening() announced come true."""
        if happening is Happening.PREAMBLE:
            self._lock(sent)
        elif happening is Happening.HEADER:
            self._is_past_header = True
        else:
            self._release(at_us)
        if happening is Happening.HEADER_ERROR:
            self._air.counters["collided"] += 1

    def take(self, sent: Transmission) -> Reception:
        """The packet that is done, right or wrong."""
        payload, is_wrong = self._demodulate(sent)
        level_dbm = signal_dbm(sent, self._ear)
        return Reception(
            payload=payload,
            is_crc_wrong=is_wrong,
            rssi_dbm=self._air.mean_rssi_dbm(sent, self._ear),
            signal_dbm=level_dbm,
            snr_db=self._air.snr_db(sent, self._ear),
        )

    def abandon(self) -> None:
        """The chip stops listening: a packet it was in the middle of is lost."""
        if self._locked is not None:
            self._air.counters["missed"] += 1

    def _candidates(self) -> Iterable[Transmission]:
        return (t for t in self._air.tuned(self._modulation, self._free_us) if t is not self._locked)

    def _next_preamble(
        self, candidates: Iterable[Transmission], from_us: int
    ) -> tuple[int, Happening, Transmission] | None:
        found = []
        for sent in candidates:
            hears_us = self._window.first_us(max(from_us, sent.starts_us), sent.detect_us)
            if hears_us is None or hears_us + sent.detect_us > min(sent.preamble_end_us, sent.ends_us):
                self._miss(sent, "missed")
            elif (why := self._air.why_inaudible(sent, self._ear)) is not None:
                self._miss(sent, why)
            else:
                found.append((hears_us + sent.detect_us, Happening.PREAMBLE, sent))
        return min(found, key=lambda happening: happening[0], default=None)

    def _miss(self, sent: Transmission, why: str) -> None:
        if sent.number not in self._missed:
            self._missed.add(sent.number)
            self._air.counters[why] += 1

    def _while_locked(self, locked: Transmission) -> list[tuple[int, Happening, Transmission]]:
        """Header and end of the packet; before the header its sender may fail, or a much stronger one take over."""
        if self._is_past_header:
            return [(locked.planned_end_us, Happening.DONE, locked)]
        if locked.ends_us < locked.header_at_us:
            upcoming = [(locked.ends_us, Happening.LOST, locked)]
        elif not self._packet.is_explicit:
            upcoming = [(locked.header_at_us, Happening.HEADER, locked)]
        else:
            is_read = locked.packet.is_explicit and self._is_intact(locked, locked.starts_us, locked.header_at_us)
            upcoming = [(locked.header_at_us, Happening.HEADER if is_read else Happening.HEADER_ERROR, locked)]
        louder = self._next_preamble(self._louder_than(locked), self._free_us)
        return upcoming + ([louder] if louder and louder[0] < upcoming[0][0] else [])

    def _louder_than(self, locked: Transmission) -> Iterable[Transmission]:
        beaten_dbm = signal_dbm(locked, self._ear) + CAPTURE_DB
        return (sent for sent in self._candidates() if signal_dbm(sent, self._ear) >= beaten_dbm)

    def _is_intact(self, sent: Transmission, from_us: int, to_us: int) -> bool:
        return self._air.is_intact(sent, self._ear, from_us, to_us)

    def _lock(self, sent: Transmission) -> None:
        if self._locked is not None:
            self._air.counters["collided"] += 1
        self._locked, self._is_past_header = sent, False

    def _release(self, at_us: int) -> None:
        self._locked, self._free_us = None, at_us

    def _demodulate(self, sent: Transmission) -> tuple[bytes, bool]:
        counters = self._air.counters
        if not self._is_intact(sent, sent.starts_us, sent.planned_end_us):
            counters["collided"] += 1
        elif not self._agrees(sent) or self._air.is_corrupted(sent, self._ear) or self._is_spoilt_by_iq_bit(sent):
            counters["corrupted"] += 1
        else:
            counters["delivered"] += 1
            return sent.packet.payload, False
        return self._fit(self._air.garble(sent, self._ear)), self._checks_crc(sent)

    def _agrees(self, sent: Transmission) -> bool:
        """What the header would have said must be known beforehand without one; optimisation must match always."""
        if sent.modulation.is_ldro != self._modulation.is_ldro:
            return False
        if self._packet.is_explicit:
            return True
        return (
            not sent.packet.is_explicit
            and sent.modulation.coding_rate == self._modulation.coding_rate
            and sent.packet.has_crc == self._packet.has_crc
            and len(sent.packet.payload) == self._packet.payload_len
        )

    def _is_spoilt_by_iq_bit(self, sent: Transmission) -> bool:
        return len(sent.packet.payload) > LONGEST_SAFE_LEN and (sent.has_wrong_iq_bit or self._has_wrong_iq_bit)

    def _checks_crc(self, sent: Transmission) -> bool:
        """With a header the sender says whether there is a CRC, without one the receiver must know."""
        return sent.packet.has_crc if self._packet.is_explicit else self._packet.has_crc

    def _fit(self, payload: bytes) -> bytes:
        if self._packet.is_explicit:
            return payload
        return payload[: self._packet.payload_len].ljust(self._packet.payload_len, b"\x00")
