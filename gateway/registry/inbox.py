"""What a running gateway is handed: bundles and suspensions, put into its inbox by a command and answered there."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.errors import GatewayError
from gateway.registry import statement as st
from gateway.registry.bundle import Taken, take_bundle
from gateway.registry.registry import Registry, RegistryError
from gateway.registry.statement import Draft

log = logging.getLogger(__name__)
INBOX = "inbox"
_WAIT_S = 60.0
_POLL_S = 0.05


def take_inbox(registry: Registry, *, before_answer: Callable[[], object] = lambda: None) -> list[Taken]:
    """Take every bundle and every suspension that waits; each is answered and removed."""
    found: list[Taken] = []
    waiting = (path for path in sorted((registry.folder / INBOX).glob("[!.]*")) if path.suffix in _TAKES)
    for path in waiting:
        try:
            answer = _TAKES[path.suffix](registry, path, found)
        except (GatewayError, ValueError, KeyError, TypeError) as error:
            answer = {"error": str(error)}
        log.info("inbox: %s", answer.get("taken", answer.get("error")))
        before_answer()
        new = path.with_name(f".{path.name}.new")
        new.write_text(json.dumps(answer))
        new.rename(path.with_suffix(".result"))
        path.unlink()
    return found


def put(folder: Path, name: str, content: bytes) -> Path:
    """Put something into the inbox of the registry in `folder`, whole or not at all. Returns the inbox."""
    inbox = folder / INBOX
    inbox.mkdir(exist_ok=True)
    (inbox / f".{name}").write_bytes(content)
    (inbox / f".{name}").rename(inbox / name)
    return inbox


def suspend(registry: Registry, subjects: Sequence[str], reason: str) -> int:
    """Say in this gateway's own log that these are suspended; how many. Raises RegistryError, LogError."""
    fields = {"reason": reason} if reason else {}
    registry.append([Draft(kind=st.SUSPEND, subject=one, fields=fields) for one in subjects], registry.holder)
    return len(subjects)


def _take_bundle(registry: Registry, path: Path, found: list[Taken]) -> dict[str, Any]:
    with path.open("rb") as file:
        taken = take_bundle(registry, file)
    found.append(taken)
    return taken.as_dict()


def _take_suspension(registry: Registry, path: Path, found: list[Taken]) -> dict[str, Any]:
    table = json.loads(path.read_text())
    return {"taken": suspend(registry, [str(one) for one in table["subjects"]], str(table["reason"]))}


_TAKES: Mapping[str, Callable[[Registry, Path, list[Taken]], dict[str, Any]]] = {
    ".bundle": _take_bundle,
    ".suspend": _take_suspension,
}


def wait_for(inbox: Path, name: str) -> dict[str, Any]:
    """The running gateway's answer. Raises RegistryError."""
    result = inbox / f"{name}.result"
    give_up_s = time.monotonic() + _WAIT_S
    while not result.exists():
        if time.monotonic() > give_up_s:
            raise RegistryError(f"the running gateway did not take {inbox / name} in time; see its log")
        time.sleep(_POLL_S)
    answer: dict[str, Any] = json.loads(result.read_text())
    result.unlink()
    if "error" in answer:
        raise RegistryError(str(answer["error"]))
    return answer
