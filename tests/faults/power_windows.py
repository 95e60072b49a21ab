"""What the windows of a gateway must say after any number of power cuts: every reading it stored, counted once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from gateway.config import EdgeConfig
from gateway.config_edge import WindowConfig
from gateway.reading import Report

LENGTH_S = 60
_NEVER_TOO_LATE_S = 20 * 86_400
EDGE = EdgeConfig(window_s=0, window=(WindowConfig(name="w", length_s=LENGTH_S, lateness_s=_NEVER_TOO_LATE_S),))
Place = tuple[str, float, str]  # subject, start, quantity


class WindowCheck:
    """Sees every record once, and says at the end which windows are wrong."""

    def __init__(self) -> None:
        self._came: defaultdict[Place, list[float]] = defaultdict(list)
        self._told: dict[tuple[str, float], tuple[int, dict[str, float]]] = {}

    def note(self, report: Report) -> None:
        """A record that is stored, or was."""
        values = {one.quantity: one.value for one in report.readings}
        if report.kind == "window":
            revision = int(str(values.get("revision", 0)))
            place = (report.subject or "", report.measured_at_s)
            if revision >= self._told.get(place, (0, {}))[0]:
                self._told[place] = (revision, {name: float(str(v)) for name, v in values.items() if "/c" in name})
        elif report.kind in ("telemetry", "alarm", "event") and report.time_quality in ("good", "received"):
            start_s = report.measured_at_s // LENGTH_S * LENGTH_S
            for quantity, value in values.items():
                self._came[report.node, start_s, quantity].append(float(str(value)))

    def mistakes(self) -> Iterator[str]:
        """Once every window was told."""
        for (subject, start_s, quantity), values in self._came.items():
            _, told = self._told.get((subject, start_s), (0, {}))
            count = told.get(f"{quantity}/count", 0.0)
            if count != len(values):
                yield f"{subject} {quantity} at {start_s:.0f}: {len(values)} stored, {count:.0f} told"
