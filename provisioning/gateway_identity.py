"""A gateway's own key pair, and what the site's authority signed about it: `lamppost gateway identity`.

The private key is made here and stays in data_dir/identity.json (mode 0600); the authority gets the public one.
"""

import argparse
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from drivers.link import p256, p256_base
from gateway.errors import GatewayError
from gateway.identity.own import FILE, read_own
from provisioning.secret import make_secret_dir, write_secret


class IdentityError(GatewayError):
    """The gateway's identity is not as it should be: the message says what to do."""


def public_key_of(data_dir: Path) -> bytes:
    """The gateway's public key (33 bytes); its key pair is made if there is none. Raises IdentityError."""
    table = _read(data_dir)
    if not table:
        if not data_dir.is_dir():
            make_secret_dir(data_dir)
        table = {"private_key_hex": p256.to_octets(1 + secrets.randbelow(p256.N - 1)).hex()}
        _write(data_dir, table)
    try:
        return bytes(p256.compress(p256_base.public(p256.scalar(bytes.fromhex(str(table["private_key_hex"]))))))
    except (KeyError, ValueError, p256.CurveError):
        raise IdentityError(f"{data_dir / FILE} holds no key; move it away, and have the old key revoked") from None


def install(data_dir: Path, *, site_key: bytes, entry: bytes, gateway_list: bytes, keys: Mapping[int, bytes]) -> None:
    """Keep what the authority signed for this gateway; a running one takes it up by itself.

    site_key      33 bytes, the one that signed entry and list
    entry         provisioning.gateway_list.sign_gateway_entry, for public_key_of(data_dir)
    gateway_list  sign_gateway_list
    keys          by the generation it succeeds: sign_next_key; the last one is `site_key`
    Raises        IdentityError; then nothing is changed
    """
    public_key_of(data_dir)
    before = _read(data_dir)
    table: dict[str, object] = {
        "private_key_hex": before["private_key_hex"],
        "site_key": site_key.hex(),
        "generation": max(keys, default=0) + 1,
        "entry": entry.hex(),
        "list": gateway_list.hex(),
        "keys": {str(generation): signed.hex() for generation, signed in keys.items()},
    }
    trial = data_dir / f".{FILE}.trial"
    try:
        write_secret(trial, table)
        read_own(trial)
        trial.replace(data_dir / FILE)
    except OSError as error:
        raise IdentityError(f"{data_dir}: cannot be written ({error.strerror}); run as the gateway's user") from None
    except ValueError as error:
        raise IdentityError(f"not installed: {error}") from None
    finally:
        trial.unlink(missing_ok=True)


def _read(data_dir: Path) -> dict[str, object]:
    try:
        found = json.loads((data_dir / FILE).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise IdentityError(f"{data_dir / FILE} cannot be read ({error}); move it away, have the key revoked") from None
    return dict(found)


def _write(data_dir: Path, table: Mapping[str, object]) -> None:
    try:
        write_secret(data_dir / FILE, table)
    except OSError as error:
        raise IdentityError(f"{data_dir}: cannot be written ({error.strerror}); run as the gateway's user") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost gateway identity`."""
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="as in gateway.toml")
    parser.add_argument("--json", action="store_true", help="print the public key as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the gateway's public key, for the authority to sign its entry; 0."""
    public = public_key_of(args.data_dir).hex()
    print(json.dumps({"public_key": public}) if args.json else public)
    return 0
