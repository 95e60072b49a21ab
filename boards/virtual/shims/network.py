"""network.WLAN as a station; the access point and its faults are the host's."""

import struct

from _host import LINK, UNIQUE_ID
from micropython import const

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_BEACON_TIMEOUT = 200
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202

_ACTIVE = const(0x50)
_CONNECT = const(0x51)
_DISCONNECT = const(0x52)
_STATUS = const(0x53)
_ROUTE = const(0x54)
_FAILED = const(-202)  # EAI_FAIL of lwIP
_NETWORK_UNREACHABLE = const(101)


def route(host, port):
    """For socket: the port on 127.0.0.1 that leads there. Raises OSError."""
    try:
        answer = LINK.ask(_ROUTE, struct.pack(">H", port) + host.encode())
    except OSError as error:
        raise OSError(_FAILED) if error.errno == _NETWORK_UNREACHABLE else error
    return answer[0] << 8 | answer[1]


def hostname(name=None):
    return "esp32"


class WLAN:
    IF_STA = STA_IF
    IF_AP = AP_IF

    def __init__(self, interface=STA_IF):
        if interface != STA_IF:
            raise OSError(95, "the virtual board's Wi-Fi is a station only")

    def active(self, is_active=None):
        if is_active is None:
            return bool(LINK.ask(_ACTIVE)[0])
        LINK.ask(_ACTIVE, bytes([1 if is_active else 0]))

    def connect(self, ssid=None, key="", *, bssid=None):
        if not self.active():
            raise OSError("Wifi Not Started")
        name = ssid.encode() if isinstance(ssid, str) else bytes(ssid)
        LINK.ask(_CONNECT, bytes([len(name)]) + name + (key or "").encode())

    def disconnect(self):
        LINK.ask(_DISCONNECT)

    def isconnected(self):
        return self._state()[0] == STAT_GOT_IP

    def status(self, parameter=None):
        return self._state()[1 if parameter == "rssi" else 0]

    def config(self, *names, **settings):
        """Of what can be asked: "mac". Settings (pm, reconnects, txpower, hostname) are taken and change nothing."""
        if names == ("mac",):
            return UNIQUE_ID
        if names:
            raise ValueError("unknown config param")

    def ifconfig(self):
        return ("192.168.4.2" if self.isconnected() else "0.0.0.0", "255.255.255.0", "192.168.4.1", "192.168.4.1")

    def ipconfig(self, name):
        return {"addr4": self.ifconfig()[:2], "gw4": "192.168.4.1"}[name]

    def _state(self):
        return struct.unpack(">Hb", LINK.ask(_STATUS))
