"""The beacons that docs/protocol.md writes out, and how a node asks for what it needs to believe them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drivers.link import beacon, beacon_pack, frame
from drivers.link.keys import DOWN, UP, derive, nonce
from tests.drivers.link import document
from tests.drivers.link.boxes import openssl_ccm


@pytest.fixture(scope="module")
def page() -> document.Example:
    (example,) = document.examples("beacon")
    return example


def work(given: Callable[[str], str]) -> list[tuple[str, str]]:
    """Every line that follows from the others."""
    chain, last = int(given("number"), 16), int(given("last"))
    keys = {last: bytes.fromhex(given("end"))}
    for interval in range(last, 0, -1):
        keys[interval - 1] = beacon.key_before(chain, interval, keys[interval])
    made = {f"key_{at}": key for at, key in keys.items() if at < last}
    for at in (2, 3):
        utc_256 = 256 * (int(given("utc_s")) + (at - 2) * int(given("interval_s")))
        error_4 = 4 * int(given("error_s"))
        made[f"beacon_{at}"] = beacon_pack.pack_beacon(
            chain, at, keys[at], keys[at - 1], utc_256=utc_256, error_4=error_4
        )
    numbers = (int(given(word)) for word in ("interval", "last", "interval_s", "since_ms"))
    made["anchor"] = beacon_pack.pack_anchor(chain, *numbers, keys[int(given("interval")) - 1])
    made["ask"], made["answer"] = sealed(given, made["anchor"])
    return [(name, octets.hex()) for name, octets in made.items()]


def sealed(given: Callable[[str], str], anchor: bytes) -> tuple[bytes, bytes]:
    root, address, epoch = bytes.fromhex(given("root")), int(given("address"), 16), int(given("epoch"))
    counter, down = int(given("counter")), int(given("down_counter"))
    ask = frame.uplink_header(frame.BEACON, address, counter, epoch=epoch)
    key, iv = derive(root, epoch, UP)
    ask += openssl_ccm(key).encrypt(nonce(iv, counter), b"", frame.aad_uplink(ask[:3], epoch, counter))
    answer = frame.downlink_header(address, counter, down, full=True, kind=frame.BEACON)
    key, iv = derive(root, epoch, DOWN)
    aad = frame.aad_downlink(answer[:3], epoch, down, counter)
    return ask, answer + openssl_ccm(key).encrypt(nonce(iv, down), anchor, aad)


def test_every_line_of_the_example_is_what_the_code_makes(page: document.Example) -> None:
    made = dict(work(page.text))
    assert {name: page.text(name) for name in made} == made


def test_the_node_of_the_example_believes_its_beacon(page: document.Example) -> None:
    memory = beacon.remember(page.octets("anchor"), 0)
    began_ms = 64_000 - 12_345
    memory, heard = beacon.take(memory, page.octets("beacon_3"), began_ms, began_ms + 80, lambda limit: 0)
    assert heard == []
    assert frame.parse_uplink(page.octets("ask")).kind == frame.BEACON


def test_a_node_that_does_not_listen_refuses_it_by_name(page: document.Example) -> None:
    for name, reason in (("beacon_2", "unsupported_kind"), ("answer", "wrong_direction")):
        with pytest.raises(frame.FrameError, match=reason):
            frame.parse_downlink(page.octets(name))
