"""What the load, the city's subscriber and a broker can do by themselves: none is to be taken for a system's limit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.measure.city import City
from tools.measure.load import Load
from tools.measure.mosquitto import Mosquitto
from tools.measure.sink import Sink
from tools.measure.tally import Tally
from tools.rivals import ours
from tools.rivals.phases import Bed, Lengths


def lines(lengths: Lengths) -> Iterator[str]:
    """One line per ceiling, printed before the table."""
    yield f"the load into a null platform             {load_alone(lengths.full_s):>9,.0f} readings/s"
    yield f"load, mosquitto, subscriber               {broker_alone(lengths.full_s):>9,.0f} readings/s"
    yield f"load, lamppost (listener), null platform  {ours_to_null(lengths):>9,.0f} readings/s"


def load_alone(seconds: float) -> float:
    tally = Tally()
    with Sink(tally) as sink, Load(tally) as load:
        return tally.rate_per_s(load.run(sink.port, seconds=seconds))


def broker_alone(seconds: float) -> float:
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder)) as broker:
        with City(tally, broker.port, "#"), Load(tally) as load:
            return tally.rate_per_s(load.run(broker.port, seconds=seconds))


def ours_to_null(lengths: Lengths) -> float:
    """Our whole path with no broker in the way."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder, Sink(tally) as sink:
        with ours.open_listener(Path(folder), sink.port) as system, Load(tally) as load:
            bed = Bed(system, load, tally, ours.LISTENER, lengths)
            bed.wait_until_ready()
            span = bed.run(seconds=lengths.full_s)
            bed.settle(span)
            return tally.rate_per_s(span)
