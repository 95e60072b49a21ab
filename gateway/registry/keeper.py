"""The registry in a running gateway: takes bundles from the inbox, records which nodes are heard, raises the alarms.

`heard` is called from the commit thread for every good frame and costs a look into a dictionary; all else happens in
`run`.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from threading import Lock
from typing import Any, Protocol

from gateway.errors import GatewayError
from gateway.identity.admission import Admission
from gateway.registry import statement as st
from gateway.registry.bundle import Taken
from gateway.registry.clones import CLOCKS_APART_S, HEARD, clone_of, heard_of
from gateway.registry.inbox import take_inbox
from gateway.registry.opening import save_if_due
from gateway.registry.registry import Registry
from gateway.registry.statement import Draft, Statement

log = logging.getLogger(__name__)
_PERIOD_S = 1.0
_MOST_WAITING = 4096
_MOST_KNOWN = 100_000
_MANY = (st.ENROL, st.ENDORSE)  # by the thousand; the audit log says how many came


class Audit(Protocol):
    """The audit log: what waits a moment, what must not be lost, and to have that on disk."""

    def note(self, what: str, device: str = "", detail: str = "") -> None: ...
    def record(self, what: str, device: str = "", detail: str = "") -> None: ...
    def settle(self) -> bool: ...


class Keeper:
    """Owner of the registry while the gateway runs.

    count  called with the name of each counter that moves
    audit  where changes of the registry are recorded, before anybody is told of them
    """

    name = "registry"

    def __init__(self, registry: Registry, admission: Admission, *, count: Callable[[str], None], audit: Audit) -> None:
        self.registry = registry
        self._admission = admission
        self._count = count
        self._audit = audit
        self._wake = asyncio.Event()
        self._lock = Lock()
        self._recorded: dict[str, int] = {}
        self._contested: dict[str, tuple[int, int]] = {}
        self._waiting: dict[str, int] = {}
        self._departed: dict[str, float] = {}
        self._clones: dict[str, str] = {}
        self._trouble = ""
        registry.listeners.append(self._on_statement)

    def wake(self) -> None:
        """Look into the inbox now."""
        self._wake.set()

    def heard(self, node: str, epoch: int, at_s: float) -> None:
        """A good frame of this node, in this epoch."""
        contested = self._contested.get(node)
        is_known = self._recorded.get(node) == epoch
        if is_known and (contested is None or at_s <= contested[1] + CLOCKS_APART_S or epoch > contested[0]):
            return
        with self._lock:
            if len(self._waiting) < _MOST_WAITING:
                self._waiting[node] = epoch

    def departed(self) -> dict[str, float]:
        """Nodes that another gateway has heard since the last call, and when; the first 4,096 of them."""
        with self._lock:
            departed, self._departed = self._departed, {}
        return departed

    async def run(self) -> None:
        """Serve until cancelled; a bundle that waits is taken, whatever else fails is tried again."""
        await asyncio.to_thread(self._sign_of_life)
        while True:
            try:
                await asyncio.to_thread(self._work)
                self._trouble = ""
            except (GatewayError, OSError, sqlite3.Error) as error:
                if str(error) != self._trouble:
                    log.warning("registry: %s", error)
                self._trouble = str(error)
            try:
                async with asyncio.timeout(_PERIOD_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    def status(self) -> dict[str, Any]:
        """What `gateway status` shows; anything but "running" needs a person."""
        registry, state = self.registry, self._admission.staleness()
        problems = [*registry.forked.values(), *registry.notices]
        problems += [f"{node} is in two places: {why}" for node, why in self._clones.items()]
        if state.is_stale:
            problems.append(
                f"the authority was not heard for {(state.age_s or 0) / 86_400:.1f} days, more than the policy allows; "
                f"the policy says {state.when_stale}. Bring a bundle: lamppost registry sync --import FILE"
            )
        if self._trouble:
            problems.append(self._trouble)
        return {
            "state": "in doubt" if problems else "running",
            "detail": "; ".join(problems),
            "site": registry.site.anchor.site,
            "writer": registry.me,
            "logs": {one.writer: one.size for one in registry.writers()},
            "authority_age_s": state.age_s,
            "has_policy": registry.site.policy is not None,
        }

    def _sign_of_life(self) -> None:
        """A head signed at every start: others see by it if this image was set back."""
        registry = self.registry
        if registry.me in registry.site.gateways and registry.own().size:
            try:
                registry.refresh_head(registry.holder)
            except (GatewayError, OSError) as error:
                log.warning("registry: %s", error)

    def _work(self) -> None:
        for taken in take_inbox(self.registry, before_answer=self._audit.settle):
            self.told(taken)
        self._record()
        self._audit.settle()
        save_if_due(self.registry)

    def told(self, taken: Taken) -> None:
        """Count and note what came of a bundle."""
        for outcome in taken.problems:
            self._count(f"registry_{outcome.problem}")
            self._audit.note("registry refused", outcome.writer, outcome.detail)
            log.warning("registry: %s", outcome.detail)
        if taken.total:
            self._count("registry_bundles")
            self._audit.record("registry taken", taken.sender, f"{taken.total} entries")

    def _record(self) -> None:
        """Say in our own log which nodes are here, so that others can tell a clone."""
        registry = self.registry
        if registry.me is None or registry.me not in registry.site.gateways or not self._waiting:
            return
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        drafts = []
        for node, epoch in waiting.items():
            contested = self._contested.pop(node, None)
            if contested is not None or not self._is_recorded(node, epoch):
                fields = {"what": HEARD, "epoch": epoch}
                drafts.append(Draft(kind=st.RECORD, subject=node, fields=fields))
            if len(self._recorded) >= _MOST_KNOWN:
                self._recorded.clear()
            self._recorded[node] = epoch
        if drafts:
            registry.append(drafts, registry.holder)

    def _is_recorded(self, node: str, epoch: int) -> bool:
        facts = self.registry.index.facts(self.registry.site.anchor.site, node)
        mine = [one for one in heard_of(facts) if one.gateway == self.registry.me]
        return bool(mine) and mine[-1].epoch == epoch

    def _on_statement(self, one: Statement) -> None:
        """In whatever thread the registry is written by, its lock held."""
        if one.kind != st.RECORD:
            if one.kind not in _MANY:
                self._audit.record(
                    f"registry {st.name_of(one.kind)}", one.subject, f"entry {one.index} of {one.writer}"
                )
            return
        if one.writer != self.registry.me:
            self._contested[one.subject] = (one.fields.get("epoch", 0), one.at_s)
            if one.fields["what"] == HEARD:
                self._note_departure(one.subject, float(one.at_s))
        found = clone_of(heard_of(self.registry.index.facts(one.site, one.subject)))
        if found is not None and self._clones.get(one.subject) != str(found):
            self._clones[one.subject] = str(found)
            self._count("clone_alarms")
            self._audit.record("clone alarm", one.subject, str(found))
            log.error("%s is in two places: %s", one.subject, found)

    def _note_departure(self, node: str, at_s: float) -> None:
        with self._lock:
            if len(self._departed) < _MOST_WAITING:
                self._departed[node] = at_s
