"""X.509 for tests: an authority, and certificates with the faults that a listener must see."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path
    private: ec.EllipticCurvePrivateKey


class Ca:
    """Signs. `cert` is what others trust."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._serial = 0
        made = self._sign(name, self._key, is_ca=True, days=(-1, 10))
        self.cert = folder / f"{name}.crt"
        self.cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, *, days: tuple[int, int] = (-1, 10), key: ec.EllipticCurvePrivateKey | None = None
    ) -> Pair:
        """A certificate for `name`, valid between these days from now."""
        self._serial += 1
        private = key or ec.generate_private_key(ec.SECP256R1())
        stem = self._folder / f"{self._name}-{name}-{self._serial}"
        cert, file = stem.with_suffix(".crt"), stem.with_suffix(".key")
        made = self._sign(name, private, is_ca=False, days=days)
        cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        file.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        file.chmod(0o600)
        return Pair(cert, file, private)

    def _sign(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, is_ca: bool, days: tuple[int, int]
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())
