"""Throws random and mutated frames at a node's decoder of downlinks. Runs on MicroPython; prints a count per reason.

Every round makes a sound ack, changes it in one of seven ways, and decodes it as firmware does: parse, open, unpack.
Half of the changes are made under the seal, so that what lies behind the tag is reached too.
"""

from drivers.link import frame
from drivers.link.ack import pack_ack, unpack_ack
from drivers.link.cbor import decode
from drivers.link.frame import FrameError
from drivers.link.keys import DOWN, derive, nonce
from drivers.link.seal import Ccm

EPOCH = 3
ANSWERED = 0x12345


def mutate(dice, data):
    """Return `data` changed in one way of seven; `dice` has below() and between() of the seeded set."""
    data = bytearray(data)
    way = dice.below(7)
    if way == 0 and data:
        data[dice.below(len(data))] ^= 1 << dice.below(8)
    elif way == 1 and data:
        data = data[: dice.below(len(data))]
    elif way == 2:
        data.extend(bytes([dice.below(256) for _ in range(dice.between(1, 20))]))
    elif way == 3:
        data.extend(bytes(dice.between(200, 300)))
    elif way == 4 and data:
        data[0] = dice.below(256)
    elif way == 5:
        data = bytearray([dice.below(256) for _ in range(dice.below(40))])
    elif way == 6 and len(data) > 2:
        data[dice.below(len(data))] = dice.below(256)
        data[dice.below(len(data))] = dice.below(256)
    return bytes(data)


def _receive(data, box, iv):
    """As a node takes a downlink."""
    parsed = frame.parse_downlink(data)
    counter = frame.reconstruct_counter(parsed.counter & 0xFFFF, 0)
    aad = frame.aad_downlink(parsed.head, EPOCH, counter, ANSWERED)
    ack = unpack_ack(box.open(nonce(iv, counter), aad, data[parsed.header_len :]))
    ack.resolve(1000)
    ack.is_beyond(1000)
    ack.holds(999)


def run(aes_ecb, dice, rounds):
    key, iv = derive(bytes(32), EPOCH, DOWN)
    box = Ccm(aes_ecb(key))
    reasons = {}
    for i in range(rounds):
        counter = dice.below(60000)
        full = dice.below(2) == 0
        body = pack_ack(dice.below(2000), dice.below(65536), wide=full, utc_s=5 if dice.below(2) else None)
        header = frame.downlink_header(7, ANSWERED, counter, full=full)
        if i & 1:
            body = mutate(dice, body)
        sealed = header + box.seal(nonce(iv, counter), frame.aad_downlink(header[:3], EPOCH, counter, ANSWERED), body)
        try:
            _receive(sealed if i & 1 else mutate(dice, sealed), box, iv)
            reason = "taken"
        except FrameError as error:
            reason = error.reason
        reasons[reason] = reasons.get(reason, 0) + 1
        try:
            decode(body)
        except FrameError as error:
            reasons[error.reason] = reasons.get(error.reason, 0) + 1
    for reason in sorted(reasons):
        print(reason, reasons[reason])
