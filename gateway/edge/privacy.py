"""The privacy policy: what is done to a reading before anything is stored or logged.

drop     the reading is gone; only a counter moves
coarsen  a number becomes the nearest multiple of `step`; what is no number is dropped
hash     32 hex digits of HMAC-SHA256 (RFC 2104) over quantity and value with this gateway's own key
local    used by rules, and by windows that name the quantity without a wildcard; the reading itself is never forwarded

Applied once, in Core (node frames, own sensors) and Devices (third parties, before they get a record id): nothing
behind them sees what it took away.
"""

from __future__ import annotations

import hmac
import json
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from gateway.config_edge import PrivacyConfig
from gateway.database import write_durably
from gateway.edge.groups import Groups
from gateway.errors import GatewayError
from gateway.reading import Reading, Report, Value

KEY_FILE = "privacy.key"
_KEY_LEN = 32
_KEPT = PrivacyConfig(quantities=("*",), action="local")  # stands for "no policy"; compared by identity
_CACHED = 10_000


class PrivacyError(GatewayError):
    """The key cannot be used."""


class Privacy:
    """All [[edge.privacy]]; the first that covers a quantity holds."""

    def __init__(
        self, policies: Sequence[PrivacyConfig], groups: Groups, *, key: bytes, count: Callable[[str], None]
    ) -> None:
        self._policies = tuple(policies)
        self._groups = groups
        self._key = key
        self._count = count
        self._found: dict[tuple[str, str], PrivacyConfig] = {}
        self.has_local = any(one.action == "local" for one in policies)

    def apply(self, report: Report) -> Report:
        """The report as it may be stored; it may have lost all of its readings."""
        if not self._policies:
            return report
        readings = tuple(self.readings(report.node, report.readings))
        return report if readings == report.readings else replace(report, readings=readings)

    def readings(self, node: str, readings: Sequence[Reading]) -> list[Reading]:
        """The readings as they may be stored."""
        kept = (self._applied(self._policy(node, one.quantity), one) for one in readings)
        return [one for one in kept if one is not None]

    def leaves(self, node: str, quantity: str) -> bool:
        """Whether `readings` would give such a reading back as it is."""
        policy = self._policy(node, quantity) if self._policies else _KEPT
        return policy is _KEPT or policy.action == "local"

    def is_local(self, node: str, quantity: str) -> bool:
        """Whether readings of it stay here."""
        policy = self._policy(node, quantity)
        return policy is not _KEPT and policy.action == "local"

    def _policy(self, node: str, quantity: str) -> PrivacyConfig:
        found = self._found.get((node, quantity))
        if found is None:
            if len(self._found) >= _CACHED:
                self._found.clear()
            matching = (one for one in self._policies if self._covers(one, node, quantity))
            found = self._found[node, quantity] = next(matching, _KEPT)
        return found

    def _covers(self, policy: PrivacyConfig, node: str, quantity: str) -> bool:
        is_named = any(fnmatchcase(quantity.lower(), one.lower()) for one in policy.quantities)
        return is_named and self._groups.takes(policy.nodes, node)

    def _applied(self, policy: PrivacyConfig, reading: Reading) -> Reading | None:
        if policy is _KEPT or policy.action == "local":
            return reading
        self._count(f"privacy_{policy.action}")
        if policy.action == "coarsen" and policy.step is not None:
            return _coarse(reading, policy.step)
        if policy.action == "hash" and reading.value is not None:
            return Reading(quantity=reading.quantity, value=self._hashed(reading), at_s=reading.at_s)
        return None

    def _hashed(self, reading: Reading) -> str:
        value = reading.value.hex() if isinstance(reading.value, bytes) else reading.value
        text = json.dumps([reading.quantity, type(reading.value).__name__, value])
        return hmac.digest(self._key, text.encode(), "sha256").hex()[:32]


def _coarse(reading: Reading, step: float) -> Reading | None:
    value, total = _rounded(reading.value, step), _rounded(reading.total, step)
    if value is None and total is None:
        return None
    return replace(reading, value=value, total=total)


def _rounded(value: Value, step: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    digits = max(0, 3 - math.floor(math.log10(step)))  # 0.01 x 2150 is 21.500000000000004 otherwise
    return round(round(value / step) * step, digits)


def load_key(data_dir: Path) -> bytes:
    """This gateway's key, made at the first start. Raises PrivacyError."""
    path = data_dir / KEY_FILE
    try:
        if not path.exists():
            write_durably(path, secrets.token_bytes(_KEY_LEN))
        if path.stat().st_mode & 0o077:
            raise PrivacyError(f"{path}: others can read this key; chmod 600 it, or delete it for a new one")
        key = path.read_bytes()
    except OSError as error:
        raise PrivacyError(f"{path}: {error.strerror}; check who may write to data_dir") from None
    if len(key) != _KEY_LEN:
        raise PrivacyError(f"{path}: is not {_KEY_LEN} bytes; delete it for a new key (hashes will differ)")
    return key
