"""100,000 random and mutated frames at the decoders of both sides: only FrameError comes out, with a known reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.link.frame import FrameError, aad_uplink, parse_uplink, reconstruct_counter, uplink_header
from drivers.link.keys import UP, derive, nonce
from drivers.link.pack import MAX_REPORTS, Report, pack
from drivers.link.reasons import REASONS
from drivers.link.unpack import unpack
from tests.drivers.link.boxes import openssl_ccm
from tests.drivers.link.hostile import mutate
from tests.drivers.link.seeded import Dice, bodies
from tests.peers.micropython import check_micropython
from tests.peers.wasm32 import ROOT, check_wasm32, repository_files

BATCHES, BATCH = 1000, 100  # 100,000 in all: hypothesis picks the seed of a batch, and names it if one fails
DOWNLINKS = 100_000
DOWNLINKS_ON_32_BITS = 500  # its AES is plain Python
LINK_TESTS = ROOT / "tests/drivers/link"
EPOCH = 5
KEY, IV = derive(bytes(32), EPOCH, UP)
BOX = openssl_ccm(KEY)
FULL_HOUSE = pack([Report(i, 0, 4, (0,)) for i in range(MAX_REPORTS)], uptime_s=0, floor=0, max_len=242)[0]
SOUND = [(body, full) for _, _, body, full in bodies(Dice(1), 300)] + [(FULL_HOUSE, False)] * 3
SEEDS = st.integers(1, 0xFFFFFFFF)
NODE_REASONS = {
    *("truncated", "oversized", "unknown_version", "unknown_kind", "unsupported_kind", "wrong_direction"),
    *("bad_tag", "unknown_flag"),
}


ON_A_BOARD = """
import hostile
from seeded import Dice
from {aes} import aes_ecb
hostile.run(aes_ecb, Dice({seed}), {rounds})
"""


def sealed(body: bytes, counter: int, *, full: bool) -> bytes:
    header = uplink_header(1, 7, counter, epoch=EPOCH if full else None)
    return header + BOX.encrypt(nonce(IV, counter), body, aad_uplink(header[:3], EPOCH, counter))


def receive(frame: bytes) -> None:
    """As a gateway does once it knows the session."""
    parsed = parse_uplink(frame)
    counter = parsed.counter if parsed.is_full else reconstruct_counter(parsed.counter, 0)
    aad = aad_uplink(parsed.head, EPOCH if parsed.epoch is None else parsed.epoch, counter)
    try:
        body = BOX.decrypt(nonce(IV, counter), frame[parsed.header_len :], aad)
    except InvalidTag as error:
        raise FrameError("bad_tag") from error
    read(body, parsed.is_full)


def read(body: bytes, full: bool) -> None:
    unpack(body, full=full).resolve(70_000)


def outcome(decoder: Callable[..., None], *data: object) -> str:
    """The reason of the refusal, or "taken". Anything but FrameError fails the test that asks."""
    try:
        decoder(*data)
    except FrameError as error:
        return error.reason
    return "taken"


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """What came of the frames of all the tests here."""
    return Counter()


@settings(max_examples=BATCHES)
@given(SEEDS)
def test_gateway_refuses_mutated_and_random_bodies_by_name(seen, seed: int) -> None:
    """Changed under the seal, as a broken or captured node could: what the tag would otherwise keep away."""
    dice = Dice(seed)
    for _ in range(BATCH):
        body, full = SOUND[dice.below(len(SOUND))]
        seen[outcome(read, mutate(dice, body), full)] += 1
    assert set(seen) <= {*REASONS, "taken"}


@settings(max_examples=BATCHES)
@given(SEEDS)
def test_gateway_refuses_mutated_and_random_frames_by_name(seen, seed: int) -> None:
    dice = Dice(seed)
    for _ in range(BATCH):
        body, full = SOUND[dice.below(len(SOUND))]
        frame = sealed(body[:230], dice.below(0x10000), full=full)
        seen[outcome(receive, mutate(dice, frame))] += 1
    assert set(seen) <= {*REASONS, "taken"}


def test_every_reason_of_the_gateway_side_was_reached(seen) -> None:
    print(sum(seen.values()), "frames:", dict(seen.most_common()))
    assert sum(seen.values()) >= 2 * BATCHES * BATCH
    assert set(seen) == {*REASONS, "taken"} - {"unknown_flag"}  # that one is an ack's


@settings(max_examples=2000)
@given(st.binary(max_size=260), st.booleans())
def test_any_bytes_are_a_body_or_a_frame_error(body: bytes, full: bool) -> None:
    assert outcome(read, body, full) in {*REASONS, "taken"}
    assert outcome(receive, body) in {*REASONS, "taken"}


def test_sound_frames_are_taken() -> None:
    """Or the rounds above would mutate rubbish."""
    refused = {outcome(receive, sealed(body[:230], 5, full=full)) for body, full in SOUND if len(body) <= 230}
    assert refused == {"taken"}


def reasons_of(printed: str) -> dict[str, int]:
    return {reason: int(count) for reason, count in (line.split() for line in printed.splitlines())}


def test_node_side_survives_mutated_and_random_downlinks_on_micropython() -> None:
    script = ON_A_BOARD.format(aes="drivers.link.seal", seed=1, rounds=DOWNLINKS)
    seen = reasons_of(check_micropython(script, path=[ROOT, LINK_TESTS], heapsize="256k"))
    print(seen)
    assert sum(seen.values()) - seen["bad_cbor"] == DOWNLINKS
    assert set(seen) == NODE_REASONS | {"taken", "bad_cbor"}


def test_node_side_survives_mutated_and_random_downlinks_on_32_bits(wasm32) -> None:
    files = repository_files("drivers/link")
    for name in ("seeded.py", "plain_aes.py", "hostile.py"):
        files[f"/lib/{name}"] = (LINK_TESTS / name).read_bytes()
    script = ON_A_BOARD.format(aes="plain_aes", seed=2, rounds=DOWNLINKS_ON_32_BITS)
    seen = reasons_of(check_wasm32(script, files))
    assert sum(seen.values()) - seen["bad_cbor"] == DOWNLINKS_ON_32_BITS
    assert set(seen) <= NODE_REASONS | {"taken", "bad_cbor"}
