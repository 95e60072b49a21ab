"""Enrolling a node: a key pair for its name, a root key for its frames, an epoch nobody has used.

One half goes to the gateway's data folder (nodes/), the other into a bundle for the node; both hold the root key and
are for their owner's eyes only. Nothing here prints or logs a key.
"""

import argparse
import json
import os
import re
import secrets
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from drivers.link.p256 import CurveError, decompress
from gateway.database import NAME as DATABASE
from gateway.errors import GatewayError
from gateway.outbox.view import look
from gateway.status import read_status
from provisioning.identity import DEFAULT_PEN, Identity, make_private_key, private_pem, public_point
from provisioning.secret import make_secret_dir, write_secret

_FIRST_EPOCH = 1
_LAST_EPOCH = 0xFFFFFFFF
# A node opens an epoch itself whenever it loses its journal. Those nobody heard of must not be met again.
_RENEWAL_STEP = 16
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


class EnrolError(GatewayError):
    """The node is not enrolled: the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """One node's names and keys. Its repr shows no key."""

    id: str
    address: str  # 4 hex digits
    hash: str  # 64 hex digits
    alias: str
    epoch: int
    public_key: str  # compressed point, hex
    root_key: bytes = field(repr=False)
    private_key_pem: str = field(repr=False)
    gateway_file: Path

    def bundle(self) -> dict[str, object]:
        """What the node gets: all of it."""
        return {**self._for_gateway(), "private_key_pem": self.private_key_pem}

    def write_bundle(self, path: Path) -> None:
        """Write the bundle to `path`, mode 0600. Raises EnrolError if another node's bundle is there."""
        try:
            if path.exists() and _read(path).get("id") != self.id:
                raise EnrolError(f"{path} is another node's bundle or no bundle; give another file with --out")
            write_secret(path, self.bundle())
        except OSError as error:
            raise EnrolError(
                f"{path} cannot be written ({error.strerror}); run again with --renew {self.address} --out FILE"
            ) from None

    def nvs(self) -> dict[str, bytes | int]:
        """The node's NVS namespace "lamppost", in the order to write it."""
        return nvs_of(self.bundle())

    def _for_gateway(self) -> dict[str, object]:
        return {
            "id": self.id,
            "address": self.address,
            "hash": self.hash,
            "alias": self.alias,
            **({"root_key_hex": self.root_key.hex()} if self.root_key else {}),
            "epoch": self.epoch,
            "public_key": self.public_key,
            "enrolled_at_s": round(time.time()),
        }


def enrol_public(data_dir: Path, *, public_key: bytes, alias: str = "", pen: int = DEFAULT_PEN) -> Enrolment:
    """Enrol a node that was born with a key pair of its own: it joins, and no key is placed by hand.

    public_key  33 bytes, compressed, as the node told at its birth
    Raises      EnrolError
    """
    try:
        decompress(public_key)
    except CurveError as error:
        raise EnrolError(f"this is no public key of a node ({error}); copy all 66 hex digits that it printed") from None
    identity = Identity(public_key=public_key, pen=pen)
    made = Enrolment(
        id=identity.id,
        address=identity.address.hex(),
        hash=identity.hash.hex(),
        alias=alias or identity.address.hex(),
        epoch=_FIRST_EPOCH,
        public_key=public_key.hex(),
        root_key=b"",
        private_key_pem="",
        gateway_file=_gateway_file(data_dir, identity.hash.hex()),
    )
    return _written(data_dir, made)


def nvs_of_born(made: Enrolment, *, trust: bytes) -> dict[str, bytes | int]:
    """What the host writes into the NVS of a node that has its own key pair: its names, and whom it trusts."""
    return {"id": made.id.encode(), "address": bytes.fromhex(made.address), "site": trust}


def nvs_of(bundle: Mapping[str, object]) -> dict[str, bytes | int]:
    """The NVS values of a bundle, in the order to write them; what firmware/settings reads. Raises EnrolError."""
    try:
        epoch = int(str(bundle["epoch"]))
        return {
            "id": str(bundle["id"]).encode(),
            "address": bytes.fromhex(str(bundle["address"])),
            "key": bytes.fromhex(str(bundle["root_key_hex"])),
            "epoch": epoch - (1 << 32) if epoch >> 31 else epoch,  # an i32 entry holds the bits of a u32
            "seq": 0,
            "counter": 0,
        }
    except (KeyError, ValueError):
        raise EnrolError("this is no node bundle; make one with `lamppost enrol`") from None


def enrol(data_dir: Path, *, alias: str = "", pen: int = DEFAULT_PEN, renew: str | None = None) -> Enrolment:
    """Enrol a new node, or give an enrolled one a new root key and a higher epoch.

    data_dir  the gateway's; nodes/<address>-<hash>.json is written there, and is on disk when this returns
    alias     what people call the node; without it its address
    renew     id, address or alias of the node to renew. Its name and public key stay; the caller's bundle has the rest
    Raises    EnrolError
    """
    if alias and not _ALIAS.fullmatch(alias):
        raise EnrolError(f"alias {alias!r}: use 1 to 32 letters, digits, dots, hyphens or underscores")
    if not 0 < pen <= _LAST_EPOCH:
        raise EnrolError(f"pen {pen}: use your IANA private enterprise number, or leave it out")
    return _written(data_dir, _renewed(data_dir, renew, alias) if renew else _new(data_dir, alias, pen))


def _written(data_dir: Path, made: Enrolment) -> Enrolment:
    nodes = data_dir / "nodes"
    try:
        make_secret_dir(nodes)
        _refuse_taken_alias(nodes, made)
        write_secret(made.gateway_file, made._for_gateway())
    except OSError as error:
        raise EnrolError(
            f"{error.filename or nodes} cannot be written ({error.strerror}); "
            "run as the gateway's user, or give another --data-dir"
        ) from None
    return made


def find(data_dir: Path, name: str) -> dict[str, object]:
    """The enrolled node that `name` (id, address or alias) means. Raises EnrolError if none or several."""
    found = [one for one in map(_read, _files(data_dir / "nodes")) if name in (one["id"], one["address"], one["alias"])]
    if len(found) != 1:
        what = "no enrolled node" if not found else f"{len(found)} enrolled nodes; use the id:"
        known = ", ".join(str(one["id"]) for one in found or map(_read, _files(data_dir / "nodes")))
        raise EnrolError(f"{name}: {what} in {data_dir / 'nodes'} {f'({known})' if known else ''}".rstrip())
    return found[0]


def _new(data_dir: Path, alias: str, pen: int) -> Enrolment:
    key = make_private_key()
    identity = Identity(public_key=public_point(key), pen=pen)
    return Enrolment(
        id=identity.id,
        address=identity.address.hex(),
        hash=identity.hash.hex(),
        alias=alias or identity.address.hex(),
        epoch=_FIRST_EPOCH,
        public_key=identity.public_key.hex(),
        root_key=secrets.token_bytes(32),
        private_key_pem=private_pem(key),
        gateway_file=_gateway_file(data_dir, identity.hash.hex()),
    )


def _renewed(data_dir: Path, name: str, alias: str) -> Enrolment:
    old = find(data_dir, name)
    highest = max(int(str(old["epoch"])), highest_epoch_seen(data_dir, str(old["id"])))
    if highest + _RENEWAL_STEP > _LAST_EPOCH:
        raise EnrolError(f"{old['id']} has used up its epochs; enrol it as a new node")
    return Enrolment(
        id=str(old["id"]),
        address=str(old["address"]),
        hash=str(old["hash"]),
        alias=alias or str(old["alias"]),
        epoch=highest + _RENEWAL_STEP,
        public_key=str(old["public_key"]),
        root_key=secrets.token_bytes(32),
        private_key_pem="",
        gateway_file=_gateway_file(data_dir, str(old["hash"])),
    )


def highest_epoch_seen(data_dir: Path, node_id: str) -> int:
    """The highest epoch in which the gateway's database has heard the node; 0 if never. Raises StoreError."""
    if not (data_dir / DATABASE).exists():
        return 0
    seen = "SELECT epoch FROM sessions WHERE node = :node UNION SELECT epoch FROM sequences WHERE node = :node"
    with look(data_dir) as view:  # the database alone is as old as the last checkpoint
        (epoch,) = view.db.execute(f"SELECT max(epoch) FROM ({seen})", {"node": node_id}).fetchone()
    return int(epoch or 0)


def _gateway_file(data_dir: Path, node_hash: str) -> Path:
    return data_dir / "nodes" / f"{node_hash[:4]}-{node_hash[:8]}.json"


def _files(nodes: Path) -> list[Path]:
    return sorted(nodes.glob("[!.]*.json"))


def _refuse_taken_alias(nodes: Path, made: Enrolment) -> None:
    for other in map(_read, _files(nodes)):
        if other["id"] != made.id and other["alias"] == made.alias:
            raise EnrolError(f"alias {made.alias!r} is that of {other['id']}; choose another with --alias")


def _read(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text())
        for key in ("id", "address", "hash", "alias", "epoch", "public_key"):
            content[key]
    except (ValueError, KeyError, TypeError):
        raise EnrolError(f"{path} is not a node file; move it elsewhere") from None
    return dict(content)


def _tell_gateway(data_dir: Path) -> str:
    """Make a running gateway read the folder anew; what came of it, for a person."""
    status = read_status(data_dir)
    if status is None or not status.is_running:
        return "read when the gateway starts"
    try:
        os.kill(status.content["pid"], signal.SIGHUP)
    except OSError as error:
        return f"the gateway could not be told ({error.strerror}); send SIGHUP to pid {status.content['pid']}"
    return "the running gateway has been told"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost enrol`."""
    add = parser.add_argument
    add("--data-dir", type=Path, required=True, metavar="DIR", help="the gateway's data folder, as in gateway.toml")
    add("--alias", default="", metavar="NAME", help="what people call the node, e.g. lamp-17 (default: its address)")
    add("--out", type=Path, metavar="FILE", help="where the node's secrets go (default: <alias>-secret.json here)")
    add("--public-key", metavar="HEX", help="of a node with a key pair of its own, as it printed it: it will join")
    add("--renew", metavar="NODE", help="new keys for a node that lost its own: its id, address or alias")
    add("--pen", type=int, default=DEFAULT_PEN, metavar="N", help="your IANA enterprise number (default: 32473)")
    add("--json", action="store_true", help="print the result as JSON; keys are never printed")


def _run_public(args: argparse.Namespace) -> int:
    try:
        public_key = bytes.fromhex(args.public_key)
    except ValueError:
        raise EnrolError("--public-key must be the 66 hex digits that the node printed") from None
    if args.alias and not _ALIAS.fullmatch(args.alias):
        raise EnrolError(f"alias {args.alias!r}: use 1 to 32 letters, digits, dots, hyphens or underscores")
    made = enrol_public(args.data_dir, public_key=public_key, alias=args.alias, pen=args.pen)
    told = _tell_gateway(args.data_dir)
    if args.json:
        print(json.dumps({"id": made.id, "address": made.address, "alias": made.alias, "epoch": made.epoch}))
        return 0
    print(f"enrolled {made.alias}  {made.id}  address {made.address}: it joins with its own key pair")
    print(f"for the gateway: {made.gateway_file} ({told})")
    return 0


def run(args: argparse.Namespace) -> int:
    """Do what the command line says; the exit code."""
    if args.public_key is not None:
        return _run_public(args)
    planned = args.out or Path(f"{args.alias}-secret.json")
    if not args.renew and planned.exists():
        raise EnrolError(f"{planned} exists and may be a node's only key; move it, or give another file with --out")
    made = enrol(args.data_dir, alias=args.alias, pen=args.pen, renew=args.renew)
    out = args.out or Path(f"{made.alias}-secret.json")
    if args.renew and out.exists():  # the key pair is the node's name and stays
        made = replace(made, private_key_pem=str(_read(out).get("private_key_pem", "")))
    made.write_bundle(out)
    told = _tell_gateway(args.data_dir)
    if args.json:
        shown = {"id": made.id, "address": made.address, "alias": made.alias, "epoch": made.epoch}
        print(json.dumps({**shown, "gateway_file": str(made.gateway_file), "bundle": str(out)}))
        return 0
    print(
        f"{'renewed' if args.renew else 'enrolled'} {made.alias}  {made.id}  address {made.address}  epoch {made.epoch}"
    )
    print(f"for the gateway: {made.gateway_file} ({told})")
    print(f"for the node:    {out} (holds its keys: keep it secret, delete it after provisioning)")
    print(f"next:            lamppost provision --port PORT --bundle {out} --config FILE")
    return 0
