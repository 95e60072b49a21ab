"""The gateway's status for a person at a terminal. Takes what status.overview returns; reads nothing itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway import clock_status

_GONE = ("evicted", "expired", "thinned", "damaged", "refused")


def lines(status: Mapping[str, Any], *, now_s: float) -> Iterator[str]:
    """The page, line by line."""
    yield from _head(status)
    if status["state"] == "running" and "source" in status.get("clock", {}):
        yield clock_status.line(status["clock"])
    for name, city in status["cities"].items():
        yield from _city(name, city, status, now_s)
    if status["state"] == "running":
        yield from _flash(status.get("flash", {}))
        for name, part in status["parts"].items():
            if not name.startswith("city."):
                yield from _part(name, part)
    yield from _nodes(status, now_s)
    if status.get("commands_waiting"):
        yield f"commands: {status['commands_waiting']} wait for their nodes; lamppost node commands shows them"
    yield from _dropped(status)
    for problem in status["problems"]:
        yield f"PROBLEM  {problem}"
    for note in status["notes"]:
        yield f"note     {note}"


def _head(status: Mapping[str, Any]) -> Iterator[str]:
    who = f"gateway {status['gateway']} of site {status['site']}" if "gateway" in status else "gateway"
    pid = f", pid {status['pid']}" if status["state"] == "running" else ""
    age = f", last word {_ago(status['age_s'])} ago" if status["age_s"] is not None and not pid else ""
    yield f"{who}: {status['state']}{pid}{age}"


def _city(name: str, city: Mapping[str, Any], status: Mapping[str, Any], now_s: float) -> Iterator[str]:
    parts = status.get("parts", {})
    is_running = status["state"] == "running"
    session = parts.get(f"city.{name}.session", {}) if is_running else {}
    forwarder = parts.get(f"city.{name}", {}) if is_running else {}
    oldest = f", oldest {_ago(now_s - city['oldest_at_s'])}" if city["oldest_at_s"] else ""
    state = f"{session['state']}, " if "state" in session else ""
    if session.get("state") == "connected":
        detail = f" ({forwarder['detail']})" if forwarder.get("detail") else ""
        state += f"{forwarder.get('state', '')}{detail}, "
    yield f"city {name}: {state}{city['backlog']} waiting ({_size(city['backlog_bytes'])}{oldest})"
    unheard = f" ({city['unheard']} unheard)" if city["unheard"] else ""
    gone = " + ".join(f"{name} {city[name]}" for name in ("stored", *_GONE))
    yield (
        f"  accepted {city['accepted']} + produced {city['produced']}"
        f" {'=' if city['holds'] else 'IS NOT'} delivered {city['delivered']}{unheard} + {gone}"
    )


def _flash(flash: Mapping[str, Any]) -> Iterator[str]:
    """Of the running process."""
    if flash.get("written_bytes") is None:
        yield "flash: what is written is not known, the kernel does not tell (/proc/self/io)"
        return
    each = flash["bytes_per_reading"]
    told = f"{each:.0f} bytes per reading" if each is not None else "no reading yet"
    yearly = flash["gb_per_year"]
    rate = (
        f", {yearly:.2f} GB a year at the rate of the last {_ago(flash['rate_over_s'])}" if yearly is not None else ""
    )
    written = _size(flash["written_bytes"])
    yield f"flash: {written} written since the start, {told}{rate}; the file system's journal comes on top"


def _part(name: str, part: Mapping[str, Any]) -> Iterator[str]:
    detail = f": {part['detail']}" if part.get("detail") else ""
    yield f"{name}: {part.get('state', 'running')}{detail}"
    duty = part.get("duty")
    if duty:
        share = f"{duty['spent_ms'] / 1000:.1f} of {duty['allowed_ms'] / 1000:.0f} s this hour in {duty['band']}"
        yield f"  {part['freq_hz'] / 1e6:.3f} MHz SF{part['spreading_factor']}; sent {share}"


def _nodes(status: Mapping[str, Any], now_s: float) -> Iterator[str]:
    if not status["heard"]:
        yield "nodes: none heard yet"
    for node in status["heard"]:
        name = f"{node['alias']} ({node['node']})" if node["alias"] else node["node"]
        way = f" by {node['bearer']}" if node["bearer"] else ""
        signal = f", {node['rssi_dbm']:.0f} dBm, SNR {node['snr_db']:.0f} dB" if node["rssi_dbm"] is not None else ""
        yield f"node {name}: heard {_ago(now_s - node['heard_at_s'])} ago{way}{signal}, epoch {node['epoch']}"


def _dropped(status: Mapping[str, Any]) -> Iterator[str]:
    """What was not taken or not answered, by reason."""
    counters = status.get("counters", {})
    told = [f"{name} {count}" for name, count in counters.items() if "refused" in name or "skipped" in name]
    if told:
        yield f"since the database was made: {', '.join(told)}"


def _ago(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(count: int) -> str:
    return f"{count} B" if count < 10_000 else f"{count / 1e6:.2f} MB"
