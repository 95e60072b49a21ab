"""`lamppost registry init | show | sync`: a gateway's registry from the command line, also beside a running gateway."""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config_rules import require_name
from gateway.database import make_durable_dir
from gateway.errors import ConfigError
from gateway.identity.cose import CoseError, PublicKey
from gateway.registry import opening
from gateway.registry.bundle import take_bundle, write_bundle
from gateway.registry.inbox import put, suspend, wait_for
from gateway.registry.registry import Registry, RegistryBusy, RegistryError
from gateway.registry.request import make_request
from gateway.registry.site import read_anchor
from gateway.status import read_status

STORE = "registry"
_FAILED = 1


def add_store(parser: argparse.ArgumentParser) -> None:
    """Which registry."""
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="the gateway's data folder; its registry is in registry/"
    )
    parser.add_argument("--store", type=Path, metavar="DIR", help="the registry's folder itself")


def store_of(args: argparse.Namespace) -> Path:
    """Its folder. Raises ConfigError if the command line names none."""
    if args.store is not None:
        return Path(args.store)
    if args.data_dir is None:
        raise ConfigError("--data-dir", None, "is missing; give the gateway's data folder, or --store")
    return Path(args.data_dir) / STORE


def add_init_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost registry init`."""
    add_store(parser)
    add = parser.add_argument
    add("--anchor", type=Path, required=True, metavar="FILE", help="made by `lamppost authority export --anchor`")
    add("--gateway", required=True, metavar="NAME", help="the gateway's id, as in gateway.toml")
    add("--edhoc-public-key", metavar="HEX", help="the point of the key by which nodes join, to be enrolled with it")
    add("--request", type=Path, required=True, metavar="FILE", help="where the request for the authority goes")


def run_init(args: argparse.Namespace) -> int:
    """Make a gateway's registry and its keys; what the authority must see goes into the request."""
    require_name("--gateway", args.gateway)
    folder, data = store_of(args), args.anchor.read_bytes()
    anchor = read_anchor(data)
    writer = f"{anchor.site}/{args.gateway}"
    make_durable_dir(folder)
    holder = opening.make_holder(folder)
    opening.create(folder, data, me=writer)
    args.request.write_bytes(make_request(writer, holder, edhoc_key=_edhoc_key(args.edhoc_public_key)))
    print(f"registry of {writer} in {folder}")
    print(f"site key:    {anchor.key.fingerprint()} (compare with what the authority prints)")
    print(f"gateway key: {holder.public.fingerprint()}")
    print(f"next:        lamppost authority issue --gateway {args.request}, then sync its bundle here")
    return 0


def _edhoc_key(text: str | None) -> dict[int, Any] | None:
    if text is None:
        return None
    try:
        return PublicKey.of(
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(text))
        ).cose_key()
    except (ValueError, CoseError):
        raise ConfigError("--edhoc-public-key", None, "must be the hex of a P-256 point") from None


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost registry show`."""
    add_store(parser)
    parser.add_argument("--identities", action="store_true", help="list every identity")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run_show(args: argparse.Namespace) -> int:
    """Print what the registry holds; 1 if something in it needs a person."""
    with opening.open_registry(store_of(args), read_only=True) as registry:
        shown = overview(registry, with_identities=args.identities)
    if args.json:
        print(json.dumps(shown, indent=2))
    else:
        print("\n".join(_lines(shown)))
    return _FAILED if shown["problems"] else 0


def overview(registry: Registry, *, with_identities: bool = False) -> dict[str, Any]:
    """What the registry holds, for JSON."""
    site = registry.site
    counts: Counter[str] = Counter()
    listed = []
    for one in registry.identities():
        counts[one.status] += 1
        if with_identities:
            listed.append(one.as_dict())
    heard_at_s = registry.authority_heard_at_s()
    return {
        "site": site.anchor.site,
        "writer": registry.me,
        "state_digest": registry.state_digest(),
        "heads": {writer: {"entries": size, "root": root.hex()} for writer, (size, root) in registry.heads().items()},
        "identities": dict(counts),
        "gateways": {one.writer: "revoked" if one.is_revoked else "enrolled" for one in site.gateways.values()},
        "other_sites": site.domains[1:],
        "policy": dict(site.policy) if site.policy is not None else None,
        "authority_heard_at_s": heard_at_s,
        "authority_age_s": None if heard_at_s is None else max(0, int(time.time()) - heard_at_s),
        "problems": [*registry.forked.values(), *registry.notices],
        **({"list": listed} if with_identities else {}),
    }


def _lines(shown: Mapping[str, Any]) -> Iterator[str]:
    yield f"site {shown['site']}, held by {shown['writer'] or 'a reader'}; state {shown['state_digest'][:16]}"
    for writer, head in shown["heads"].items():
        yield f"log {writer}: {head['entries']} entries, root {head['root'][:16]}"
    counts = ", ".join(f"{count} {status}" for status, count in sorted(shown["identities"].items()))
    yield f"identities: {counts or 'none'}"
    for writer, state in shown["gateways"].items():
        yield f"gateway {writer}: {state}"
    for site in shown["other_sites"]:
        yield f"other site trusted: {site}"
    yield f"policy: {'in force' if shown['policy'] is not None else 'none; everybody enrolled may do everything'}"
    age_s = shown["authority_age_s"]
    yield f"authority: {'never heard' if age_s is None else f'last signed {age_s} s ago'}"
    for one in shown.get("list", ()):
        label = one["aliases"].get("label", "")
        yield f"{one['status']:<12}{one['id']}  {label}  zone {one['zone']}  kid {one['kid']}  {one['why']}".rstrip()
    for problem in shown["problems"]:
        yield f"PROBLEM  {problem}"


def add_sync_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost registry sync`."""
    add_store(parser)
    add = parser.add_argument
    add("--import", dest="imports", type=Path, action="append", default=[], metavar="FILE", help="take this bundle")
    add("--export", type=Path, metavar="FILE", help="write a bundle of all logs")
    add("--only", metavar="WRITER", help="export this writer's log only")
    add("--json", action="store_true", help="print as JSON")
    parser.epilog = "Exit code 1 if something in a bundle was refused or shows a fault; what was right is taken."


def run_sync(args: argparse.Namespace) -> int:
    """Carry logs by file. A running gateway takes a bundle itself, at once."""
    folder = store_of(args)
    if not args.imports and args.export is None:
        raise ConfigError("--import", None, "is missing; give a bundle to take, or --export FILE")
    results = [_import(folder, path) for path in args.imports]
    if args.export is not None:
        entries = _export(folder, args.export, args.only)
        if not args.json:
            print(f"{args.export}: {entries} entries")
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            print(f"taken: {result['taken']} entries, from {result['sender'] or 'an unknown holder'}")
            for one in result["problems"]:
                print(f"REFUSED  {one['writer']}: {one['problem']}: {one['detail']}")
    return _FAILED if any(one["problems"] for one in results) else 0


def _import(folder: Path, path: Path) -> dict[str, Any]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigError("--import", path, f"cannot be read ({error.strerror})") from None
    with file:
        try:
            with opening.open_registry(folder) as registry:
                return take_bundle(registry, file).as_dict()
        except RegistryBusy:
            return _hand_over(folder, path.read_bytes(), "bundle")


def _hand_over(folder: Path, content: bytes, suffix: str) -> dict[str, Any]:
    """A gateway runs here: it takes this from its inbox."""
    name = f"{time.time_ns()}-{os.getpid()}"
    inbox = put(folder, f"{name}.{suffix}", content)
    status = read_status(folder.parent)
    if status is not None and status.is_running:
        os.kill(status.content["pid"], signal.SIGHUP)
    return wait_for(inbox, name)


def add_suspend_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost registry suspend`."""
    add_store(parser)
    parser.add_argument("names", nargs="*", help="ids or labels")
    parser.add_argument("--file", type=Path, metavar="FILE", help="more of them, one a line")
    parser.add_argument("--reason", default="", help="why; everybody who syncs can read it")


def run_suspend(args: argparse.Namespace) -> int:
    """Refuse these here at once, and wherever this gateway's log gets to, until the authority lifts it."""
    folder = store_of(args)
    names = [*args.names, *(args.file.read_text(encoding="utf-8").split() if args.file else ())]
    with opening.open_registry(folder, read_only=True) as registry:
        subjects = [_id_of(registry, name) for name in names]
    try:
        with opening.open_registry(folder) as registry:
            count = suspend(registry, subjects, args.reason)
    except RegistryBusy:
        content = json.dumps({"subjects": subjects, "reason": args.reason}).encode()
        count = _hand_over(folder, content, "suspend")["taken"]
    print(f"suspended: {count}; only the authority can lift it")
    return 0


def _id_of(registry: Registry, name: str) -> str:
    if name.startswith("urn:"):
        return name  # it may be known to others only
    found = registry.find(f"label:{name}")
    if len(found) != 1:
        raise RegistryError(f"{'nobody is' if not found else 'several are'} enrolled under {name}; give the id")
    return found[0].id


def _export(folder: Path, path: Path, only: str | None) -> int:
    """With a head signed now, if nobody else writes: that is how others would notice a rolled-back image."""
    with _writable_or_not(folder) as (registry, can_write):
        if can_write and registry.me is not None and not _is_authority(registry):
            registry.refresh_head(registry.holder)
        return write_bundle(registry, path, only=only)


@contextmanager
def _writable_or_not(folder: Path) -> Iterator[tuple[Registry, bool]]:
    try:
        with opening.open_registry(folder) as registry:
            yield registry, True
    except RegistryBusy:
        with opening.open_registry(folder, read_only=True) as registry:
            yield registry, False


def _is_authority(registry: Registry) -> bool:
    return registry.me == registry.site.authority
