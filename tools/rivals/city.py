"""The platform of the systems that speak MQTT northbound: a mosquitto and a subscriber that hears all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from tools.measure.city import City
from tools.measure.mosquitto import Mosquitto
from tools.measure.tally import Tally

# The subscriber stands for a platform's own intake, so its window is none of the broker's business to limit; the
# Receive Maximum that publishers are told is left at the default of 20.
LINES = ("max_inflight_messages 20",)


class MosquittoCity(Mosquitto):
    """Queues without bound for the subscriber, and keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "city", lines=LINES)

    def __enter__(self) -> MosquittoCity:
        super().__enter__()
        return self

    def listen(self, tally: Tally) -> AbstractContextManager[object]:
        return City(tally, self.port, "#")
