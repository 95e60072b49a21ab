"""Bundles for a running gateway: put into its inbox by `registry sync`, taken by the gateway, answered beside them."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from gateway.registry.bundle import BundleError, Taken, take_bundle
from gateway.registry.registry import Registry, RegistryError

log = logging.getLogger(__name__)
INBOX = "inbox"
_WAIT_S = 60.0
_POLL_S = 0.05


def take_inbox(registry: Registry) -> list[Taken]:
    """Take every bundle that waits; each is answered and removed."""
    found = []
    for path in sorted((registry.folder / INBOX).glob("*.bundle")):
        try:
            with path.open("rb") as file:
                taken = take_bundle(registry, file)
            answer: dict[str, Any] = taken.as_dict()
            found.append(taken)
        except BundleError as error:
            answer = {"error": str(error)}
        log.info("bundle taken: %s", answer.get("taken", answer.get("error")))
        new = path.with_suffix(".new")
        new.write_text(json.dumps(answer))
        new.rename(path.with_suffix(".result"))
        path.unlink()
    return found


def wait_for(inbox: Path, name: str) -> dict[str, Any]:
    """The running gateway's answer. Raises RegistryError, BundleError."""
    result = inbox / f"{name}.result"
    give_up_s = time.monotonic() + _WAIT_S
    while not result.exists():
        if time.monotonic() > give_up_s:
            raise RegistryError(f"the running gateway did not take {inbox / name}.bundle in time; see its log")
        time.sleep(_POLL_S)
    answer: dict[str, Any] = json.loads(result.read_text())
    result.unlink()
    if "error" in answer:
        raise BundleError(str(answer["error"]))
    return answer
