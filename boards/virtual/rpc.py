"""What a board asks its host: the operations, their payloads, and the server's end of the stream.

Framing is in drivers/bus/remote.py. All integers big-endian; `pin` is a GPIO number, 255 where none is given.

    operation         question                        answer
    HELLO             -                               u8 reset cause, u8 wake reason, u8 flags, f64 speed,
                                                      i64 RTC in us since 2000, u32 ticks at start in ms, 6 B unique id,
                                                      u32 bytes of the file system's partition
    BOARD             -                               JSON as in /board.json
    READY             -                               -      shims are in place: keys may be passed on
    RESET             -                               none: the interpreter is ended
    SOFT_RESET        -                               none
    DEEP_SLEEP        u64 us (all ones: no timer)     none
    WDT_START         u32 ms                          -
    WDT_FEED          -                               -
    RTC_GET           -                               i64 us since 2000
    RTC_SET           i64 us since 2000               -
    RTC_MEMORY_GET    -                               0 to 2048 B
    RTC_MEMORY_SET    0 to 2048 B                     -
    WAKE_ON_PIN       u8 pin (255: none), u8 level    -      EINVAL: no RTC pin
    FLASH_READ        u32 address, u16 length         bytes
    FLASH_PROGRAM     u32 address, bytes              -
    FLASH_ERASE       u32 address of a 4096 B block   -
    NVS_GET           u8 kind, u8 len, namespace, key bytes
    NVS_SET           u8 kind, u8 len, namespace, u8 len, key, bytes   -
    NVS_ERASE         u8 len, namespace, key          -
    NVS_COMMIT        -                               -
    NVS_PAGE_USED     u8 page                         u8
    NVS_PAGE_ERASE    u8 page                         -
    PIN_INIT          pin, u8 mode, u8 pull [, level] -
    PIN_GET           pin                             u8 level
    PIN_SET           pin, u8 level                   -
    ADC_READ_UV       pin                             i32
    SPI_INIT          u8 bus, pins sck, mosi, miso    -
    SPI_TRANSFER      u8 bus, bytes                   as many bytes
    I2C_INIT          u8 bus, pins sda, scl           -
    I2C_WRITE         u8 bus, u8 addr, bytes          -
    I2C_READ          u8 bus, u8 addr, u16 length     bytes
    UART_INIT         u8 port, pins tx, rx, u32 baud  -
    UART_WRITE        u8 port, bytes                  -
    UART_READ         u8 port, u16 length             bytes
    UART_ANY          u8 port                         u16
    WIFI_ACTIVE       [u8]                            u8, the state before
    WIFI_CONNECT      u8 len, ssid, password          -
    WIFI_DISCONNECT   -                               -
    WIFI_STATUS       -                               u16 status as in network.STAT_*, i8 RSSI in dBm
    WIFI_ROUTE        u16 port, host                  u16 port on 127.0.0.1 that leads there
    RESYNC            8 B                             the same
"""

import errno
import socket
import struct
from collections.abc import Callable, Mapping

HELLO = 0x01
BOARD = 0x02
READY = 0x03
RESET = 0x04
SOFT_RESET = 0x05
DEEP_SLEEP = 0x06
WDT_START = 0x07
WDT_FEED = 0x08
RTC_GET = 0x09
RTC_SET = 0x0A
RTC_MEMORY_GET = 0x0B
RTC_MEMORY_SET = 0x0C
WAKE_ON_PIN = 0x0D
FLASH_READ = 0x10
FLASH_PROGRAM = 0x11
FLASH_ERASE = 0x12
NVS_GET = 0x20
NVS_SET = 0x21
NVS_ERASE = 0x22
NVS_COMMIT = 0x23
NVS_PAGE_USED = 0x24
NVS_PAGE_ERASE = 0x25
PIN_INIT = 0x30
PIN_GET = 0x31
PIN_SET = 0x32
ADC_READ_UV = 0x33
SPI_INIT = 0x38
SPI_TRANSFER = 0x39
I2C_INIT = 0x40
I2C_WRITE = 0x41
I2C_READ = 0x42
UART_INIT = 0x48
UART_WRITE = 0x49
UART_READ = 0x4A
UART_ANY = 0x4B
WIFI_ACTIVE = 0x50
WIFI_CONNECT = 0x51
WIFI_DISCONNECT = 0x52
WIFI_STATUS = 0x53
WIFI_ROUTE = 0x54
RESYNC = 0x7F

_IDF_ERROR = 255
_HEAD_LEN = 3

Handler = Callable[[bytes], bytes | None]
"""Takes the payload of a question, returns that of the answer; None: it is empty."""


class AskerGone(Exception):
    """The question ended the interpreter that asked it: there is nobody to answer."""


def counted(data: bytes) -> tuple[str, bytes]:
    """A text behind its length in one byte, and the rest."""
    end = 1 + data[0]
    return data[1:end].decode(), data[end:]


class IdfError(Exception):
    """The board gets an OSError with this code of ESP-IDF (negative)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"ESP-IDF error -0x{-code:x}")
        self.code = code


class Server:
    """The host's end of one stream: splits it into questions and answers each by its handler."""

    def __init__(self, connection: socket.socket, handlers: Mapping[int, Handler]) -> None:
        self.connection = connection
        self._handlers = handlers
        self._received = b""

    def serve(self) -> bool:
        """Answer what has arrived. False when the other end is gone or has become unintelligible."""
        try:
            data = self.connection.recv(65536)
        except (ConnectionError, BlockingIOError) as error:
            return isinstance(error, BlockingIOError)
        if not data:
            return False
        self._received += data
        while len(self._received) >= _HEAD_LEN:
            length, operation = struct.unpack_from(">HB", self._received)
            end = _HEAD_LEN + length
            if len(self._received) < end:
                break
            payload, self._received = self._received[_HEAD_LEN:end], self._received[end:]
            if not self._answer(operation, payload):
                return False
        return True

    def _answer(self, operation: int, payload: bytes) -> bool:
        status = 0
        try:
            answer = payload if operation == RESYNC else self._handler(operation)(payload) or b""
        except AskerGone:
            return True
        except OSError as error:
            status, answer = error.errno or errno.EIO, b""
        except IdfError as error:
            status, answer = _IDF_ERROR, struct.pack(">h", error.code)
        try:
            self.connection.sendall(struct.pack(">HB", len(answer), status) + answer)
        except ConnectionError:
            return False
        return True

    def _handler(self, operation: int) -> Handler:
        if operation not in self._handlers:
            raise OSError(errno.ENOTSUP, f"this board has no operation 0x{operation:02x}")
        return self._handlers[operation]
