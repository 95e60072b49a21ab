"""A gateway.toml that somebody spoilt: it is read, or refused with the key or the line; nothing else happens."""

from __future__ import annotations

import random

import pytest

from gateway.config import Config, parse
from gateway.config_template import template
from gateway.errors import ConfigError
from tests.campaign import MILLION, campaign


def spoilt(text: str, chance: random.Random) -> str:
    """Lines taken out, doubled, put elsewhere, made settings; characters changed."""
    lines = text.splitlines()
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(chance.randrange(len(lines)), lines[at])
            case 2:
                lines[at] = lines[at].removeprefix("#")
            case 3 if lines[at]:
                place = chance.randrange(len(lines[at]))
                lines[at] = lines[at][:place] + chance.choice('"[]=#.\\0\n-1e9é{},\x00') + lines[at][place + 1 :]
            case 4 if "=" in lines[at]:
                value = chance.choice(
                    ["true", "-1", "1e400", "[]", "{}", '""', "[1, 'a']", "1979-05-27", "99999999999"]
                )
                lines[at] = f"{lines[at].partition('=')[0].removeprefix('#')}= {value}"
            case _:
                lines[at] = lines[chance.randrange(len(lines))]
        lines = lines or [""]
    return "\n".join(lines)


@pytest.mark.parametrize("count", [500, MILLION])
def test_a_spoilt_configuration_is_read_or_refused_by_its_key(count: int, capsys) -> None:
    chance, honest = random.Random(3), template()
    with campaign("gateway.toml", count, capsys) as outcomes:
        for _ in range(count):
            try:
                found = parse(spoilt(honest, chance))
            except ConfigError as error:
                outcomes["refused" if error.key else "refused without a key"] += 1
            else:
                assert isinstance(found, Config)
                found.warnings()
                outcomes["read"] += 1
    assert outcomes["refused"]
    assert "refused without a key" not in outcomes
    assert outcomes["read"]
