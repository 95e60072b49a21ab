"""The site's authority: a folder with its key, its log, and the anchor that everybody else gets.

`init` makes it, `export` gives away what is public; what the authority says in between is in authority_say.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.config_rules import require_name
from gateway.errors import ConfigError
from gateway.identity.cose import Signer
from gateway.registry import opening
from gateway.registry import statement as st
from gateway.registry.bundle import write_bundle
from gateway.registry.registry import Registry, RegistryError
from gateway.registry.site import Anchor
from gateway.registry.statement import Draft
from provisioning.authority_key import (
    KEY_FILE,
    RECOVERY_FILE,
    WHERE,
    KeyStoreError,
    TokenSigner,
    ask_secret,
    authority_signer,
    make_file_key,
    make_token_key,
    open_token,
)
from provisioning.secret import make_secret_dir, write_secret

STORE = "registry"
HOME = Path("authority")


def add_home(parser: argparse.ArgumentParser) -> None:
    """--home and where the secret comes from: the same for every command of the authority."""
    parser.add_argument("--home", type=Path, default=HOME, metavar="DIR", help="the authority's folder (./authority)")
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="file with its passphrase or PIN (default: asks)"
    )


@contextmanager
def open_authority(args: argparse.Namespace) -> Iterator[tuple[Registry, Signer]]:
    """Its registry and its key."""
    with authority_signer(args.home, args.passphrase_file) as signer:
        with opening.open_registry(args.home / STORE) as registry:
            yield registry, signer


def add_init_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost authority init`."""
    add_home(parser)
    add = parser.add_argument
    add("--site", required=True, metavar="NAME", help="the site's name, as in gateway.toml")
    add("--recovery-passphrase-file", type=Path, metavar="FILE", help="passphrase of the recovery key (default: asks)")
    add("--pkcs11-module", metavar="PATH", help="keep the key in a token: the module's library")
    add("--pkcs11-token", metavar="LABEL", help="label of the token")
    add("--pkcs11-key", metavar="LABEL", default="lamppost-authority", help="label of the key in it")


def run_init(args: argparse.Namespace) -> int:
    """Make keys, log and anchor."""
    require_name("site", args.site)
    if (args.home / WHERE).exists():
        raise KeyStoreError(f"{args.home} is an authority's folder already")
    make_secret_dir(args.home)
    with _new_signer(args) as signer:
        recovery = make_file_key(
            args.home / RECOVERY_FILE,
            ask_secret("passphrase of the recovery key", args.recovery_passphrase_file, twice=True),
        )
        anchor = Anchor(site=args.site, key=signer.public, recovery=recovery.public)
        make_secret_dir(args.home / STORE)
        opening.make_holder(args.home / STORE)
        opening.create(args.home / STORE, anchor.encode(), me=f"{args.site}/{st.AUTHORITY}")
        with opening.open_registry(args.home / STORE) as registry:
            keys = {"key": signer.public.cose_key(), "recovery": recovery.public.cose_key()}
            registry.append([Draft(kind=st.SITE_KEY, subject=args.site, fields=keys)], signer)
    print(f"authority of {args.site} in {args.home}")
    print(f"site key:    {signer.public.fingerprint()}")
    print(
        f"next:        move {args.home / RECOVERY_FILE} to another place; it replaces a lost key and does nothing else"
    )
    print("             lamppost authority export --anchor anchor.cbor   (for gateways; compare the site key by eye)")
    return 0


@contextmanager
def _new_signer(args: argparse.Namespace) -> Iterator[Signer]:
    if args.pkcs11_module is None:
        secret = ask_secret("new passphrase of the authority", args.passphrase_file, twice=True)
        signer = make_file_key(args.home / KEY_FILE, secret)
        write_secret(args.home / WHERE, {"version": 1, "kind": "file", "file": KEY_FILE})
        yield signer
        return
    if args.pkcs11_token is None:
        raise ConfigError("--pkcs11-token", None, "is missing; name the token that shall hold the key")
    with open_token(args.pkcs11_module, args.pkcs11_token, ask_secret("PIN of the token", args.passphrase_file)) as one:
        make_token_key(one, args.pkcs11_key)
        where = {"module": args.pkcs11_module, "token": args.pkcs11_token, "label": args.pkcs11_key}
        write_secret(args.home / WHERE, {"version": 1, "kind": "pkcs11", **where})
        yield TokenSigner(one, args.pkcs11_key)


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost authority export`."""
    add_home(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write a bundle of the whole registry, for gateways")
    parser.add_argument("--only-authority", action="store_true", help="leave the gateways' logs out, for another city")
    parser.add_argument("--anchor", type=Path, metavar="FILE", help="write the site's anchor")


def run_export(args: argparse.Namespace) -> int:
    """Write what others need. The bundle has a head signed now, which tells gateways that the authority is alive."""
    if args.out is None and args.anchor is None:
        raise ConfigError("--out", None, "is missing; say where the bundle goes, or give --anchor")
    if args.anchor is not None:
        with opening.open_registry(args.home / STORE, read_only=True) as registry:
            args.anchor.write_bytes(registry.site.anchor.encode())
        print(f"anchor: {args.anchor} (holds nothing secret)")
    if args.out is not None:
        with open_authority(args) as (registry, signer):
            registry.refresh_head(signer)
            only = registry.me if args.only_authority else None
            entries = write_bundle(registry, args.out, only=only)
        print(
            f"bundle: {args.out} ({entries} entries; take it to a gateway: lamppost registry sync --import {args.out})"
        )
    return 0


def say(args: argparse.Namespace, drafts: Sequence[Draft], *, head_signer: Signer | None = None) -> int:
    """Put these into the authority's log. Returns its size."""
    with open_authority(args) as (registry, signer):
        return registry.append(drafts, signer, head_signer=head_signer)


def known_id(args: argparse.Namespace, name: str) -> str:
    """The id that a name (id, "label:...", "eui64:...", plain label) means. Raises RegistryError if not exactly one."""
    with opening.open_registry(args.home / STORE, read_only=True) as registry:
        found = registry.find(name) or registry.find(f"label:{name}")
    if len(found) != 1:
        what = "nobody is enrolled under" if not found else "several are enrolled under"
        raise RegistryError(f"{what} {name}; see lamppost registry show --store {args.home / STORE} --identities")
    return found[0].id


def days_from_now(days: int) -> tuple[int, int]:
    """(from_s, until_s) of an endorsement made now."""
    now_s = int(time.time())
    return now_s - 300, now_s + days * 86_400  # a gateway's clock may be a little late


def read_json(path: Path) -> dict[str, object]:
    """A JSON object in a file. Raises ConfigError."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), None, f"cannot be read ({error.strerror})") from None
    except ValueError:
        raise ConfigError(str(path), None, "is not JSON") from None
    if not isinstance(table, dict):
        raise ConfigError(str(path), None, "is not a JSON object")
    return table
