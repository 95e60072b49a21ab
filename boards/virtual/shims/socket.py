"""socket, with every name resolved to a way that the board's Wi-Fi can close."""

import network
import usocket
from micropython import const
from usocket import *

_WIFI_ROUTE = const(0x54)
_ANY = ("0.0.0.0", "")


def getaddrinfo(host, port, *hints):
    """The address of a relay in the host process that leads there. OSError -202 without Wi-Fi, as on the ESP32."""
    if host in _ANY:
        return usocket.getaddrinfo(host, port, *hints)
    return usocket.getaddrinfo("127.0.0.1", network.route(host, port), *hints)
