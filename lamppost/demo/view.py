"""What the demo shows while it runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

_LINE_EVERY_S = 5.0


@dataclass
class NodeState:
    """One row: what is known of one node now."""

    alias: str
    bearer: str
    issued: int = 0
    delivered: int = 0
    last_reading: str = "-"
    signal: str = "-"


@dataclass
class Scene:
    """Everything on the screen. The demo fills it, the view draws it."""

    duration_s: float
    nodes: dict[str, NodeState] = field(default_factory=dict)
    elapsed_s: float = 0.0
    phase: str = "starting"
    city_link: str = "up"
    backlog: int = 0
    windows: int = 0


class PlainView:
    """One line every few seconds and one at each change of phase; for logs and pipes."""

    def __init__(self) -> None:
        self._said: tuple[str, str] = ("", "")
        self._said_at_s = 0.0

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def show(self, scene: Scene) -> None:
        state = (scene.phase, scene.city_link)
        if state == self._said and scene.elapsed_s - self._said_at_s < _LINE_EVERY_S:
            return
        self._said, self._said_at_s = state, scene.elapsed_s
        delivered = sum(node.delivered for node in scene.nodes.values())
        issued = sum(node.issued for node in scene.nodes.values())
        print(
            f"{scene.elapsed_s:5.0f} s  {scene.phase:<9} city link {scene.city_link:<12} "
            f"measured {issued:<5} at the city {delivered:<5} waiting at the gateway {scene.backlog}",
            flush=True,
        )


class LiveView:
    """A table that is drawn over itself."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._live.stop()

    def show(self, scene: Scene) -> None:
        self._live.update(_screen(scene))


def view_for(output: object = None) -> PlainView | LiveView:
    """The live view if standard output is a terminal, else plain lines."""
    console = Console()
    return LiveView(console) if sys.stdout.isatty() and console.is_terminal else PlainView()


def _screen(scene: Scene) -> Group:
    table = Table(expand=False)
    for title, justify in (
        ("node", "left"),
        ("bearer", "left"),
        ("last reading at the city", "left"),
        ("signal", "right"),
        ("measured", "right"),
        ("at the city", "right"),
    ):
        table.add_column(title, justify="right" if justify == "right" else "left")
    for node in scene.nodes.values():
        table.add_row(node.alias, node.bearer, node.last_reading, node.signal, str(node.issued), str(node.delivered))
    link = Text(f"city link {scene.city_link}", style="bold red" if scene.city_link != "up" else "green")
    head = Text.assemble(
        f"{scene.elapsed_s:.0f} of {scene.duration_s:.0f} s, {scene.phase};  ",
        link,
        f";  {scene.backlog} waiting at the gateway;  {scene.windows} windows from the gateway",
    )
    return Group(head, table)
