"""Gateway and city platform prove to each other who they are: each way in which they do not has a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import ClockTrust
from gateway.endpoint import Endpoint
from gateway.mqtt.client import ClientOptions, open_session
from gateway.mqtt.errors import SessionError
from gateway.tls import client_context
from gateway.validity import dated_by_us
from tests.peers.certificates import Ca, Pair


async def state_of(port: int, ca: Path, pair: Pair | None, *, host: str = "localhost") -> str:
    """ "connected", or the state that `gateway status` shows."""
    tls = client_context("city[0]", ca_file=ca, cert_file=pair and pair.cert, key_file=pair and pair.key)
    clock = ClockTrust()  # the certificates are made today
    options = ClientOptions(
        endpoint=Endpoint(host=host, port=port, is_tls=True), client_id="gw-1", tls=dated_by_us(tls), clock=clock
    )
    try:
        async with open_session(options) as session:
            await session.subscribe(["a"])
            return "connected"
    except SessionError as error:
        return error.state


@pytest.fixture
def cas(tmp_path: Path) -> tuple[Ca, Ca]:
    return Ca(tmp_path, "city"), Ca(tmp_path, "stranger")


async def test_city_and_gateway_are_connected_only_if_both_are_who_they_should_be(mosquitto_factory, cas) -> None:
    city, stranger = cas
    own = city.issue("localhost")
    lines = f"certfile {own.cert}", f"keyfile {own.key}", f"cafile {city.cert}", "require_certificate true"
    port = mosquitto_factory(*lines).port
    good = city.issue("gw-1")
    assert await state_of(port, city.cert, good) == "connected"
    assert await state_of(port, stranger.cert, good) == "tls_failed"  # the city is signed by somebody else
    assert await state_of(port, city.cert, good, host="127.0.0.1") == "tls_failed"  # it is another host's certificate
    for refused in (stranger.issue("gw-1"), city.issue("gw-1", days=(-9, -1)), None):
        assert await state_of(port, city.cert, refused) != "connected"


async def test_a_city_whose_certificate_has_ended_is_refused(mosquitto_factory, cas) -> None:
    city, _ = cas
    ended = city.issue("localhost", days=(-9, -1))
    port = mosquitto_factory(f"certfile {ended.cert}", f"keyfile {ended.key}").port
    assert await state_of(port, city.cert, None) == "certificate_expired"
