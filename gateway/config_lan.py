"""[lan]: where the gateways of a site reach each other directly."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.config_table import option
from gateway.errors import ConfigError

_MOST_PEERS = 64
Place = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class LanConfig:
    """[lan]: gateways of the site that share the registry with no broker between them."""

    listen: str | None = option(
        "Where other gateways call us, host:port; they have to prove who they are. Readable by others on the network.",
        default=None,
        example="0.0.0.0:7117",
    )
    peers: tuple[str, ...] = option("Whom we call: host:port of each.", default=(), example=("10.0.0.12:7117",))

    def __post_init__(self) -> None:
        if self.listen is None and not self.peers:
            raise ConfigError("listen", None, "and peers are both missing; leave [lan] out, or give one of them")
        if len(self.peers) > _MOST_PEERS:
            raise ConfigError("peers", len(self.peers), f"are too many; at most {_MOST_PEERS} are called")
        _ = self.listen_place, self.peer_places  # each of them is checked

    @property
    def listen_place(self) -> Place | None:
        return None if self.listen is None else place_of("listen", self.listen, lowest=0)

    @property
    def peer_places(self) -> list[Place]:
        return [place_of(f"peers[{at}]", one) for at, one in enumerate(self.peers)]


def place_of(key: str, text: str, *, lowest: int = 1) -> Place:
    """Host and port. Raises ConfigError."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or port < lowest or parts.netloc != text or "@" in text or " " in text:
        raise ConfigError(key, text, "must be host:port, such as 10.0.0.12:7117")
    return host, port
