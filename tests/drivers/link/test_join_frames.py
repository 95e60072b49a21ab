"""Join frames and what they carry: the bytes of docs/protocol.md, "Join"; fields cut, stretched and out of range."""

from __future__ import annotations

import pytest

from drivers.link import join, site
from drivers.link.edhoc import credential, kid_of
from drivers.link.frame import FrameError, parse
from drivers.link.p256 import compress, decompress
from tests.drivers.link import document

PUBLIC = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")


@pytest.mark.parametrize("number, connection, head", [(1, 0, "44beef00"), (2, 0x07, "44beef47"), (3, 0x37, "44beefb7")])
def test_a_frame_is_four_bytes_and_the_message(number, connection, head) -> None:
    frame = join.pack_join(number, 0xBEEF, connection, b"message")
    assert frame.hex() == head + b"message".hex()
    assert join.is_join(frame)
    assert join.begins_join(frame) == (number == 1)
    read = join.parse_join(frame)
    assert (read.number, read.address, read.connection, read.message) == (number, 0xBEEF, connection, b"message")


@pytest.mark.parametrize(
    "frame, reason",
    [
        ("44beef40", "truncated"),
        ("44", "truncated"),
        ("44beef40" + "00" * 252, "oversized"),
        ("44beef5800", "unknown_connection"),
        ("44beef7f00", "unknown_connection"),
        ("44beef0100", "unknown_connection"),  # nobody chose one yet
    ],
)
def test_what_is_no_join_frame_is_refused_by_name(frame, reason) -> None:
    with pytest.raises(FrameError) as caught:
        join.parse_join(bytes.fromhex(frame))
    assert caught.value.reason == reason


def test_a_message_that_no_frame_holds_is_not_packed() -> None:
    join.pack_join(1, 0, 0, bytes(251))
    with pytest.raises(FrameError):
        join.pack_join(1, 0, 0, bytes(252))


def test_where_a_sealed_frame_is_due_a_join_is_none() -> None:
    with pytest.raises(FrameError) as caught:
        parse(join.pack_join(2, 0xBEEF, 7, bytes(40)))
    assert caught.value.reason == "unsupported_kind"


@pytest.mark.parametrize("state", [(0, 0, 1), (0xFFFFFFFF, 0xFFFF, 255)])
def test_state_is_read_as_it_was_packed(state) -> None:
    assert join.read_state(join.pack_state(*state)) == state
    assert join.read_state(join.pack_state(*state)[:-1]) is None
    assert join.read_state(None) is None


@pytest.mark.parametrize("grant", [(1, None), (0xFFFFFFFF, 1_790_000_000)])
def test_a_grant_is_read_as_it_was_packed(grant) -> None:
    assert join.read_grant(join.pack_grant(*grant)) == grant
    for wrong in (None, b"", bytes(4), bytes(8), join.pack_grant(*grant) + b"\0"):
        assert join.read_grant(wrong) is None


def test_the_page_names_the_labels_and_objects_of_the_code() -> None:
    labels = [(int(label), name) for label, _, name, _ in document.table("Join", "label")]
    assert labels == [(getattr(join, name), name) for _, name in labels]
    objects = [(payload[1], name) for payload, name, _ in document.table("Join", "payload")]
    assert objects == [(str(getattr(site, name.upper())), name) for _, name in objects]
    assert f"Exporter({join.ROOT_LABEL}" in document.PAGE.read_text()
    assert f'"{join.ROOT_CONTEXT.decode()}"' in document.PAGE.read_text()
    assert f'"{site.CONTEXT.decode()}"' in document.PAGE.read_text()


def test_a_credential_is_what_the_page_says() -> None:
    """Of the generator of P-256, as any CBOR library would write it."""
    import cbor2

    point = decompress(PUBLIC)
    assert compress(point) == PUBLIC
    kid = kid_of(PUBLIC)
    x, y = (coordinate.to_bytes(32, "big") for coordinate in point)
    expected = cbor2.dumps({2: kid.hex(), 8: {1: {1: 2, 2: kid, -1: 1, -2: x, -3: y}}})
    assert credential(PUBLIC, point) == expected
    assert len(expected) == 95
