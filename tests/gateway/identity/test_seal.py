"""The gateway's AES-CCM against RFC 3610's vectors."""

import json
from pathlib import Path

import pytest

from drivers.link.frame import FrameError
from gateway.identity.seal import Aead

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "rfc3610_ccm.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["M"] == 8], ids=lambda v: f"packet {v['packet']}")
def test_packet_vector(vector):
    key, nonce, aad, message, sealed = (
        bytes.fromhex(vector[name]) for name in ("key", "nonce", "aad", "msg", "ct_tag")
    )
    assert Aead(key).seal(nonce, aad, message) == sealed
    assert Aead(key).open(nonce, aad, sealed) == message
    with pytest.raises(FrameError, match="bad_tag"):
        Aead(key).open(nonce, aad + b"x", sealed)
