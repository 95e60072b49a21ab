"""What alarms do on the spot, whether the city is there or not: outputs of this machine, and messages on act/<name>.

An output follows the alarms that hold it. It is on while one of them is raised whose node is still heard and admitted;
in its safe state when that link or authority is lost, when nobody is left who could raise it, and at stop; else off.
Nothing is done before the alarm is on disk. A message is sent once, QoS 0; a restart sends none again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gateway.config_edge import ActionConfig
from gateway.edge.alarm import CLEARED, RAISED
from gateway.edge.engine import Change
from gateway.edge.outputs import Output

log = logging.getLogger(__name__)
TOPIC = "act/"
_CHECK_S = 1.0


class Alarms(Protocol):
    """The edge's side, as of the last commit."""

    @property
    def raised(self) -> Mapping[tuple[str, str], str]:
        """The phase by rule and node."""

    @property
    def heard(self) -> Mapping[str, float]:
        """When a node was last heard, by node."""

    def actions_of(self, rule: str) -> tuple[str, ...]:
        """What the rule holds."""


class Actions:
    """All [[edge.action]]. `run` opens the pins and leaves them safe; `react` is called after each commit.

    is_admitted  whether a node still has its authority
    publish      sends a message to who subscribed; returns to how many
    """

    def __init__(
        self,
        configs: Sequence[ActionConfig],
        alarms: Alarms,
        *,
        is_admitted: Callable[[str], bool],
        publish: Callable[[str, bytes], int],
        count: Callable[[str], None],
        now_s: Callable[[], float],
    ) -> None:
        self._configs = tuple(configs)
        self._alarms = alarms
        self._is_admitted = is_admitted
        self._publish = publish
        self._count = count
        self._now_s = now_s
        self._started_s = now_s()
        self._outputs: dict[str, Output] = {}
        self._is_running = False

    async def run(self) -> None:
        """Serve until cancelled; then every output is in its safe state."""
        self._is_running = True
        try:
            self._open()
            while True:
                self.check()
                await asyncio.sleep(_CHECK_S)
        finally:
            self._is_running = False
            for output in self._outputs.values():
                output.close()
            self._outputs.clear()

    def reconfigure(self, configs: Sequence[ActionConfig]) -> None:
        """Go on with these; a pin whose settings stay is not touched."""
        self._configs = tuple(configs)
        if self._is_running:
            self._open()
            self.check()

    def status(self) -> dict[str, object]:
        """For `gateway status`."""
        troubles = [one.trouble for one in self._outputs.values() if one.trouble]
        states = {name: {True: "on", False: "off", None: "missing"}[one.is_on] for name, one in self._outputs.items()}
        return {"state": "missing" if troubles else "running", "detail": "; ".join(troubles), "outputs": states}

    def react(self, changes: Sequence[Change]) -> None:
        """These steps of alarms are on disk now."""
        self.check()
        by_name = {one.name: one for one in self._configs}
        for change in changes:
            for name in change.actions:
                config = by_name.get(name)
                if config is not None and config.kind == "mqtt" and change.step.state in (RAISED, CLEARED):
                    self._send(config, change)

    def check(self) -> None:
        """Bring every output to the state it should have."""
        for name, output in self._outputs.items():
            output.set(self._wanted(name, output))

    def _wanted(self, name: str, output: Output) -> bool:
        limit_s = output.config.link_timeout_s
        holding = [node for rule, node in self._alarms.raised if name in self._alarms.actions_of(rule)]
        if any(self._is_linked(node, limit_s) for node in holding):
            return True
        if holding or not self._is_anybody_linked(limit_s):
            return output.is_safe_on
        return False

    def _is_linked(self, node: str, limit_s: float) -> bool:
        if not self._is_admitted(node):
            return False
        heard_s = max(self._alarms.heard.get(node, 0.0), self._started_s)
        return not limit_s or self._now_s() - heard_s <= limit_s

    def _is_anybody_linked(self, limit_s: float) -> bool:
        heard_s = max([self._started_s, *list(self._alarms.heard.values())])
        return not limit_s or self._now_s() - heard_s <= limit_s

    def _open(self) -> None:
        wanted = {one.name: one for one in self._configs if one.kind == "gpio"}
        for name in [name for name, output in self._outputs.items() if wanted.get(name) != output.config]:
            self._outputs.pop(name).close()
        for name, config in wanted.items():
            if name not in self._outputs:
                self._outputs[name] = Output(config)
                self._outputs[name].open()

    def _send(self, config: ActionConfig, change: Change) -> None:
        step = change.step
        told = {"rule": step.rule, "node": step.node, "state": step.state, "severity": step.severity, "n": step.n}
        payload = json.dumps({**told, "at": step.at_s}, separators=(",", ":")).encode()
        sent = self._publish(f"{TOPIC}{config.name}", payload)
        self._count("edge_messages_sent" if sent else "edge_messages_unheard")
