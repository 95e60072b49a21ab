"""Where an MQTT peer is: host, port, and whether the way there is TLS. Written as mqtt://host:port or mqtts://host:port."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.errors import ConfigError

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One address, already checked."""

    host: str
    port: int
    is_tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.is_tls else 'mqtt'}://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether nothing outside this machine can be at the other end."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name may resolve to anything

    @property
    def is_plain_on_a_network(self) -> bool:
        """Whether others could read and change what passes."""
        return not self.is_tls and not self.is_loopback


def parse_endpoint(key: str, url: str) -> Endpoint:
    """Read `url`. Raises ConfigError under `key`; a password in the URL is refused and never shown."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(
            key, _without_password(url), "is not a URL; write mqtt://host:port or mqtts://host:port"
        ) from None
    if "@" in parts.netloc:
        raise ConfigError(key, _without_password(url), "must not hold a user name; use username and password_file")
    if parts.scheme not in _DEFAULT_PORTS:
        raise ConfigError(key, url, "must begin with mqtt:// or mqtts://")
    if not parts.hostname or any(char.isspace() for char in parts.netloc):
        raise ConfigError(key, url, "has no host; write mqtt://host:port or mqtts://host:port")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(key, url, "must end after the port")
    if port == 0:
        raise ConfigError(key, url, "must have a port from 1 to 65535")
    return Endpoint(host=parts.hostname, port=port or _DEFAULT_PORTS[parts.scheme], is_tls=parts.scheme == "mqtts")


def _without_password(url: str) -> str:
    scheme, found, rest = url.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}" if found and "@" in rest else url
