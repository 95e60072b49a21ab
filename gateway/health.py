"""What is wrong with a gateway, in words, from its status: what, where, and the next step. Nothing wrong: no words."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway import clock_status

_GOOD = frozenset(
    [
        "starting",
        "connecting",
        "receiving",
        "measuring",
        "listening",
        "connected",
        "delivering",
        "unheard",
        "idle",
        "waiting",
        "running",
    ]
)
_SILENT_S = 10.0  # it writes every second
_LITTLE_BYTES = 1_000_000
_BROKER_NOTE = (
    "southbound.mqtt.broker: what devices published there and the broker acknowledged is the broker's "
    "until it hands it to us; {connection}. Its queue limits and its disk decide what survives there"
)


def problems(status: Mapping[str, Any]) -> list[str]:
    """One line per thing that needs a person, worst first."""
    return [*_agent(status), *_promise(status), *_disk(status), *_parts(status)]


def notes(status: Mapping[str, Any]) -> list[str]:
    """One line per thing to know, though it is as it should be."""
    parts = status.get("parts", {})
    broker = parts.get("southbound.broker")
    found = [*status.get("notices", []), *status.get("store", {}).get("notices", [])]
    found += [note for name, part in parts.items() if name.startswith("city.") for note in _city_notes(name, part)]
    found += clock_status.notes(status.get("clock", {}))
    alarms = status.get("alarms", {})
    if alarms:
        unseen = alarms.get("raised", 0)
        found.append(f"alarms raised: {sum(alarms.values())}, of them not acknowledged: {unseen} (lamppost alarm list)")
    if broker is not None:
        state = f"we are {broker.get('state')} there"
        found.append(_BROKER_NOTE.format(connection=state))
    return found


def _city_notes(name: str, part: Mapping[str, Any]) -> Iterator[str]:
    if part.get("state") == "unheard":
        yield f"{name}: {part['detail']}. To keep readings until somebody is there: require_subscriber = true"
    if part.get("set_aside"):
        yield f"{name}: {part['set_aside']} records were refused and set aside; the last: {part['last_refusal']}"


def _agent(status: Mapping[str, Any]) -> Iterator[str]:
    if status["state"] == "never run":
        yield "no gateway has run with this data_dir; start it with: lamppost gateway run"
    elif status["state"] == "stopped":
        yield "the gateway is stopped; nodes and devices keep their readings. Start it with: lamppost gateway run"
    elif status["state"] == "running" and status["age_s"] > _SILENT_S:
        yield f"the gateway (pid {status['pid']}) has not written its status for {status['age_s']:.0f} s; see its log"
    elif status["state"] == "gone":
        yield f"the gateway (pid {status['pid']}) has ended without stopping; see its log, then start it again"


def _promise(status: Mapping[str, Any]) -> Iterator[str]:
    for name, city in status.get("cities", {}).items():
        if not city["holds"]:
            yield f"city {name}: the counts of records do not add up; please report it with status --json"


def _disk(status: Mapping[str, Any]) -> Iterator[str]:
    free_bytes = status.get("free_bytes")
    if free_bytes is not None and free_bytes < _LITTLE_BYTES:
        yield f"the disk under data_dir is full ({free_bytes} bytes left); free some space (df)"
    trouble = status.get("store", {}).get("trouble")
    if trouble and status["state"] == "running":
        yield f"nothing is being stored ({trouble}); nodes and devices keep their readings. Free some space (df)"
    yield from status.get("nodes", {}).get("problems", [])


def _parts(status: Mapping[str, Any]) -> Iterator[str]:
    if status["state"] != "running":
        return
    for name, part in status.get("parts", {}).items():
        if part.get("state", "running") not in _GOOD:
            detail = part.get("detail") or part.get("last_refusal")
            yield f"{name} is {part['state']}{f': {detail}' if detail else ''}"
