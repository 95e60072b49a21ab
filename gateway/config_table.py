"""From a TOML table to a frozen dataclass: unknown keys, missing keys and wrong types are named, with the key to edit.

Ranges and rules are the dataclasses' own (`__post_init__`, which raises ConfigError with its key alone); this module
puts the table's name in front. It knows no section of gateway.toml; config.py has those.
"""

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from gateway.errors import ConfigError

T = TypeVar("T")
_NAMES = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path in quotes",
}


def option(about: str, *, default: Any = MISSING, example: object = None) -> Any:
    """A dataclass field of the configuration.

    about    what it does, in a user's words: the comment in the template
    default  what holds without it; left out, the key must be there
    example  the value shown in the template where there is no default
    """
    metadata = {"about": about, "example": default if example is None else example}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def section(about: str, *, default_factory: Any = MISSING) -> Any:
    """A dataclass field that is itself a table, or a tuple of tables; without a default it must be there."""
    return field(metadata={"about": about}, default_factory=default_factory)


def build(cls: type[T], table: object, place: str) -> T:
    """Make `cls` from a TOML table.

    place   the table's dotted name, e.g. "southbound.lora"; empty for the whole file
    Raises  ConfigError naming the dotted key
    """
    if not isinstance(table, Mapping):
        raise ConfigError(place, table, "must be a table: write it as a line of its own, [" + place + "]")
    known = {one.name: one for one in fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    _refuse_unknown(table, known, place)
    values = {}
    for name, one in known.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], _dotted(place, name))
        elif _is_required(one):
            raise ConfigError(_dotted(place, name), None, f"is missing; {one.metadata['about']}")
    try:
        return cls(**values)
    except ConfigError as error:
        raise (error.under(place) if place else error) from None


def inner_table(hint: object) -> tuple[Any, bool]:
    """The dataclass a field's type holds (or None), and whether the field is a list of them (`[[name]]`)."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        return (item, True) if is_dataclass(item) else (None, True)
    return (hint, False) if isinstance(hint, type) and is_dataclass(hint) else (None, False)


def _refuse_unknown(table: Mapping[str, object], known: Mapping[str, object], place: str) -> None:
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            raise ConfigError(_dotted(place, name), None, f"is not a key of gateway.toml; {hint}")


def _is_required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _convert(hint: Any, value: object, key: str) -> object:
    cls, is_list = inner_table(hint)
    if cls is not None:
        return _build_each(cls, value, key) if is_list else build(cls, value, key)
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is tuple:
        return _convert_each(get_args(hint)[0], value, key)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str) and value:
        return Path(value)
    if isinstance(value, bool) is not (hint is bool) or not isinstance(value, hint):
        raise ConfigError(key, _shown(value), f"must be {_NAMES[hint]}")
    return value


def _build_each(cls: type, value: object, key: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ConfigError(key, None, f"must be a list of tables: write [[{key}]] in double brackets")
    return tuple(build(cls, table, f"{key}[{at}]") for at, table in enumerate(value))


def _convert_each(hint: Any, value: object, key: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ConfigError(key, _shown(value), "must be a list: write it in square brackets")
    return tuple(_convert(hint, one, key) for one in value)


def _shown(value: object) -> object:
    return value if isinstance(value, (str, int, float, bool)) else f"({type(value).__name__})"


def _dotted(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
