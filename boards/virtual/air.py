"""The air between all radios of a street: who sends what and when, what chance and tests do to it, what was sent.

Lazy: nothing happens between calls. A chip settles its own past whenever it is touched, and before anything new goes
on the air everybody settles, so that old transmissions can be forgotten. Time is read under `lock`, which every chip
holds while it works; so the order of calls is the order of time.
"""

import threading
from collections import Counter, deque
from random import Random
from typing import Protocol

from boards.virtual import hearing
from boards.virtual.clock import Clock
from boards.virtual.hearing import Ear, Jam, Transmission
from boards.virtual.propagation import noise_dbm, sum_dbm
from boards.virtual.waveform import Modulation, Packet


class Radio(Protocol):
    name: str

    def settle(self) -> None:
        """Work out everything that must have happened by now."""
        ...


class Air:
    def __init__(
        self, clock: Clock, seed: int = 0, *, loss: float = 0.0, corruption: float = 0.0, record_limit: int = 1_000
    ) -> None:
        """loss, corruption  share of packets (0 to 1) that a receiver misses, or gets with a wrong payload
        record_limit      how many of the newest transmissions `sent` keeps
        counters          sent, delivered, lost, corrupted, collided, too_weak, missed: per packet and tuned reception
        """
        self.lock = threading.RLock()
        self.clock = clock
        self.loss, self.corruption = loss, corruption
        self.counters: Counter[str] = Counter()
        self.sent: deque[Transmission] = deque(maxlen=record_limit)
        self._seed = seed
        self._radios: list[Radio] = []
        self._transmissions: list[Transmission] = []
        self._jams: list[Jam] = []
        self._orders: list[_Order] = []

    # --- for chips -------------------------------------------------------------------------------------------------

    def join(self, radio: Radio) -> None:
        with self.lock:
            self._radios.append(radio)

    def begin(
        self,
        *,
        sender: str,
        position_m: tuple[float, float],
        power_dbm: float,
        modulation: Modulation,
        packet: Packet,
        starts_us: int,
        modulation_loss_db: float = 0.0,
        has_wrong_iq_bit: bool = False,
    ) -> Transmission:
        """Put a packet on the air, now or a little later. Never in the past: others may have settled that already."""
        with self.lock:
            self._forget()
            starts_us = max(starts_us, self.clock.now_us())
            self.counters["sent"] += 1
            sent = Transmission(
                number=self.counters["sent"],
                sender=sender,
                position_m=position_m,
                power_dbm=power_dbm,
                modulation=modulation,
                packet=packet,
                starts_us=starts_us,
                modulation_loss_db=modulation_loss_db,
                has_wrong_iq_bit=has_wrong_iq_bit,
            )
            self._obey_orders(sent)
            self._transmissions.append(sent)
            self.sent.append(sent)
            return sent

    def cut_short(self, sent: Transmission) -> None:
        """The sender fell silent in the middle of a packet."""
        with self.lock:
            sent.ends_us = max(sent.starts_us, min(sent.ends_us, self.clock.now_us()))

    def tuned(self, listener: Modulation, from_us: int) -> list[Transmission]:
        """What a radio with these settings could hear any part of, from a moment on."""
        return [t for t in self._transmissions if t.ends_us > from_us and hearing.is_tuned(listener, t.modulation)]

    def is_audible(self, sent: Transmission, ear: Ear) -> bool:
        """Whether the preamble reaches this receiver at all."""
        return self.why_inaudible(sent, ear) is None

    def why_inaudible(self, sent: Transmission, ear: Ear) -> str | None:
        """The counter that a packet which never arrives belongs to."""
        if sent.is_lost or self._chance("loss", sent, ear) < self.loss:
            return "lost"
        loud = hearing.is_loud(sent, ear, self._jams, sent.starts_us, sent.preamble_end_us)
        return None if loud else "too_weak"

    def is_intact(self, sent: Transmission, ear: Ear, from_us: int, to_us: int) -> bool:
        """Whether this part of a packet arrives unharmed by other packets and jammers, and in full."""
        return (
            sent.ends_us >= to_us
            and hearing.survives(sent, ear, self._transmissions, from_us, to_us)
            and hearing.is_loud(sent, ear, self._jams, from_us, to_us)
        )

    def is_corrupted(self, sent: Transmission, ear: Ear) -> bool:
        """Whether chance or a test wants the payload wrong."""
        return sent.is_corrupt or self._chance("corruption", sent, ear) < self.corruption

    def garble(self, sent: Transmission, ear: Ear) -> bytes:
        """The payload as a receiver gets it whose CRC does not match: always different, always of the same length."""
        chance = Random(f"{self._seed}/garble/{sent.number}/{ear.name}")
        payload = bytearray(sent.packet.payload)
        for _ in range(1 + len(payload) // 8):
            if payload:
                payload[chance.randrange(len(payload))] ^= chance.randrange(1, 256)
        return bytes(payload)

    def is_active(self, listener: Modulation, ear: Ear, from_us: int, to_us: int) -> bool:
        """Whether a packet with these settings, whatever its sync word or polarity, is to be heard in that time."""
        return any(
            hearing.meets(t, from_us, to_us)
            and hearing.is_same_channel(listener, t.modulation)
            and self.is_audible(t, ear)
            for t in self._transmissions
        )

    def mean_rssi_dbm(self, sent: Transmission, ear: Ear) -> float:
        """Signal and noise together, as a receiver averages them over a packet."""
        noise = noise_dbm(sent.modulation.bandwidth_hz, ear.noise_figure_db)
        return sum_dbm(noise, hearing.signal_dbm(sent, ear))

    def rssi_dbm(self, ear: Ear, modulation: Modulation) -> float:
        """What a receiver measures on its channel at this moment."""
        now_us = self.clock.now_us()
        levels = [noise_dbm(modulation.bandwidth_hz, ear.noise_figure_db)]
        levels += [hearing.signal_dbm(s, ear) for s in self._heard_at(now_us, modulation)]
        return sum_dbm(*levels)

    def snr_db(self, sent: Transmission, ear: Ear) -> float:
        return hearing.snr_db(sent, ear, self._jams, sent.starts_us, sent.planned_end_us)

    # --- for tests -------------------------------------------------------------------------------------------------

    def inject(
        self,
        payload: bytes,
        *,
        modulation: Modulation,
        position_m: tuple[float, float] = (0.0, 0.0),
        power_dbm: float = 14.0,
        preamble_symbols: int = 8,
        is_explicit: bool = True,
        has_crc: bool = True,
        delay_us: int = 0,
    ) -> Transmission:
        """Send any bytes from a radio that does not exist."""
        packet = Packet(payload=payload, preamble_symbols=preamble_symbols, is_explicit=is_explicit, has_crc=has_crc)
        with self.lock:
            return self.begin(
                sender="injected",
                position_m=position_m,
                power_dbm=power_dbm,
                modulation=modulation,
                packet=packet,
                starts_us=self.clock.now_us() + delay_us,
            )

    def replay(self, recorded: Transmission, *, delay_us: int = 0) -> Transmission:
        """Send a recorded packet once more, from the same place and as loud: an attacker beside the node."""
        with self.lock:
            return self.begin(
                sender="replayed",
                position_m=recorded.position_m,
                power_dbm=recorded.power_dbm,
                modulation=recorded.modulation,
                packet=recorded.packet,
                starts_us=self.clock.now_us() + delay_us,
            )

    def jam(
        self,
        freq_hz: int,
        *,
        duration_us: int,
        bandwidth_hz: float = 500_000.0,
        power_dbm: float = 27.0,
        position_m: tuple[float, float] = (0.0, 0.0),
        delay_us: int = 0,
        sender: str = "jammer",
    ) -> Jam:
        """Fill a band with noise; set `ends_us` of the result to stop earlier."""
        with self.lock:
            self._forget()
            starts_us = self.clock.now_us() + delay_us
            noise = Jam(
                sender=sender,
                freq_hz=freq_hz,
                bandwidth_hz=bandwidth_hz,
                power_dbm=power_dbm,
                position_m=position_m,
                starts_us=starts_us,
                ends_us=starts_us + duration_us,
            )
            self._jams.append(noise)
            return noise

    def lose_next(self, count: int = 1, *, sender: str | None = None) -> None:
        """Nobody hears the next `count` packets (of one sender)."""
        with self.lock:
            self._orders.append(_Order("lose", count, sender))

    def corrupt_next(self, count: int = 1, *, sender: str | None = None) -> None:
        """Everybody gets the next `count` packets (of one sender) with a wrong payload, that is, a CRC error."""
        with self.lock:
            self._orders.append(_Order("corrupt", count, sender))

    # --- inside ----------------------------------------------------------------------------------------------------

    def _obey_orders(self, sent: Transmission) -> None:
        for order in self._orders:
            if order.left and order.sender in (None, sent.sender):
                order.left -= 1
                sent.is_lost |= order.effect == "lose"
                sent.is_corrupt |= order.effect == "corrupt"
        self._orders = [order for order in self._orders if order.left]

    def _forget(self) -> None:
        """Drop what can no longer matter: everybody is settled, and nothing still under way overlaps it."""
        for radio in self._radios:
            radio.settle()
        now_us = self.clock.now_us()
        needed_us = min((t.starts_us for t in self._transmissions if t.planned_end_us >= now_us), default=now_us)
        self._transmissions = [t for t in self._transmissions if t.planned_end_us >= needed_us]
        self._jams = [jam for jam in self._jams if jam.ends_us >= needed_us]

    def _chance(self, kind: str, sent: Transmission, ear: Ear) -> float:
        return Random(f"{self._seed}/{kind}/{sent.number}/{ear.name}").random()

    def _heard_at(self, now_us: int, modulation: Modulation) -> list[Transmission | Jam]:
        at = (now_us, now_us + 1)
        width_hz = modulation.bandwidth_hz
        packets = [
            t for t in self._transmissions if hearing.meets(t, *at) and hearing.overlaps(t.modulation, modulation)
        ]
        return packets + [
            jam
            for jam in self._jams
            if hearing.meets(jam, *at)
            and hearing.shares_band(jam.freq_hz, jam.bandwidth_hz, modulation.freq_hz, width_hz)
        ]


class _Order:
    """What a test wants done to the next packets."""

    def __init__(self, effect: str, left: int, sender: str | None) -> None:
        self.effect, self.left, self.sender = effect, left, sender
