"""Measures the site registry: cold start, look-up, memory, append, full verification, for many identities.

Run: python -m tools.bench_registry [--identities 100000] [--folder DIR]. A folder that is kept is not filled again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.identity.cose import KeySigner, PublicKey, parse, to_be_signed
from gateway.identity.merkle import leaf_hash
from gateway.identity.names import compressed, device_id
from gateway.registry import opening
from gateway.registry import statement as st
from gateway.registry.keys import load_key, make_key
from gateway.registry.site import Anchor
from gateway.registry.statement import STATEMENT_CONTEXT, Draft
from gateway.registry.verifying import doubtful_of, verify

_BATCH = 256


def fill(folder: Path, identities: int) -> None:
    """Make a registry with so many enrolled nodes."""
    folder.mkdir(parents=True, exist_ok=True)
    key = make_key(folder / "site.key")
    anchor = Anchor(site="bench", key=key.public, recovery=key.public)
    opening.make_holder(folder)
    opening.create(folder, anchor.encode(), me="bench/authority")
    with opening.open_registry(folder) as registry:
        keys = {"key": key.public.cose_key(), "recovery": key.public.cose_key()}
        registry.append([Draft(kind=st.SITE_KEY, subject="bench", fields=keys)], key)
        for at in range(0, identities, _BATCH):
            registry.append([_enrolment(n) for n in range(at, min(at + _BATCH, identities))], key)
            opening.save_if_due(registry)


def _enrolment(number: int) -> Draft:
    public = KeySigner(ec.generate_private_key(ec.SECP256R1())).public
    point = compressed(public.raw)
    aliases = {"label": f"lamp-{number}", "eui64": f"70b3d57e{number:08x}"}
    fields = {"key": public.cose_key(), "kid": point[1:5], "zone": f"zone-{number % 50}", "aliases": aliases}
    return Draft(kind=st.ENROL, subject=device_id(point, 32473), fields=fields)


def measure(folder: Path) -> dict[str, float]:
    """In a process of its own, so that memory is that of a gateway: start, look up, append."""
    started_s = time.perf_counter()
    with opening.open_registry(folder) as registry:
        found = {"cold_start_s": time.perf_counter() - started_s, "identities": float(registry.index.count())}
        labels = [f"label:lamp-{random.randrange(int(found['identities']))}" for _ in range(3000)]
        known = [registry.find(one)[0] for one in labels]
        found["lookup_label_p95_ms"] = _p95_ms(registry.find, labels)
        found["lookup_id_p95_ms"] = _p95_ms(registry.identity, [one.id for one in known])
        found["lookup_kid_p95_ms"] = _p95_ms(registry.by_kid, [one.kid for one in known])
        key = load_key(folder / "site.key")
        drafts = [Draft(kind=st.SUSPEND, subject=one.id, fields={}) for one in known[:200]]
        found["append_p95_ms"] = _p95_ms(lambda draft: registry.append([draft], key), drafts)
        found["fdatasync_alone_p95_ms"] = _p95_ms(lambda at: _sync_write(folder / "probe", at), range(200))
        found["rss_mib"] = _rss_mib("VmRSS")
        found["rss_peak_mib"] = _rss_mib("VmHWM")
    return found


def measure_verify(folder: Path, *, most: int = 20_000) -> dict[str, float]:
    """Full verification on every processor by the wall, and on one against the library alone, taking turns."""
    with opening.open_registry(folder, read_only=True) as registry:
        began_s = time.perf_counter()
        entries, problems = verify(registry)
        found = {"verified": float(entries), "problems": float(len(problems))}
        found["verify_per_s"] = entries / (time.perf_counter() - began_s)
        key = load_key(folder / "site.key").public
        ours_s, library_s, count = 0.0, 0.0, 0
        for piece in registry.own().pieces():
            count += len(piece.entries)
            began_s = _cpu_s()
            doubtful_of(piece.writer, piece.start, list(piece.entries), key.cose_key())
            for signed in piece.entries:
                leaf_hash(signed)
            ours_s += _cpu_s() - began_s
            library_s += _library_s(piece.entries, key)
            if count >= most:
                break
    found["one_processor_per_s"] = count / ours_s
    found["library_per_s"] = count / library_s
    found["of_library_pct"] = 100 * library_s / ours_s
    return found


def _library_s(entries: Sequence[bytes], key: PublicKey) -> float:
    """Processor time that the signature library alone takes for these."""
    rows = [(one.signature, to_be_signed(one.protected, STATEMENT_CONTEXT, one.payload)) for one in map(parse, entries)]
    began_s = _cpu_s()
    for signature, message in rows:
        key.verifies(signature, message)
    return _cpu_s() - began_s


def _cpu_s() -> float:
    """Processor time of this process: a loaded machine does not change it much."""
    return time.process_time()


def _sync_write(path: Path, at: int) -> None:
    """What the disk itself takes for an append of the size of ours."""
    with path.open("ab") as file:
        file.write(bytes(500))
        file.flush()
        os.fdatasync(file.fileno())


def _p95_ms(ask: Callable[[Any], object], questions: Sequence[Any]) -> float:
    times = []
    for one in questions:
        began_s = time.perf_counter()
        ask(one)
        times.append(time.perf_counter() - began_s)
    return 1e3 * sorted(times)[int(len(times) * 0.95)]


def _rss_mib(what: str) -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith(what)).split()[1]) / 1024


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identities", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--part", choices=("fill", "measure", "verify"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch) / "registry"
        if args.part == "measure":
            print(json.dumps(measure(folder)))
        elif args.part == "verify":
            print(json.dumps(measure_verify(folder)))
        else:
            if not opening.exists(folder):
                fill(folder, args.identities)
            for part in () if args.part == "fill" else ("measure", "verify"):
                command = [sys.executable, "-m", "tools.bench_registry", "--part", part, "--folder", str(folder)]
                print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


if __name__ == "__main__":
    main()
