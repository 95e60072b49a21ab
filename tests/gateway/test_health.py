"""What a person is told, by what the status says."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.health import notes, problems

WELL = {
    "state": "running",
    "pid": 7,
    "age_s": 0.4,
    "free_bytes": 10**9,
    "store": {"trouble": None, "notices": []},
    "clock": {"is_trusted": True},
    "nodes": {"problems": []},
    "cities": {"city": {"holds": True}},
    "parts": {"southbound.listen": {"state": "listening"}, "city.city": {"state": "delivering"}},
}


def test_gateway_that_is_well_says_nothing() -> None:
    assert problems(WELL) == []
    assert notes(WELL) == []


@pytest.mark.parametrize(
    "change, said",
    [
        ({"state": "never run"}, "start it with: lamppost gateway run"),
        ({"state": "stopped"}, "keep their readings"),
        ({"state": "gone"}, "has ended without stopping"),
        ({"age_s": 40.0}, "has not written its status for 40 s"),
        ({"free_bytes": 4_096}, "4096 bytes left"),
        ({"store": {"trouble": "StoreFull"}}, "nothing is being stored (StoreFull)"),
        ({"nodes": {"problems": ["nodes/a.json: others can read this key"]}}, "others can read this key"),
        ({"cities": {"city": {"holds": False}}}, "city city: the counts of records do not add up"),
        (
            {"parts": {"southbound.lora": {"state": "missing", "detail": "no chip"}}},
            "southbound.lora is missing: no chip",
        ),
        ({"parts": {"city.a": {"state": "quota_exceeded", "detail": "0x97"}}}, "city.a is quota_exceeded: 0x97"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(change: dict[str, Any], said: str) -> None:
    (line,) = problems({**WELL, **change})
    assert said in line


@pytest.mark.parametrize(
    "change, said",
    [
        ({"clock": {"is_trusted": False}}, "the clock of this machine is not trusted"),
        ({"store": {"trouble": None, "notices": ["set aside as x"]}}, "set aside as x"),
        ({"parts": {"southbound.broker": {"state": "connected"}}}, "is the broker's until it hands it to us"),
        ({"parts": {"city.a": {"state": "unheard", "detail": "nobody is subscribed"}}}, "require_subscriber = true"),
        (
            {"parts": {"city.a": {"state": "idle", "set_aside": 2, "last_refusal": "0x99; record a/1/7"}}},
            "2 records were refused and set aside; the last: 0x99; record a/1/7",
        ),
    ],
)
def test_what_is_to_know_is_a_note(change: dict[str, Any], said: str) -> None:
    (line,) = notes({**WELL, **change})
    assert said in line
