"""SPI, Pin, I2C, UART and ADC of a virtual board in another process, under the names of `machine`.

The chips live in the process that hosts the board; each call here is one question and one answer on a stream socket.
Both interpreters use it: the gateway for a virtual radio, the virtual board's own `machine` for everything.

    question   u16 length of payload | u8 operation | payload
    answer     u16 length of payload | u8 status    | payload       status 0: done; 1 to 254: errno; 255: payload is an
                                                                    i16 error code of ESP-IDF
The operations are listed with their payloads in boards/virtual/rpc.py. All integers big-endian.
"""

# AF_UNIX and const differ between the interpreters, and the stubs know one of them only.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false

import os
import struct

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


_BOARD = const(0x02)
_PIN_INIT = const(0x30)
_PIN_GET = const(0x31)
_PIN_SET = const(0x32)
_ADC_READ_UV = const(0x33)
_SPI_INIT = const(0x38)
_SPI_TRANSFER = const(0x39)
_I2C_INIT = const(0x40)
_I2C_WRITE = const(0x41)
_I2C_READ = const(0x42)
_UART_INIT = const(0x48)
_UART_WRITE = const(0x49)
_UART_READ = const(0x4A)
_UART_ANY = const(0x4B)
_RESYNC = const(0x7F)

_IDF_ERROR = const(255)
_LARGEST = const(4096)  # bytes in one transfer


class Link:
    """Asks one question at a time. An interrupt in the middle of an answer costs that answer and nothing else."""

    def __init__(self, stream):
        """`stream` has write(bytes), which writes all, and readinto(buf), which fills all of buf."""
        self._stream = stream
        self._head = bytearray(3)
        self._is_waiting = False

    def ask(self, operation, payload=b""):
        """Return the payload of the answer. Raises OSError."""
        answer = bytearray(self._send(struct.pack(">HB", len(payload), operation) + payload))
        self._receive(answer)
        return answer

    def exchange(self, question, answer, more=None):
        """Send a whole `question`, and `more` of its payload; fill `answer`, which must have the right length.

        Allocates nothing: a file system may ask while the garbage collector closes its files. Raises OSError.
        """
        length = self._send(question, more)
        if length != len(answer):
            raise OSError(5, "the board answered %d bytes, expected %d" % (length, len(answer)))
        self._receive(answer)

    def _send(self, question, more=None):
        """Send, and take the head of the answer; how many bytes follow."""
        if self._is_waiting:
            self._resync()
        self._is_waiting = True  # stays so if Ctrl-C comes before the whole answer is here
        self._stream.write(question)
        if more is not None:
            self._stream.write(more)
        head = self._head
        self._fill(head)
        length = head[0] << 8 | head[1]
        if head[2]:
            detail = bytearray(length)
            self._receive(detail)
            raise OSError(struct.unpack(">h", detail)[0] if head[2] == _IDF_ERROR else head[2])
        return length

    def _receive(self, buf):
        if len(buf):
            self._fill(buf)
        self._is_waiting = False

    def _fill(self, buf):
        if self._stream.readinto(buf) != len(buf):
            raise OSError(104, "the virtual board is gone; is its host still running?")

    def _resync(self):
        """Read past whatever the interrupted question left, up to a token that was not sent before."""
        token = os.urandom(8)
        self._stream.write(struct.pack(">HB", len(token), _RESYNC) + token)
        window, byte = b"", bytearray(1)
        while window != token:
            self._fill(byte)
            window = (window + byte)[-8:]
        self._is_waiting = False


_NOWHERE = Link(None)  # until a board gives its own


class Pin:
    """One GPIO. `link` is set on the class: a board's pins are a class of their own."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2
    WAKE_LOW = 4
    WAKE_HIGH = 5
    link = _NOWHERE

    def __init__(self, number, mode=-1, pull=-1, *, value=None, drive=None, hold=None):
        """Modes and pulls are those of the ESP32; -1 or None leaves what was."""
        self.number = number
        self._get = bytes([0, 1, _PIN_GET, number])
        self._low = bytes([0, 2, _PIN_SET, number, 0])
        self._high = bytes([0, 2, _PIN_SET, number, 1])
        self._level = bytearray(1)
        self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None, drive=None, hold=None):
        """Configure the pin anew."""
        modes = bytes([self.number, 0 if mode in (-1, None) else mode, 0 if pull in (-1, None) else pull])
        self.link.ask(_PIN_INIT, modes + (b"" if value is None else bytes([1 if value else 0])))

    def value(self, level=None):
        """The level, or set it."""
        if level is not None:
            self.link.exchange(self._high if level else self._low, b"")
            return None
        self.link.exchange(self._get, self._level)
        return self._level[0]

    __call__ = value

    def on(self):
        """Drive high."""
        self.value(1)

    def off(self):
        """Drive low."""
        self.value(0)

    def irq(self, handler=None, trigger=0):
        """Not modelled: raises OSError (ENOTSUP). Poll the level, which also survives a missed edge."""
        raise OSError(95, "the virtual board has no pin interrupts; poll the pin's value")


class SPI:
    """One SPI bus; a chip answers while its NSS pin is low."""

    MSB = 0
    link = _NOWHERE

    def __init__(self, number, baudrate=1_000_000, *, sck=None, mosi=None, miso=None, **_unused):
        """Pins are Pin objects; None means where the board has this bus. Chips answer on the right pins only."""
        self.number = number
        self._id = bytes([number])
        self.init(baudrate, sck=sck, mosi=mosi, miso=miso)

    def init(self, baudrate=1_000_000, *, sck=None, mosi=None, miso=None, **_unused):
        """Choose the pins anew."""
        self.link.ask(_SPI_INIT, self._id + bytes([_number(sck), _number(mosi), _number(miso)]))

    def write_readinto(self, out, back):
        """Full duplex; both buffers of one length, at most 4096 bytes."""
        self.link.exchange(struct.pack(">HB", 1 + len(out), _SPI_TRANSFER) + self._id + out, back)

    def write(self, out):
        """Send, and forget what came back."""
        self.link.ask(_SPI_TRANSFER, self._id + bytes(out))

    def readinto(self, back, write=0):
        """Send `write` over and over and keep what comes back."""
        self.write_readinto(bytes([write]) * len(back), back)

    def read(self, length, write=0):
        """As readinto, in a new buffer."""
        back = bytearray(length)
        self.readinto(back, write)
        return bytes(back)

    def deinit(self):
        """Nothing to give back."""


class I2C:
    """One I2C bus. An address that does not answer raises OSError with ENODEV, as on the ESP32."""

    link = _NOWHERE

    def __init__(self, number, *, scl=None, sda=None, freq=400_000, timeout=50_000):
        """Pins are Pin objects; None means where the board has this bus."""
        self._id = bytes([number])
        self.link.ask(_I2C_INIT, self._id + bytes([_number(sda), _number(scl)]))

    def writeto(self, addr, buf, stop=True):
        """Write; the number of bytes acknowledged."""
        self.link.ask(_I2C_WRITE, self._id + bytes([addr]) + bytes(buf))
        return len(buf)

    def readfrom_into(self, addr, buf, stop=True):
        """Fill `buf`."""
        self.link.exchange(struct.pack(">HB", 4, _I2C_READ) + self._id + struct.pack(">BH", addr, len(buf)), buf)

    def readfrom(self, addr, length, stop=True):
        """As readfrom_into, in a new buffer."""
        buf = bytearray(length)
        self.readfrom_into(addr, buf)
        return bytes(buf)

    def writeto_mem(self, addr, register, buf, *, addrsize=8):
        """Write from a register on."""
        self.writeto(addr, bytes([register]) + bytes(buf))

    def readfrom_mem_into(self, addr, register, buf, *, addrsize=8):
        """Fill `buf` from a register on."""
        self.writeto(addr, bytes([register]))
        self.readfrom_into(addr, buf)

    def readfrom_mem(self, addr, register, length, *, addrsize=8):
        """As readfrom_mem_into, in a new buffer."""
        buf = bytearray(length)
        self.readfrom_mem_into(addr, register, buf)
        return bytes(buf)

    def scan(self):
        """Addresses that answer, from 0x08 to 0x77."""
        return [addr for addr in range(0x08, 0x78) if self._answers(addr)]

    def _answers(self, addr):
        try:
            self.writeto(addr, b"")
        except OSError:
            return False
        return True


class UART:
    """One serial port; never waits."""

    link = _NOWHERE

    def __init__(self, number, baudrate=115_200, *, tx=None, rx=None, **_unused):
        """Pins are Pin objects or numbers; None means where the board has this port."""
        self._id = bytes([number])
        self._question = bytes([0, 1, _UART_ANY, number])
        self._count = bytearray(2)
        self.init(baudrate, tx=tx, rx=rx)

    def init(self, baudrate=115_200, *, tx=None, rx=None, **_unused):
        """Choose pins and speed anew. At another speed than the chip's, nothing is heard."""
        self.link.ask(_UART_INIT, self._id + bytes([_number(tx), _number(rx)]) + struct.pack(">I", baudrate))

    def any(self):
        """Bytes waiting."""
        self.link.exchange(self._question, self._count)
        return self._count[0] << 8 | self._count[1]

    def read(self, length=_LARGEST):
        """What waits, at most `length` bytes; None if nothing does."""
        return bytes(self.link.ask(_UART_READ, self._id + struct.pack(">H", length))) or None

    def readinto(self, buf, length=None):
        """As read, into `buf`; how many bytes, or None."""
        taken = self.read(len(buf) if length is None else length)
        if taken is None:
            return None
        buf[: len(taken)] = taken
        return len(taken)

    def write(self, buf):
        """Send all."""
        self.link.ask(_UART_WRITE, self._id + bytes(buf))
        return len(buf)

    def deinit(self):
        """Nothing to give back."""


class ADC:
    """One analogue input."""

    ATTN_0DB = 0
    ATTN_2_5DB = 1
    ATTN_6DB = 2
    ATTN_11DB = 3
    link = _NOWHERE

    def __init__(self, pin, *, atten=ATTN_11DB):
        """`pin` is a Pin object or a number."""
        self._get = bytes([_number(pin)])

    def read_uv(self):
        """Microvolts at the pin."""
        return struct.unpack(">i", self.link.ask(_ADC_READ_UV, self._get))[0]

    def read_u16(self):
        """Of full scale, 3.3 V."""
        return max(0, min(65_535, self.read_uv() * 65_535 // 3_300_000))


def _number(pin):
    """GPIO number of a Pin object or number; 255 for None."""
    if pin is None:
        return 255
    return getattr(pin, "number", pin)


class RemoteBoard:
    """A virtual board seen from another process, e.g. the gateway: its classes Pin, SPI, I2C, UART and ADC."""

    def __init__(self, path):
        """`path` is the board's Unix socket. Raises OSError, naming it, if nothing listens there."""
        import socket

        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise OSError(
                error.errno, "no virtual board answers at %s (%s); start it first" % (path, error.strerror)
            ) from error
        self.link = Link(_SocketStream(self._socket))
        self.Pin = type("Pin", (Pin,), {"link": self.link})
        self.SPI = type("SPI", (SPI,), {"link": self.link})
        self.I2C = type("I2C", (I2C,), {"link": self.link})
        self.UART = type("UART", (UART,), {"link": self.link})
        self.ADC = type("ADC", (ADC,), {"link": self.link})

    def board(self):
        """The board's pins and chips, as in its /board.json."""
        import json

        return json.loads(self.link.ask(_BOARD))  # pyright: ignore[reportArgumentType]

    def close(self):
        """End the connection; the chips stay as they are."""
        self._socket.close()


class _SocketStream:
    """A socket of CPython with the two methods Link needs."""

    def __init__(self, connection):
        self.write = connection.sendall
        self._file = connection.makefile("rb")

    def readinto(self, buf):
        return self._file.readinto(buf)
