"""What zstd does to a message: shorter and marked, or as it was."""

import random

import pytest
import zstandard

from gateway.city.compress import ENCODING, LEAST_BYTES, Compressor
from gateway.senml import Pack


def pack(payload):
    return Pack(
        node="a",
        payload=payload,
        content_type="application/senml+json",
        record_ids=("a/1/0",),
        record_counts=("1",),
        remarks=(),
        is_binary=False,
        size_bytes=len(payload) + 100,
    )


@pytest.mark.parametrize(
    "payload, is_shorter",
    [
        (b"x" * LEAST_BYTES, True),
        (b"x" * (LEAST_BYTES - 1), False),
        (random.Random(1).randbytes(4_000), False),  # it would only get longer
    ],
)
def test_a_message_is_compressed_where_that_saves_bytes(payload, is_shorter):
    before = pack(payload)
    after = Compressor().shorten(before)
    if not is_shorter:
        assert after is before
        return
    assert zstandard.decompress(after.payload) == payload
    assert after.remarks == (ENCODING,)
    assert after.size_bytes < before.size_bytes
