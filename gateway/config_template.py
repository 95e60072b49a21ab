"""`lamppost gateway config-template`: a gateway.toml with every key, made from the dataclasses that read it.

What must be set is set to an example; the rest stands behind `#` with its default, as in sshd_config.
"""

import argparse
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_type_hints

from gateway.config import Config
from gateway.config_table import inner_table

_WIDTH = 100
_INTRO = """Settings of a Lamppost gateway. A key behind # holds as shown without being set, unless its comment
says otherwise. Check the file with: lamppost gateway check --config FILE"""
# A gateway that runs as it stands needs these; each other table is there to be uncommented.
_ON = {"gateway", "southbound.mqtt", "southbound.mqtt.listen", "city"}


def template() -> str:
    """The text. It passes `gateway check` as it is (but for data_dir, which must exist)."""
    lines = [*_comment(_INTRO), ""]
    for name, cls, is_list, about in _tables(Config, ""):
        mark = "" if name in _ON else "#"
        lines += [*_comment(about), f"{mark}[[{name}]]" if is_list else f"{mark}[{name}]"]
        hints = get_type_hints(cls)
        for one in fields(cls):
            if inner_table(hints[one.name])[0] is None:
                lines += _entry(one, name, is_on=name in _ON)
        lines.append("")
    return "\n".join(lines)


def _tables(cls: Any, place: str) -> Iterator[tuple[str, Any, bool, str]]:
    """Every table of the file: dotted name, dataclass, whether it may be repeated, what it is for."""
    hints = get_type_hints(cls)
    for one in fields(cls):
        inner, is_list = inner_table(hints[one.name])
        if inner is not None:
            name = f"{place}{one.name}"
            has_values = any(inner_table(hint)[0] is None for hint in get_type_hints(inner).values())
            if has_values:
                yield name, inner, is_list, one.metadata["about"] + (" May be repeated." if is_list else "")
            yield from _tables(inner, f"{name}.")


def _entry(one: Field[Any], place: str, *, is_on: bool) -> Iterator[str]:
    value = one.metadata["example"]
    is_set = is_on and (one.default is MISSING or f"{place}.{one.name}" in _ON)
    off = " Not set; for example:" if one.default is None and not is_set else ""
    yield from _comment(one.metadata["about"] + off)
    yield f"{'' if is_set else '#'}{one.name} = {_toml(value)}"


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, _WIDTH))


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, Path)):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`lamppost gateway config-template` has no options."""
    parser.epilog = "Example: lamppost gateway config-template > gateway.toml"


def run(args: argparse.Namespace) -> int:
    """Print it."""
    print(template(), end="")
    return 0
