"""What the authority decides for the whole site: its policy, and which other sites it trusts."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

from gateway.errors import ConfigError
from gateway.identity.policy import read_policy
from gateway.registry import statement as st
from gateway.registry.site import read_anchor
from gateway.registry.statement import Draft
from provisioning.authority import add_home, say


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost authority policy`."""
    add_home(parser)
    parser.add_argument("file", type=Path, metavar="POLICY.toml", help="see docs/security.md, Policy")


def run_policy(args: argparse.Namespace) -> int:
    """Sign a policy; gateways follow it as soon as they have it."""
    try:
        table = tomllib.loads(args.file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(args.file), None, f"cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(args.file), None, f"is not TOML: {error}") from None
    policy = read_policy(table)
    size = say(args, [Draft(kind=st.POLICY, subject="policy", fields={"policy": table})])
    print(f"policy of {len(policy.rules)} rules is entry {size - 1}; what no rule allows is refused")
    return 0


def add_anchor_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost authority anchor`."""
    add_home(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--import", dest="file", type=Path, metavar="FILE", help="the other site's anchor")
    what.add_argument("--remove", metavar="SITE", help="trust it no longer")
    parser.add_argument("--reason", help="why")


def run_anchor(args: argparse.Namespace) -> int:
    """Trust another site's authority for its own nodes, within our policy; or no longer."""
    why = {"reason": args.reason} if args.reason else {}
    if args.file is None:
        say(args, [Draft(kind=st.ANCHOR_REMOVE, subject=args.remove, fields=why)])
        print(f"{args.remove} is trusted no longer")
        return 0
    anchor = read_anchor(args.file.read_bytes())
    keys = {"key": anchor.key.cose_key(), "recovery": anchor.recovery.cose_key()}
    say(args, [Draft(kind=st.ANCHOR, subject=anchor.site, fields=keys)])
    print(f"{anchor.site} is trusted, with the key {anchor.key.fingerprint()}; compare it with them by eye")
    return 0
