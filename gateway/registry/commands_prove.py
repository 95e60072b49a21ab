"""`lamppost registry prove | verify` and `lamppost identity resolve`: who is this, and how do I know."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from gateway.errors import ConfigError
from gateway.registry import opening
from gateway.registry.commands import add_store, store_of
from gateway.registry.fold import Identity
from gateway.registry.proof import prove, verify_proof
from gateway.registry.registry import Registry, RegistryError
from gateway.registry.site import read_anchor
from gateway.registry.verifying import verify

_FAILED = 1


def add_prove_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost registry prove`."""
    add_store(parser)
    parser.add_argument("name", help="an id, or a name such as label:lamp-17")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the proof goes")


def run_prove(args: argparse.Namespace) -> int:
    """Write what shows to somebody with the site's anchor alone that this identity is enrolled."""
    with opening.open_registry(store_of(args), read_only=True) as registry:
        one = only_one(registry, args.name)
        args.out.write_bytes(prove(registry, one.id))
    print(f"{args.out}: proof for {one.id}; check it with lamppost registry verify --proof {args.out} --anchor FILE")
    return 0


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost registry verify`."""
    add_store(parser)
    parser.add_argument("--proof", type=Path, metavar="FILE", help="check this proof instead of a registry")
    parser.add_argument("--anchor", type=Path, metavar="FILE", help="the anchor to check it with")
    parser.epilog = "Without --proof every signature of every log is verified, whatever the check-point says."


def run_verify(args: argparse.Namespace) -> int:
    """Check a proof, or a whole registry."""
    if args.proof is not None:
        if args.anchor is None:
            raise ConfigError("--anchor", None, "is missing; a proof is checked with the anchor of its site")
        proven = verify_proof(args.proof.read_bytes(), read_anchor(args.anchor.read_bytes()))
        signed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(proven.at_s))
        print(f"proven: {proven.identity.id} is {proven.identity.status} as of {signed}, in {proven.entries} entries")
        return 0
    with opening.open_registry(store_of(args), read_only=True) as registry:
        began_s = time.perf_counter()
        entries, problems = verify(registry)
        took_s = time.perf_counter() - began_s
        problems += registry.notices
    print(f"{entries} entries verified in {took_s:.1f} s")
    for problem in problems:
        print(f"PROBLEM  {problem}")
    return _FAILED if problems else 0


def add_resolve_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost identity resolve`."""
    add_store(parser)
    parser.add_argument("name", help="id, did:key, label:..., eui64:..., onem2m:..., kid:... or a plain label")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run_resolve(args: argparse.Namespace) -> int:
    """Print the identity object behind a name; 1 if there is none."""
    with opening.open_registry(store_of(args), read_only=True) as registry:
        found = registry.find(args.name) or registry.find(f"label:{args.name}")
    if args.json:
        print(json.dumps([one.as_dict() for one in found], indent=2))
    for one in () if args.json else found:
        for name, value in one.as_dict().items():
            print(f"{name:<12}{value}")
    if not found:
        raise RegistryError(f"nobody is enrolled under {args.name}")
    return 0


def only_one(registry: Registry, name: str) -> Identity:
    """Who the name means. Raises RegistryError if it is nobody or several."""
    found = registry.find(name) or registry.find(f"label:{name}")
    if len(found) != 1:
        raise RegistryError(f"{'nobody is' if not found else 'several are'} enrolled under {name}")
    return found[0]
