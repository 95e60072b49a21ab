"""Certificates are held against the time that the gateway knows, whatever this machine's wall clock says.

Their dates lie years away from today, so a check by the wall clock would refuse what is taken here, and the reverse.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.clock import ClockTrust
from gateway.endpoint import Endpoint
from gateway.mqtt.client import ClientOptions, open_session
from gateway.mqtt.errors import SessionError
from gateway.southbound.mqtt import IngestListener
from gateway.tls import client_context, server_context
from gateway.validity import dated_by_us
from tests.gateway.cores import running_core, stored_reports
from tests.gateway.machines import DAY_S, NEVER_SET, TRUE_S, YEAR_S, ScriptedMachine

LONG_AGO = (TRUE_S - 9 * YEAR_S, TRUE_S - 8 * YEAR_S)
AT_HAND = (TRUE_S - YEAR_S, TRUE_S + YEAR_S)
TO_COME = (TRUE_S + 3 * YEAR_S, TRUE_S + 4 * YEAR_S)
EVER = (TRUE_S - 20 * YEAR_S, TRUE_S + 20 * YEAR_S)

Dates = tuple[float, float]


class Authority:
    """Signs certificates of any dates into `folder`."""

    def __init__(self, folder: Path, dates: Dates = EVER) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test ca")])
        made = self._sign(self._name, self._key.public_key(), dates, x509.BasicConstraints(ca=True, path_length=0))
        self.file = folder / "ca.crt"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, dates: Dates) -> tuple[Path, Path]:
        """Certificate and key of `name`, valid for this machine's loopback."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = self._sign(subject, key.public_key(), dates, x509.BasicConstraints(ca=False, path_length=None))
        cert_file, key_file = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key_file.write_bytes(key.private_bytes(*form))
        return cert_file, key_file

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, dates: Dates, basic: x509.BasicConstraints
    ) -> x509.Certificate:
        begins, ends = (datetime.datetime.fromtimestamp(at_s, datetime.UTC) for at_s in dates)
        loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number(), begins, ends)
        return (
            builder.add_extension(basic, critical=True)
            .add_extension(loopback, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def trusted_in(years: float) -> ClockTrust:
    machine = ScriptedMachine()
    machine.live(years * YEAR_S)
    machine.reach_time_server()
    return machine.clock()


def untrusted(wall_off_s: float) -> ClockTrust:
    clock = ScriptedMachine(wall_off_s=wall_off_s).clock()
    clock.raise_floor(TRUE_S - DAY_S)
    return clock


def options_for(port: int, authority: Authority, clock: ClockTrust) -> ClientOptions:
    return ClientOptions(
        endpoint=Endpoint(host="127.0.0.1", port=port, is_tls=True),
        client_id="gw-1",
        tls=dated_by_us(client_context("t", ca_file=authority.file, cert_file=None, key_file=None)),
        clock=clock,
    )


async def state_of(options: ClientOptions) -> tuple[str, str]:
    """ "connected", or why not, and what a person is told."""
    try:
        async with open_session(options):
            return "connected", ""
    except SessionError as error:
        return error.state, error.detail


@pytest.mark.parametrize(
    "dates, clock, state",
    [
        (AT_HAND, trusted_in(0), "connected"),
        (TO_COME, trusted_in(3.5), "connected"),  # by the wall clock: not yet
        (TO_COME, trusted_in(0), "certificate_not_yet_valid"),
        (TO_COME, trusted_in(5), "certificate_expired"),
        (LONG_AGO, trusted_in(0), "certificate_expired"),
        (AT_HAND, untrusted(NEVER_SET), "connected"),  # 1970 is no reason
        (AT_HAND, untrusted(10 * YEAR_S), "connected"),
        (TO_COME, untrusted(NEVER_SET), "connected"),  # nobody can say that it has not begun
        (LONG_AGO, untrusted(NEVER_SET), "certificate_expired"),  # that it has ended is certain
    ],
)
async def test_a_brokers_certificate_is_held_against_what_is_known_of_the_time(
    tmp_path, mosquitto_factory, dates, clock, state
):
    authority = Authority(tmp_path)
    cert_file, key_file = authority.issue("broker", dates)
    broker = mosquitto_factory(f"certfile {cert_file}", f"keyfile {key_file}")
    found, detail = await state_of(options_for(broker.port, authority, clock))
    assert found == state
    if found != "connected":
        assert "CN=broker" in detail
        assert "by the gateway's clock" in detail if clock.is_trusted else "more is not known" in detail


async def test_an_issuer_that_has_ended_ends_what_it_signed_and_a_strange_one_is_refused(tmp_path, mosquitto_factory):
    ended = Authority(tmp_path, LONG_AGO)
    cert_file, key_file = ended.issue("broker", AT_HAND)
    broker = mosquitto_factory(f"certfile {cert_file}", f"keyfile {key_file}")
    assert (await state_of(options_for(broker.port, ended, trusted_in(0))))[0] == "certificate_expired"
    (tmp_path / "other").mkdir()
    strange = Authority(tmp_path / "other")
    assert (await state_of(options_for(broker.port, strange, trusted_in(0))))[0] == "tls_failed"


@asynccontextmanager
async def listening(core, authority: Authority, clock: ClockTrust) -> AsyncIterator[IngestListener]:
    cert_file, key_file = authority.issue("gateway", EVER)
    tls = dated_by_us(server_context("t", cert_file=cert_file, key_file=key_file, client_ca_file=authority.file))
    endpoint = Endpoint(host="127.0.0.1", port=0, is_tls=True)
    async with IngestListener(
        core.intake, endpoint, count=core.counters.add, tls=tls, now_s=clock.stamp_s, clock=clock
    ) as listener:
        running = asyncio.create_task(listener.run())
        try:
            yield listener
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.mark.parametrize(
    "dates, clock, state",
    [
        (TO_COME, trusted_in(3.5), "connected"),
        (AT_HAND, untrusted(NEVER_SET), "connected"),
        (LONG_AGO, trusted_in(0), "not_authorised"),
        (LONG_AGO, untrusted(NEVER_SET), "not_authorised"),
        (TO_COME, trusted_in(0), "not_authorised"),
    ],
)
async def test_a_devices_certificate_is_held_against_it_too(tmp_path, dates, clock, state):
    authority = Authority(tmp_path)
    async with running_core(tmp_path, clock=clock) as core, listening(core, authority, clock) as listener:
        cert_file, key_file = authority.issue("meter-1", dates)
        context = client_context("t", ca_file=authority.file, cert_file=cert_file, key_file=key_file)
        options = ClientOptions(
            endpoint=Endpoint(host="127.0.0.1", port=listener.port, is_tls=True), client_id="meter-1", tls=context
        )
        if state == "connected":
            async with open_session(options) as session:
                payload = json.dumps([{"n": "power", "v": 1}]).encode()
                assert await session.publish("up/meter-1/senml", payload) == 0
            assert [one.assurance for one in await stored_reports(core)] == ["mtls"]
        else:
            assert (await state_of(options))[0] == state
            counted = [name for name in core.counters.snapshot() if name.startswith("mqtt_refused_certificate_")]
            assert len(counted) == 1
