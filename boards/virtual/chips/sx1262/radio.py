"""The SX1262 behind its SPI port: modes, timers, interrupts, buffer. What has happened is worked out when asked.

The commands module calls the methods here once a command has arrived; chip asks for pins and status. The caller holds
the air's lock and has called settle().
"""

from collections import Counter
from collections.abc import Callable

from boards.virtual.air import Air
from boards.virtual.chips.sx1262 import errata, modes
from boards.virtual.chips.sx1262.front_end import CALIBRATE_ALL, Fitting, FrontEnd
from boards.virtual.chips.sx1262.modes import CommandStatus, DeviceError, Irq, Mode
from boards.virtual.chips.sx1262.receiver import Happening, Receiver, Reception, Window
from boards.virtual.chips.sx1262.registers import Registers
from boards.virtual.chips.sx1262.settings import Settings
from boards.virtual.chips.sx1262.timers import Timers
from boards.virtual.clock import Clock
from boards.virtual.hearing import Ear, Jam, Transmission
from boards.virtual.waveform import Packet

CONTINUOUS = 0xFFFFFF
_FOREVER_US = 1 << 62


class NotPossibleError(Exception):
    """The chip understood the command, but cannot do it now: status 5."""


class RadioCore:
    """State of one chip. Times are microseconds of the air's clock."""

    def __init__(self, air: Air, clock: Clock, name: str, position_m: tuple[float, float], fitting: Fitting) -> None:
        self._air, self._clock = air, clock
        self.name, self.position_m = name, position_m
        self.front_end = FrontEnd(fitting)
        self.counters: Counter[str] = Counter()
        self._receiver: Receiver | None = None
        self._sending: Transmission | None = None
        self._carrier: Jam | None = None
        self.timers = Timers()
        self._cad_ends_us: int | None = None
        self._is_continuous = False
        self._rx_pointer = 0
        self._slept_us = 0
        self._wakes_warm = False
        self.power_on()

    # --- power, reset, sleep -----------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Everything is forgotten; the chip is BUSY while it starts."""
        self._stop()
        self.settings, self.registers = Settings(), Registers()
        self.buffer = bytearray(256)
        self.timers = Timers()
        self.front_end.power_on()
        self.device_errors = 0 if self.front_end.fitting.tcxo_v is None else int(DeviceError.XOSC_START)
        self.irq = 0
        self.stats = [0, 0, 0]  # packets, CRC errors, header errors
        self.rx_status = (0, 0)  # length, start in the buffer
        self.packet_status = bytes(3)
        self.mode = Mode.STDBY_RC
        self.status = CommandStatus.IDLE
        self.busy_until_us = self.now_us + modes.COLD_START_US

    def sleep(self, *, is_warm: bool) -> None:
        if self.mode not in modes.STANDBY:
            raise NotPossibleError("SetSleep: only from standby")
        self._stop()
        self.timers = Timers()
        self.mode, self._wakes_warm, self._slept_us = Mode.SLEEP, is_warm, self.now_us
        self.irq = 0
        self.buffer = bytearray(256)  # data sheet 7.1: the buffer is lost in sleep

    def wake(self) -> None:
        """A falling edge of NSS."""
        if self.now_us - self._slept_us < modes.SLEEP_SETTLE_US:
            self.counters["early_wakes"] += 1
        if not self._wakes_warm:
            self.power_on()
            return
        self.registers.forget_volatile()
        self.mode, self.status = Mode.STDBY_RC, CommandStatus.IDLE
        self.busy_until_us = self.now_us + modes.WARM_START_US

    @property
    def now_us(self) -> int:
        return self._clock.now_us()

    @property
    def is_busy(self) -> bool:
        return self.mode is Mode.SLEEP or self.now_us < self.busy_until_us or self.is_dozing

    @property
    def is_dozing(self) -> bool:
        """Between two windows of an RX duty cycle."""
        return self._receiver is not None and self.mode is Mode.RX and not self._receiver.is_listening(self.now_us)

    # --- modes -------------------------------------------------------------------------------------------------------

    def standby(self, mode: Mode) -> None:
        if mode is Mode.STDBY_XOSC and not self._is_ready(synthesiser=False):
            return
        self._enter(mode)

    def synthesise(self) -> None:
        if self._is_ready(synthesiser=True):
            self._enter(Mode.FS)

    def transmit(self, timeout_steps: int) -> None:
        settings = self._lora("SetTx")
        assert settings.packet is not None
        if not self._is_ready(synthesiser=True):
            return
        self._enter(Mode.TX)
        waveform = settings.waveform(self.registers.sync_word())
        length, base = settings.packet.payload_len, settings.tx_base
        sending = self._air.begin(
            sender=self.name,
            position_m=self.position_m,
            power_dbm=self.front_end.radiated_dbm(settings, self.registers),
            modulation=waveform,
            packet=Packet(
                payload=bytes(self.buffer[(base + i) & 0xFF] for i in range(length)),
                preamble_symbols=settings.packet.preamble_symbols,
                is_explicit=settings.packet.is_explicit,
                has_crc=settings.packet.has_crc,
            ),
            starts_us=self.busy_until_us,
            modulation_loss_db=errata.modulation_loss_db(self.registers, waveform),
            has_wrong_iq_bit=errata.has_wrong_iq_bit(self.registers, waveform.is_inverted),
        )
        self.timers.start(self.busy_until_us, timeout_steps)
        if (cut_us := self.timers.ends_us()) is not None:  # the air must know at once: nobody may learn it too late
            sending.ends_us = min(sending.ends_us, max(cut_us, sending.starts_us))
        self._sending = sending

    def transmit_noise(self, *, is_preamble: bool) -> None:
        """SetTxContinuousWave and SetTxInfinitePreamble: to others both are noise until the chip leaves TX."""
        settings = self._lora("SetTxInfinitePreamble") if is_preamble else self.settings
        if not self._is_ready(synthesiser=True):
            return
        self._enter(Mode.TX)
        self._carrier = self._air.jam(
            settings.freq_hz or 0,
            duration_us=_FOREVER_US,
            bandwidth_hz=settings.waveform(0).bandwidth_hz if is_preamble else 1_000.0,
            power_dbm=self.front_end.radiated_dbm(settings, self.registers),
            position_m=self.position_m,
            delay_us=self.busy_until_us - self.now_us,
            sender=self.name,
        )

    def receive(self, timeout_steps: int) -> None:
        self._listen("SetRx", open_us=0, sleep_us=0)
        if self.mode is Mode.RX:
            self._is_continuous = timeout_steps == CONTINUOUS
            self.timers.start(self.busy_until_us, 0 if self._is_continuous else timeout_steps)

    def receive_in_windows(self, open_steps: int, sleep_steps: int) -> None:
        """SetRxDutyCycle: listens and dozes in turn until a packet is there."""
        self._listen("SetRxDutyCycle", open_us=modes.timer_us(open_steps), sleep_us=max(1, modes.timer_us(sleep_steps)))
        self.timers.stray.disarm()

    def detect_activity(self) -> None:
        settings = self._lora("SetCad")
        if not self._is_ready(synthesiser=True):
            return
        self._enter(Mode.CAD)
        symbol_us = settings.waveform(0).symbol_us
        self._cad_ends_us = self.busy_until_us + settings.cad.symbols * symbol_us + symbol_us // 2

    def calibrate(self, blocks: int) -> None:
        """Only in STDBY_RC. PLL and ADC need the 32 MHz clock, and so does the image."""
        if self.mode is not Mode.STDBY_RC:
            raise NotPossibleError("Calibrate: only in STDBY_RC")
        needs_oscillator = blocks & CALIBRATE_ALL & ~0x03
        self.busy_until_us = self.now_us + modes.CALIBRATION_US + self.settings.tcxo_delay_us * bool(needs_oscillator)
        if not needs_oscillator or self._is_ready(synthesiser=False):
            self.front_end.calibrate(blocks)

    def calibrate_image(self, low: int, high: int) -> None:
        if self.mode not in modes.STANDBY:
            raise NotPossibleError("CalibrateImage: only in standby")
        if self._is_ready(synthesiser=False):
            self.busy_until_us = max(self.busy_until_us, self.now_us) + modes.IMAGE_CALIBRATION_US
            self.front_end.calibrate_image(low, high)

    def rssi_dbm(self) -> float:
        if self.mode is not Mode.RX:
            raise NotPossibleError("GetRssiInst: only in RX")
        return self._air.rssi_dbm(self._ear(), self.settings.waveform(0))

    def raise_irq(self, *flags: Irq) -> None:
        """An interrupt that is not in IrqMask leaves no trace at all (data sheet 13.3.2)."""
        for flag in flags:
            self.irq |= flag & self.settings.irq_mask

    # --- what happens by itself --------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything happen that the clock says has happened, in order."""
        now_us = self.now_us
        while (event := self._next_event()) is not None and event[0] <= now_us:
            event[1](event[0])

    def _next_event(self) -> tuple[int, Callable[[int], None]] | None:
        events: list[tuple[int, Callable[[int], None]]] = []
        if self._sending is not None:
            events.append((self._sending.planned_end_us, self._sent))
        if self._cad_ends_us is not None:
            events.append((self._cad_ends_us, self._cad_done))
        if self._receiver is not None and (next_one := self._receiver.next_happening()) is not None:
            at_us, happening, sent = next_one
            events.append((at_us, lambda at_us: self._heard(at_us, happening, sent)))
        if (stray_us := self.timers.stray.fires_us) is not None:
            events.append((stray_us, self._strayed))
        if (cut_us := self.timers.ends_us()) is not None:
            events.append((cut_us, self._timed_out))
        return min(events, key=lambda event: event[0], default=None)

    def _sent(self, _at_us: int) -> None:
        self._sending = None
        self._enter(self.settings.fallback)
        self.status = CommandStatus.TX_DONE
        self.raise_irq(Irq.TX_DONE)

    def _cad_done(self, at_us: int) -> None:
        waveform = self.settings.waveform(self.registers.sync_word())
        since_us = at_us - self.settings.cad.symbols * waveform.symbol_us
        is_busy = self.settings.cad.det_peak == 0 or self._air.is_active(waveform, self._ear(), since_us, at_us)
        self._enter(Mode.STDBY_RC)
        self.raise_irq(Irq.CAD_DONE)
        if is_busy:
            self.raise_irq(Irq.CAD_DETECTED)
            if self.settings.cad.exits_to_rx:
                self._begin_listening(Window(since_us=at_us))
                self.timers.start(at_us, self.settings.cad.timeout_steps)

    def _heard(self, at_us: int, happening: Happening, sent: Transmission) -> None:
        assert self._receiver is not None
        assert self.settings.packet is not None
        self._receiver.accept(at_us, happening, sent)
        if happening is Happening.PREAMBLE:
            self.timers.preamble_found(stops=self.settings.stops_timer_on_preamble)
            self.raise_irq(Irq.PREAMBLE_DETECTED)
        elif happening is Happening.HEADER and self.settings.packet.is_explicit:
            self.timers.header_read()
            self.registers.note_header(coding_rate=sent.modulation.coding_rate, has_crc=sent.packet.has_crc)
            self.raise_irq(Irq.HEADER_VALID)
        elif happening is Happening.HEADER_ERROR:
            self.stats[2] += 1
            self._finish_reception(Irq.HEADER_ERR)
        elif happening is Happening.DONE:
            self._store(self._receiver.take(sent))

    def _store(self, packet: Reception) -> None:
        """A packet with a wrong CRC is in the buffer as well, and RxDone is raised for it (data sheet 13.3.2)."""
        length, start = len(packet.payload), self._rx_pointer
        for i, byte in enumerate(packet.payload):
            self.buffer[(start + i) & 0xFF] = byte
        self._rx_pointer = (start + length) & 0xFF
        self.rx_status = (length, start)
        self.packet_status = packet.status_bytes()
        self.stats[0] += 1
        self.stats[1] += packet.is_crc_wrong
        self.status = CommandStatus.DATA_AVAILABLE
        assert self.settings.packet is not None
        self.timers.packet_received(is_explicit=self.settings.packet.is_explicit)
        self._finish_reception(*((Irq.RX_DONE, Irq.CRC_ERR) if packet.is_crc_wrong else (Irq.RX_DONE,)))

    def _finish_reception(self, *flags: Irq) -> None:
        if not self._is_continuous:
            self._receiver = None
            self._enter(self.settings.fallback)
        self.raise_irq(*flags)

    def _timed_out(self, _at_us: int) -> None:
        self._enter(Mode.STDBY_RC)
        self.status = CommandStatus.TIMEOUT
        self.raise_irq(Irq.TIMEOUT)

    def _strayed(self, at_us: int) -> None:
        self.timers.stray.disarm()
        self.counters["stray_timeouts"] += 1
        if self.mode in modes.ACTIVE:
            self._timed_out(at_us)
        else:
            self.raise_irq(Irq.TIMEOUT)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _lora(self, command: str) -> Settings:
        """The settings, if they are complete. Frequency-shift keying is not modelled: it fails as if not set up."""
        if self.mode in (Mode.TX, Mode.CAD):
            raise NotPossibleError(f"{command}: busy in {self.mode.name}")
        if not self.settings.is_lora_ready():
            raise NotPossibleError(f"{command}: packet type, modulation or packet parameters are missing")
        return self.settings

    def _listen(self, command: str, *, open_us: int, sleep_us: int) -> None:
        self._lora(command)
        if not self._is_ready(synthesiser=True):
            return
        self._enter(Mode.RX)
        window = Window(since_us=self.busy_until_us, open_us=open_us, cycle_us=open_us + sleep_us)
        self._begin_listening(window)

    def _begin_listening(self, window: Window) -> None:
        assert self.settings.packet is not None
        waveform = self.settings.waveform(self.registers.sync_word())
        self.mode, self._rx_pointer, self._is_continuous = Mode.RX, self.settings.rx_base, False
        self._receiver = Receiver(
            self._air,
            self._ear(),
            waveform,
            self.settings.packet,
            window,
            has_wrong_iq_bit=errata.has_wrong_iq_bit(self.registers, waveform.is_inverted),
        )
        if not window.cycle_us:
            self.timers.start_symbols(window.since_us, self.settings.symbol_timeout, waveform.symbol_us)

    def _ear(self) -> Ear:
        return Ear(
            name=self.name,
            position_m=self.position_m,
            gain_db=self.front_end.receive_gain_db(self.settings),
            noise_figure_db=self.front_end.noise_figure_db(self.settings, self.registers),
        )

    def _enter(self, mode: Mode) -> None:
        """Leave what the chip is doing and switch; a mode that is reached by itself costs the host no time."""
        self._stop()
        if mode not in (Mode.STDBY_RC, self.mode):
            wait_us = modes.switch_us(self.mode, mode)
            if self.mode is Mode.STDBY_RC:
                wait_us += self.settings.tcxo_delay_us
            self.busy_until_us = max(self.busy_until_us, self.now_us) + wait_us
        self.mode = mode

    def _is_ready(self, *, synthesiser: bool) -> bool:
        error = self.front_end.fault(self.settings, synthesiser=synthesiser)
        if error is not None:
            self._fail(error)
        return error is None

    def _fail(self, error: DeviceError) -> None:
        """The mode cannot be entered: back to STDBY_RC, and the reason stays until ClearDeviceErrors."""
        self._enter(Mode.STDBY_RC)
        self.device_errors |= error
        self.status = CommandStatus.EXECUTION_FAILURE

    def _stop(self) -> None:
        """Fall silent and deaf."""
        if self._receiver is not None:
            self._receiver.abandon()
        if self._sending is not None:
            self._air.cut_short(self._sending)
        if self._carrier is not None:
            self._carrier.ends_us = self.now_us
        self._receiver = self._sending = self._carrier = None
        self._cad_ends_us = None
        self.timers.stop()
        self._is_continuous = False
