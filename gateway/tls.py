"""TLS contexts from the files that gateway.toml names. Errors name the key whose file is wrong."""

import ssl
from pathlib import Path

from gateway.errors import ConfigError


def server_context(place: str, *, cert_file: Path, key_file: Path, client_ca_file: Path | None) -> ssl.SSLContext:
    """For devices that connect to us; with `client_ca_file` each must show a certificate signed by it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_pair(context, place, cert_file, key_file, prefix="")
    if client_ca_file:
        _load_ca(context, f"{place}.client_ca_file", client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    place: str, *, ca_file: Path | None, cert_file: Path | None, key_file: Path | None, prefix: str = ""
) -> ssl.SSLContext:
    """For brokers we connect to. Without `ca_file` the system's list of authorities holds."""
    context = ssl.create_default_context()
    if ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_ca(context, f"{place}.{prefix}ca_file", ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file and key_file:
        _load_pair(context, place, cert_file, key_file, prefix=prefix)
    return context


def read_password(key: str, path: Path) -> bytes:
    """The password in `path`, less a newline at its end. Raises ConfigError under `key`."""
    try:
        password = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise ConfigError(key, path, f"cannot be read ({error.strerror})") from None
    if not password:
        raise ConfigError(key, path, "is empty; put the password on its first line")
    return password


def _load_pair(context: ssl.SSLContext, place: str, cert_file: Path, key_file: Path, *, prefix: str) -> None:
    for key, path in ((f"{place}.{prefix}cert_file", cert_file), (f"{place}.{prefix}key_file", key_file)):
        _require_readable(key, path)
    try:
        context.load_cert_chain(cert_file, key_file)
    except ssl.SSLError as error:
        rule = f"and key_file are no matching PEM pair ({error.reason or 'not PEM'})"
        raise ConfigError(f"{place}.{prefix}cert_file", cert_file, rule) from None


def _load_ca(context: ssl.SSLContext, key: str, path: Path) -> None:
    _require_readable(key, path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigError(key, path, "holds no certificate in PEM form") from None


def _require_readable(key: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(key, path, f"cannot be read ({error.strerror})") from None
