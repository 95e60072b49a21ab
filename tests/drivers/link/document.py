"""Reads docs/protocol.md: its tables, and its worked examples as frames to be made and read again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from drivers.link.pack import Report
from drivers.link.schema import SELF_DESCRIBING

PAGE = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"


@dataclass(frozen=True)
class Example:
    """The lines of one example, by their first word; a word may come more than once."""

    name: str
    lines: tuple[tuple[str, str], ...]

    def text(self, word: str) -> str:
        (only,) = self.texts(word)
        return only

    def texts(self, word: str) -> list[str]:
        return [rest for first, rest in self.lines if first == word]

    def number(self, word: str) -> int:
        return int(self.text(word))

    def optional(self, word: str) -> int | None:
        return int(self.text(word)) if self.has(word) else None

    def octets(self, word: str) -> bytes:
        return bytes.fromhex(self.text(word))

    def has(self, word: str) -> bool:
        return bool(self.texts(word))

    @property
    def is_full(self) -> bool:
        return self.has("boot") or self.has("full")

    def reports(self) -> list[Report]:
        found = []
        for line in self.texts("report"):
            seq, time_s, schema, values = line.split(" ", 3)
            read = [json.loads(values)] if int(schema) == SELF_DESCRIBING else tuple(map(int, values.split()))
            found.append(Report(int(seq), int(time_s), int(schema), read))
        return found

    def notices(self) -> dict[str, object]:
        """What the frame says besides its reports, as arguments of pack."""
        lost = [tuple(map(int, line.split())) for line in self.texts("lost")]
        opened = [line.split() for line in self.texts("opened")]
        return {
            "other_epoch": self.optional("other_epoch"),
            "older_boot": self.optional("older_boot"),
            "began_s": self.optional("began_s"),
            "floor_lost": lost[0] if lost else None,
            "epochs_opened": tuple((int(epoch), int(end), how == "known") for epoch, end, how in opened),
        }


def blocks(kind: str) -> dict[str, str]:
    """Fenced blocks of one kind, by name."""
    return dict(re.findall(rf"^```{kind} (.+)\n((?:.+\n)+)```$", PAGE.read_text(), re.MULTILINE))


def examples(kind: str = "example") -> list[Example]:
    found = []
    for name, text in blocks(kind).items():
        lines = tuple((first, rest.strip()) for first, _, rest in (line.partition(" ") for line in text.splitlines()))
        found.append(Example(name, lines))
    return found


def table(heading: str, first_column: str) -> list[list[str]]:
    """Rows, without the head, of the table below `heading` whose first column is called `first_column`."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.search(rf"^\| {re.escape(first_column)} \|.*\n\| ---.*\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert found, f"docs/protocol.md, {heading!r}: no table that begins with {first_column!r}"
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found[1].splitlines()]
