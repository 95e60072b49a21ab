"""What the authority says of nodes, devices and gateways: issue, endorse, suspend, revoke, transfer, rotate."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.errors import ConfigError
from gateway.identity.cose import CoseError, KeySigner, PublicKey, Signer
from gateway.identity.names import compressed, device_id
from gateway.registry import opening
from gateway.registry import statement as st
from gateway.registry.keys import load_key
from gateway.registry.registry import Registry, RegistryError
from gateway.registry.request import read_request
from gateway.registry.statement import ALIAS_SCHEMES, Draft
from provisioning.authority import STORE, add_home, days_from_now, known_id, open_authority, read_json, say
from provisioning.authority_key import ALGORITHMS, KEY_FILE, WHERE, ask_secret, make_file_key
from provisioning.identity import DEFAULT_PEN
from provisioning.secret import write_secret

_KID_LEN = 4


def add_issue_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost authority issue`."""
    add_home(parser)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--node", type=Path, metavar="FILE", help="a node's file or bundle, made by `lamppost enrol`")
    what.add_argument("--public-key", metavar="HEX", help="a node's compressed public point")
    what.add_argument("--certificate", type=Path, metavar="PEM", help="an MQTT device's certificate (P-256)")
    what.add_argument("--batch", type=Path, metavar="FILE", help="one JSON object per line, with the options as keys")
    what.add_argument(
        "--gateway", type=Path, metavar="FILE", help="a gateway's request, made by `lamppost registry init`"
    )
    add("--zone", default="site", help="the zone it belongs to; policies speak of zones")
    add("--label", help="what people call it")
    add("--eui64", help="its EUI-64")
    add("--onem2m", help="its oneM2M id")
    add("--kid", metavar="HEX", help="the short name of its key (default: the first 4 bytes of its hash)")
    add("--pen", type=int, default=DEFAULT_PEN, help="your IANA enterprise number")
    add("--days", type=int, metavar="N", help="endorse it for so many days as well")


def run_issue(args: argparse.Namespace) -> int:
    """Enrol nodes, a device or a gateway."""
    if args.gateway is not None:
        return _issue_gateway(args)
    drafts = [draft for row in _rows(args) for draft in _enrolment(row)]
    size = say(args, drafts)
    told = [draft for draft in drafts if draft.kind == st.ENROL]
    for draft in told[:10]:
        print(f"enrolled {draft.subject}  kid {draft.fields['kid'].hex()}  zone {draft.fields['zone']}")
    if len(told) > 10:
        print(f"... and {len(told) - 10} more")
    print(f"log: {size} entries; next: lamppost authority export --out FILE")
    return 0


def _rows(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    options = {name: getattr(args, name) for name in ("zone", "label", "eui64", "onem2m", "kid", "pen", "days")}
    if args.batch is not None:
        for number, line in enumerate(args.batch.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                yield {**options, **row}
            except (ValueError, TypeError):
                raise ConfigError(f"{args.batch}:{number}", None, "is no JSON object") from None
        return
    if args.node is not None:
        table = read_json(args.node)
        label = args.label or table.get("alias")
        yield {
            **options,
            "public_key": table.get("public_key"),
            "label": label,
            "epoch": table.get("epoch"),
            "id": table.get("id"),
        }
    elif args.certificate is not None:
        yield {**options, "public_key": point_of_certificate(args.certificate).hex()}
    else:
        yield {**options, "public_key": args.public_key}


def _enrolment(row: Mapping[str, Any]) -> list[Draft]:
    key = public_key("public_key", row.get("public_key"))
    point = compressed(key.raw)
    subject = row.get("id") or device_id(point, int(row.get("pen") or DEFAULT_PEN))
    aliases = {scheme: str(row[scheme]) for scheme in ALIAS_SCHEMES if row.get(scheme)}
    kid = bytes.fromhex(row["kid"]) if row.get("kid") else _default_kid(point)
    fields: dict[str, Any] = {
        "key": key.cose_key(),
        "kid": kid,
        "zone": str(row.get("zone") or "site"),
        "aliases": aliases,
    }
    if row.get("epoch"):
        fields["epoch"] = int(row["epoch"])
    drafts = [Draft(kind=st.ENROL, subject=str(subject), fields=fields)]
    if row.get("days"):
        drafts.append(_endorsement(str(subject), int(row["days"])))
    return drafts


def _default_kid(point: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(point).digest()[:_KID_LEN]


def _endorsement(subject: str, days: int, by: str | None = None) -> Draft:
    from_s, until_s = days_from_now(days)
    fields = {"from_s": from_s, "until_s": until_s} | ({"by": by} if by else {})
    return Draft(kind=st.ENDORSE, subject=subject, fields=fields)


def public_key(option: str, text: object) -> PublicKey:
    """A P-256 key from the hex of its point. Raises ConfigError."""
    try:
        point = bytes.fromhex(str(text))
        return PublicKey.of(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
    except (ValueError, CoseError):
        raise ConfigError(option, None, "must be the hex of a P-256 point, 33 or 65 bytes") from None


def point_of_certificate(path: Path) -> bytes:
    """The compressed point of a certificate's key. Raises ConfigError."""
    try:
        key = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
    except (OSError, ValueError):
        raise ConfigError("--certificate", path, "is no certificate in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError("--certificate", path, "has no P-256 key; identities are named after P-256 keys")
    return compressed(key)


def _issue_gateway(args: argparse.Namespace) -> int:
    request = read_request(args.gateway.read_bytes())
    with open_authority(args) as (registry, signer):
        known = registry.site.gateways.get(request.writer)
        first = registry.writer(request.writer).size if known else 0
        fields = {"key": request.key, "from": first} | ({"edhoc_key": request.edhoc_key} if request.edhoc_key else {})
        registry.append([Draft(kind=st.GATEWAY, subject=request.writer, fields=fields)], signer)
    print(f"gateway {request.writer} {'has a new key' if known else 'is enrolled'}: {request.fingerprint}")
    return 0


def add_about_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of suspend, revoke and unrevoke."""
    add_home(parser)
    parser.add_argument("name", help="id or label of a node or device; with --gateway the gateway's name")
    parser.add_argument("--reason", help="why; everybody who syncs can read it")


def add_revoke_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost authority revoke`."""
    add_about_arguments(parser)
    parser.add_argument(
        "--gateway", action="store_true", help="revoke a gateway: what it says from now on counts no more"
    )


def run_suspend(args: argparse.Namespace) -> int:
    """Suspend until un-revoked."""
    return _about(args, st.SUSPEND)


def run_revoke(args: argparse.Namespace) -> int:
    """Revoke an identity, or a gateway."""
    if not args.gateway:
        return _about(args, st.REVOKE)
    with open_authority(args) as (registry, signer):
        writer = f"{registry.site.anchor.site}/{args.name}"
        if writer not in registry.site.gateways:
            known = ", ".join(one.partition("/")[2] for one in registry.site.gateways) or "none"
            raise RegistryError(f"{args.name} is no gateway of this site; known: {known}")
        limit = registry.writer(writer).size
        fields = {"limit": limit} | ({"reason": args.reason} if args.reason else {})
        registry.append([Draft(kind=st.GATEWAY_REVOKE, subject=writer, fields=fields)], signer)
    print(f"revoked gateway {writer}; the {limit} entries of its log that are here still count")
    return 0


def run_unrevoke(args: argparse.Namespace) -> int:
    """Lift revocation, suspension and what gateways said so far."""
    subject = known_id(args, args.name)
    with opening.open_registry(args.home / STORE, read_only=True) as registry:
        lifts = registry.lifts_of(subject)
    return _about(args, st.UNREVOKE, **({"lifts": lifts} if lifts else {}))


def _about(args: argparse.Namespace, kind: int, **more: Any) -> int:
    subject = known_id(args, args.name)
    fields = {**more, **({"reason": args.reason} if args.reason else {})}
    say(args, [Draft(kind=kind, subject=subject, fields=fields)])
    print(f"{st.name_of(kind)} {subject}; next: lamppost authority export --out FILE")
    return 0


def add_endorse_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost authority endorse`."""
    add_home(parser)
    parser.add_argument("name", help="id or label")
    parser.add_argument("--days", type=int, default=365, help="for how long (365)")
    parser.add_argument("--by", help="who looked at it")


def run_endorse(args: argparse.Namespace) -> int:
    """Say that the holder of this key is what it says, for so many days."""
    subject = known_id(args, args.name)
    say(args, [_endorsement(subject, args.days, args.by)])
    print(f"endorsed {subject} for {args.days} days")
    return 0


def add_transfer_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost authority transfer`."""
    add_home(parser)
    parser.add_argument("name", help="id or label")
    parser.add_argument("--zone", help="move it to another zone of this site")
    parser.add_argument("--to-site", metavar="SITE", help="give it away: this site admits it no more on its own word")


def run_transfer(args: argparse.Namespace) -> int:
    """Move an identity to another zone or another site."""
    if (args.zone is None) == (args.to_site is None):
        raise ConfigError("--zone", None, "or --to-site: give one of them")
    subject = known_id(args, args.name)
    fields = {"zone": args.zone} if args.zone else {"to_site": args.to_site}
    say(args, [Draft(kind=st.TRANSFER, subject=subject, fields=fields)])
    print(f"transferred {subject} to {args.zone or args.to_site}")
    return 0


def add_rotate_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost authority rotate`."""
    add_home(parser)
    parser.add_argument("name", nargs="?", help="id or label of the node whose key is new")
    parser.add_argument(
        "--request", type=Path, metavar="FILE", help='JSON: "public_key", "proof", and "kid" if it is new'
    )
    parser.add_argument(
        "--site-key", action="store_true", help="roll the site's own key over; asks for a new passphrase"
    )
    parser.add_argument(
        "--algorithm", choices=ALGORITHMS, default=ALGORITHMS[0], help="of the new site key; nodes know ES256 only"
    )
    parser.add_argument("--recovery-key", type=Path, metavar="FILE", help="sign with it, because the site key is lost")
    parser.add_argument("--recovery-passphrase-file", type=Path, metavar="FILE", help="its passphrase (default: asks)")
    parser.add_argument(
        "--new-passphrase-file", type=Path, metavar="FILE", help="passphrase of the new key (default: asks)"
    )


def run_rotate(args: argparse.Namespace) -> int:
    """A new key for a node (signed by its old one) or for the site (signed by its old one, or the recovery key)."""
    if args.site_key:
        return _roll_over(args)
    if args.name is None or args.request is None:
        raise ConfigError("--request", None, "is missing; give a node's name and its request, or --site-key")
    subject, table = known_id(args, args.name), read_json(args.request)
    key = public_key("public_key", table.get("public_key"))
    kid = bytes.fromhex(str(table["kid"])) if table.get("kid") else _default_kid(compressed(key.raw))
    fields = {"key": key.cose_key(), "kid": kid, "proof": bytes.fromhex(str(table.get("proof", "")))}
    say(args, [Draft(kind=st.ROTATE, subject=subject, fields=fields)])
    print(f"{subject} has a new key, kid {kid.hex()}; its name stays")
    return 0


def _roll_over(args: argparse.Namespace) -> int:
    """The new key lies beside the old one until the log says that it counts; then it takes its place."""
    new_file = args.home / f"{KEY_FILE}.new"
    if new_file.exists():
        raise RegistryError(f"{new_file} is left from an earlier try; move it away first")
    lost = None
    if args.recovery_key is not None:
        lost = load_key(
            args.recovery_key, passphrase=ask_secret("passphrase of the recovery key", args.recovery_passphrase_file)
        )
    secret = ask_secret("passphrase of the new key", args.new_passphrase_file, twice=True)
    if lost is not None:
        with opening.open_registry(args.home / STORE) as registry:
            new = _say_new_key(registry, lost, new_file, secret, args.algorithm)
    else:
        with open_authority(args) as (registry, signer):
            new = _say_new_key(registry, signer, new_file, secret, args.algorithm)
    new_file.rename(args.home / KEY_FILE)
    write_secret(args.home / WHERE, {"version": 1, "kind": "file", "file": KEY_FILE})
    print(f"site key:    {new.public.fingerprint()}")
    print("next:        lamppost authority export --out FILE; gateways and nodes follow by themselves")
    return 0


def _say_new_key(registry: Registry, signer: Signer, new_file: Path, secret: bytes, algorithm: str) -> KeySigner:
    recovery = registry.site.keys_at(registry.site.authority, registry.own().size)[-1]
    new = make_file_key(new_file, secret, algorithm=algorithm)
    keys = {"key": new.public.cose_key(), "recovery": recovery.cose_key()}
    draft = Draft(kind=st.SITE_KEY, subject=registry.site.anchor.site, fields=keys)
    try:
        registry.append([draft], signer, head_signer=new)
    except BaseException:
        new_file.unlink()
        raise
    return new
