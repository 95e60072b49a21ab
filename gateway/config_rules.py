"""The rules that several sections of gateway.toml share. Each raises ConfigError under the key it is given."""

import re
from pathlib import Path

from gateway.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOPIC_FIELDS = ("site", "node", "gateway")


def require_name(key: str, value: str) -> None:
    if not _NAME.fullmatch(value):
        raise ConfigError(
            key,
            value,
            "must be 1 to 64 letters, digits, dots, hyphens or underscores, beginning with a letter or digit",
        )


def require_one_of(key: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ConfigError(key, value, f"must be {' or '.join(map(str, allowed))}")


def require_range(key: str, value: float, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(key, value, f"must be {low} to {high}")


def require_pair(key: str, value: object, other: str, other_value: object) -> None:
    if (value is None) != (other_value is None):
        missing, given = (key, other) if value is None else (other, key)
        raise ConfigError(missing, None, f"is missing; {given} needs it")


def require_username(key: str, password_file: Path | None, other: str, username: str | None) -> None:
    if password_file and not username:
        raise ConfigError(other, None, f"is missing; {key} needs it")


def require_topic(key: str, topic: str) -> None:
    if not topic or any(char in topic for char in "+#\0") or topic.startswith("$"):
        raise ConfigError(key, topic, "must be a topic to publish to: no +, # or NUL, and no $ at the start")
    unknown = [one for one in re.findall(r"\{([^}]*)\}?", topic) if one not in _TOPIC_FIELDS]
    if unknown or topic.count("{") != topic.count("}"):
        raise ConfigError(key, topic, "may hold only {site}, {node} and {gateway}")
