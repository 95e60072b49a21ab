"""A seeded set of link bytes: the same on CPython and on every MicroPython, or an interpreter differs.

Runs on all of them, without arguments; `lines()` yields hex lines. AES is given by the caller.
"""

from drivers.link import frame
from drivers.link.ack import pack_ack, unpack_ack
from drivers.link.cbor import decode, encode
from drivers.link.keys import DOWN, UP, derive, nonce
from drivers.link.pack import Report, pack
from drivers.link.schema import LIMITS, SCHEMAS, SELF_DESCRIBING
from drivers.link.seal import Ccm
from drivers.link.unpack import unpack


class Dice:
    """xorshift32: small enough to be the same everywhere."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        state = self._state
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        self._state = state
        return state % limit

    def between(self, low, high):
        return low + self.below(high - low + 1)


def _values(dice, schema, before):
    if schema == SELF_DESCRIBING:
        return [["temperature", "Cel", -2, dice.between(-1000000, 1000000)], [f"x{dice.below(9)}", "m", 0, 1]]
    values = []
    for i, name in enumerate(SCHEMAS[schema]):
        low, high = LIMITS[name]
        if before is not None and dice.below(4):
            low, high = max(low, before[i] - 40), min(high, before[i] + 40)
        values.append(dice.between(low, high))
    return tuple(values)


def _reports(dice):
    seq = dice.below(0xFFFF0000)
    time_s = dice.below(1 << dice.between(8, 31))
    schema = (1, 2, 3, 4, 5, 6, 7, SELF_DESCRIBING)[dice.below(8)]
    run = [Report(seq, time_s, schema, _values(dice, schema, None))]
    step_s = dice.below(1000)
    for _ in range(dice.below(12)):
        seq += 1 if dice.below(5) else dice.between(1, 129)
        step_s = max(0, step_s + dice.between(-3, 3)) if dice.below(3) else step_s
        time_s += step_s
        before = run[-1].values if schema != SELF_DESCRIBING else None
        run.append(Report(seq, time_s, schema, _values(dice, schema, before)))
    return run


def _body(dice, run, full):
    said = {}
    if dice.below(3) == 0:
        said["older_boot"] = dice.below(100)
    if full and dice.below(3) == 0:
        said["other_epoch"] = dice.below(0xFFFFFFFF)
    if dice.below(4) == 0:
        said["floor_lost"] = (dice.below(100), dice.between(1, 3))
    if dice.below(4) == 0:
        said["epochs_opened"] = [(dice.below(99), dice.below(0xFFFFFFFF), bool(dice.below(2)))]
    if dice.below(4) == 0:
        said["began_s"] = dice.below(0xFFFFFFFF)
    now_s = run[-1].time_s + dice.below(1 << dice.between(1, 20))
    floor = max(0, run[0].seq - dice.below(16384))
    return pack(run, uptime_s=now_s, floor=floor, max_len=dice.between(110, 236), full=full, boot=7, **said)


def bodies(dice, count):
    """Yield `count` of (reports, how many were packed, body, whether it is of a FULL frame)."""
    for _ in range(count):
        full = dice.below(3) == 0
        run = _reports(dice)
        body, packed = _body(dice, run, full)
        yield run, packed, body, full


def lines(aes_ecb, count):
    """Yield `count` uplinks, each with what was read back from it and a downlink, as text."""
    dice = Dice(20260705)
    root = bytes([dice.below(256) for _ in range(32)])
    for run, packed, body, full in bodies(dice, count):
        epoch = dice.between(1, 0xFFFFFFFE)
        counter = dice.below(0xFFFFFFFF)
        key, iv = derive(root, epoch, UP)
        header = frame.uplink_header(1 + dice.below(2), dice.below(65536), counter, epoch=epoch if full else None)
        aad = frame.aad_uplink(header[:3], epoch, counter)
        box = Ccm(aes_ecb(key))
        sealed = box.seal(nonce(iv, counter), aad, body)
        assert box.open(nonce(iv, counter), aad, sealed) == body
        yield (header + sealed).hex()
        parsed = unpack(body, full=full).resolve(run[0].seq)
        assert [a.seq for a in parsed.reports] == [report.seq for report in run[:packed]]
        yield repr([(a.seq, a.age_s, a.uptime_s, a.values) for a in parsed.reports])
        yield _downlink(dice, root, epoch, counter, aes_ecb, full)


def _downlink(dice, root, epoch, answered, aes_ecb, full):
    key, iv = derive(root, epoch, DOWN)
    counter = dice.below(0xFFFFFFFF)
    base = dice.below(0xFFFFFFFF)
    body = pack_ack(base, dice.below(65536), wide=full, utc_s=dice.below(0xFFFFFFFF) if dice.below(2) else None)
    header = frame.downlink_header(dice.below(65536), answered, counter, full=full)
    sealed = header + Ccm(aes_ecb(key)).seal(
        nonce(iv, counter), frame.aad_downlink(header[:3], epoch, counter, answered), body
    )
    parsed = frame.parse_downlink(sealed)
    assert parsed.counter == (counter if full else counter & 0xFFFF)
    assert frame.reconstruct_counter(counter & 0xFFFF, counter) == counter
    assert unpack_ack(body).resolve(base).base == base
    assert decode(encode([base, {"a": -counter}])) == [base, {"a": -counter}]
    return sealed.hex()
