"""PMS5003 particulate matter over UART. Source: Plantower PMS5003 data manual V2.3, appendices I and II."""

from drivers import clock
from drivers.constant import const
from drivers.sensor.errors import SensorAbsent, SensorGarbled

BAUDRATE = 9600
_START = b"\x42\x4d"
_DATA_LEN = const(28)  # 13 words and the checksum
_FRAME_LEN = const(32)
_READ = b"\x42\x4d\xe2\x00\x00\x01\x71"
_PASSIVE = b"\x42\x4d\xe1\x00\x00\x01\x70"
_SLEEP = b"\x42\x4d\xe4\x00\x00\x01\x73"
_WAKE = b"\x42\x4d\xe4\x00\x01\x01\x74"
_TIMEOUT_MS = const(3_500)  # active mode: a frame every 0.2 to 0.8 s, or 2.3 s where the air is steady
_POLL_MS = const(20)
_MAX_STALE = const(1_024)  # a wire that never rests must not hold the node


class FrameParser:
    """Finds data frames in a stream of bytes. Keeps at most one frame; counts what it had to throw away."""

    def __init__(self):
        self.frames_garbled = 0
        self._frame = bytearray(_FRAME_LEN)
        self._len = 0

    def reset(self):
        """Forget a half-read frame."""
        self._len = 0

    def feed(self, byte):
        """Take one byte. Return (pm1, pm2_5, pm10) in ug/m3 when it completes a good frame, else None."""
        self._frame[self._len] = byte
        self._len += 1
        while self._len and not self._is_start():
            self._drop_to_next_start()
        if self._len < _FRAME_LEN:
            return None
        if sum(self._frame[:30]) & 0xFFFF != self._word(30):
            self.frames_garbled += 1
            self._drop_to_next_start()  # the frame's start may have been a data byte
            while self._len and not self._is_start():
                self._drop_to_next_start()
            return None
        self._len = 0
        return self._word(10), self._word(12), self._word(14)  # "under atmospheric environment": words 4 to 6

    def _is_start(self):
        """Whether what is held could be the beginning of a data frame (command answers, length 4, are not)."""
        head = (_START[0], _START[1], 0, _DATA_LEN)
        return all(self._frame[at] == head[at] for at in range(min(self._len, 4)))

    def _drop_to_next_start(self):
        at = 1
        while at < self._len and self._frame[at] != _START[0]:
            at += 1
        for to in range(self._len - at):
            self._frame[to] = self._frame[at + to]
        self._len -= at

    def _word(self, at):
        return self._frame[at] << 8 | self._frame[at + 1]


class PMS5003:
    """The sensor in its power-on (active) mode, or in passive mode where it answers only when asked."""

    def __init__(self, uart, *, passive=False, timeout_ms=_TIMEOUT_MS):
        """`uart` has any(), read(n) and write(bytes), as machine.UART does, at 9600 baud 8N1."""
        self._uart = uart
        self._parser = FrameParser()
        self._is_passive = passive
        self._timeout_ms = timeout_ms

    @property
    def frames_garbled(self):
        """Frames thrown away because their checksum was wrong."""
        return self._parser.frames_garbled

    async def measure(self):
        """Return (pm1, pm2_5, pm10) in ug/m3 under atmospheric environment, from a frame that began after this call.

        Raises SensorAbsent if the wire stays silent, SensorGarbled if no good frame came in time.
        """
        self._discard_waiting()
        if self._is_passive:
            self._uart.write(_PASSIVE)  # each time: the sensor may have been powered off and be active again
            self._uart.write(_READ)
        garbled_before, bytes_seen = self.frames_garbled, 0
        started = clock.ticks_ms()
        while clock.ticks_diff(clock.ticks_ms(), started) < self._timeout_ms:
            waiting = self._uart.any()
            if not waiting:
                await clock.sleep_ms(_POLL_MS)
                continue
            received = self._uart.read(min(waiting, _FRAME_LEN)) or b""
            bytes_seen += len(received)
            for byte in received:
                values = self._parser.feed(byte)
                if values is not None:
                    return values
        self._give_up(bytes_seen, self.frames_garbled - garbled_before)

    def wake(self):
        """Start the fan. Readings are good 30 s later: manual, note 4 of the circuit attentions."""
        self._uart.write(_WAKE)

    def sleep(self):
        """Stop fan and laser."""
        self._uart.write(_SLEEP)

    def _discard_waiting(self):
        """Frames that waited are older than this measurement."""
        self._parser.reset()
        for _ in range(_MAX_STALE // _FRAME_LEN):
            waiting = self._uart.any()
            if not waiting:
                return
            self._uart.read(min(waiting, _FRAME_LEN))

    def _give_up(self, bytes_seen, frames_garbled):
        if not bytes_seen:
            raise SensorAbsent(
                "no byte from the PMS5003 in %d ms; check 5 V, its TX on our RX, and that SET is not low"
                % self._timeout_ms
            )
        raise SensorGarbled(
            "%d bytes but no good PMS5003 frame in %d ms (%d with a wrong checksum); check baud rate and ground"
            % (bytes_seen, self._timeout_ms, frames_garbled)
        )
