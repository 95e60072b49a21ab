"""What the gateway says while it runs: one line per event on stderr, as logfmt for people or JSON for machines.

Keys, passwords and payloads never go into a message; whoever logs sees to that. Times are UTC.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO


def configure(*, form: str, level: str, stream: TextIO | None = None) -> None:
    """Send the log to `stream` (stderr if None). `form` is "logfmt" or "json"."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Logfmt())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Logfmt(logging.Formatter):
    """`time=... level=info part=southbound.lora msg="..."`"""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_quoted(value)}" for key, value in _fields(record).items())


class _Json(logging.Formatter):
    """One object per line, with the same names."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record), ensure_ascii=False)


def _fields(record: logging.LogRecord) -> dict[str, str]:
    fields = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "part": record.name.removeprefix("gateway."),
        "msg": record.getMessage(),
    }
    if record.exc_info and record.exc_info[1]:
        fields["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        fields["trace"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _quoted(value: str) -> str:
    """As is where it is one word; else in quotes on one line."""
    if value and all(char.isprintable() and char not in ' "=' for char in value):
        return value
    return json.dumps(value, ensure_ascii=False)
