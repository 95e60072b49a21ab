"""docs/protocol.md says what the code does: its examples are made and read again, its tables compared."""

from __future__ import annotations

import pytest

from drivers.link import frame, order, pack, schema, unpack
from drivers.link.ack import pack_ack, unpack_ack
from drivers.link.keys import DOWN, UP, derive, nonce
from drivers.link.reasons import REASONS
from drivers.link.seal import Ccm
from tests.drivers.link import document
from tests.drivers.link.boxes import openssl_ccm, openssl_ecb
from tests.drivers.link.document import Example
from tests.drivers.link.sizes import lines

EXAMPLES = document.examples()
DOWNLINKS = [example for example in EXAMPLES if example.text("kind") in ("ACK", "COMMAND")]
UPLINKS = [example for example in EXAMPLES if example not in DOWNLINKS]


def by_name(example: Example) -> str:
    return example.name


def test_the_page_has_the_examples() -> None:
    assert (len(UPLINKS), len(DOWNLINKS)) == (8, 3)
    assert len(document.blocks("bits")) == 3


@pytest.mark.parametrize("example", UPLINKS, ids=by_name)
def test_body_is_what_the_packer_writes(example: Example) -> None:
    body, count = pack.pack(
        example.reports(),
        uptime_s=example.number("uptime_s"),
        floor=example.number("floor"),
        max_len=236,
        full=example.is_full,
        boot=example.optional("boot") or 0,
        **example.notices(),
    )
    assert (body.hex(), count) == (example.text("body"), len(example.reports()))


@pytest.mark.parametrize("example", UPLINKS, ids=by_name)
def test_body_says_what_the_example_says(example: Example) -> None:
    reports, notices = example.reports(), example.notices()
    parsed = unpack.unpack(example.octets("body"), full=example.is_full).resolve(reports[0].seq)
    assert parsed.boot == example.optional("boot")
    assert (parsed.floor, parsed.epoch, parsed.older_boot) == (
        example.number("floor"),
        notices["other_epoch"],
        notices["older_boot"],
    )
    assert (parsed.lost, parsed.lost_reason) == (notices["floor_lost"] or (0, None))
    assert (parsed.epochs_opened, parsed.began_s) == (notices["epochs_opened"], notices["began_s"])
    for arrival, report in zip(parsed.reports, reports, strict=True):
        assert (arrival.seq, arrival.schema) == (report.seq, report.schema)
        assert schema.readings(arrival.schema, arrival.values) == schema.readings(report.schema, report.values)
        if parsed.older_boot is None:
            assert arrival.age_s == example.number("uptime_s") - report.time_s
        else:
            assert arrival.uptime_s == report.time_s


@pytest.mark.parametrize("example", DOWNLINKS, ids=by_name)
def test_ack_body_is_what_is_packed_and_read(example: Example) -> None:
    base, bits = example.number("base"), int(example.text("bitmap"), 16)
    epoch, utc_s = example.optional("ack_epoch"), example.optional("utc_s")
    body = pack_ack(base, bits, wide=example.is_full, epoch=epoch, utc_s=utc_s)
    ordered = order.pack_command(example.octets("order"), body) if example.has("order") else body
    assert ordered.hex() == example.text("body")
    ack = unpack_ack(body).resolve(base)
    assert (ack.base, ack.bitmap, ack.epoch, ack.utc_s) == (base, bits, epoch, utc_s)


@pytest.mark.parametrize("example", EXAMPLES, ids=by_name)
def test_frame_is_sealed_as_the_example_says(example: Example) -> None:
    is_down, kind = example in DOWNLINKS, getattr(frame, example.text("kind"))
    address, counter, epoch = int(example.text("address"), 16), example.number("counter"), example.number("epoch")
    if is_down:
        answers = example.number("answers")
        header = frame.downlink_header(address, answers, counter, full=example.is_full, kind=kind)
        aad = frame.aad_downlink(header[:3], epoch, counter, answers)
    else:
        header = frame.uplink_header(kind, address, counter, epoch=epoch if example.is_full else None)
        aad = frame.aad_uplink(header[:3], epoch, counter)
    key, iv = derive(example.octets("root"), epoch, DOWN if is_down else UP)
    body, number = example.octets("body"), nonce(iv, counter)
    assert [part.hex() for part in (key, iv, number, aad)] == [example.text(w) for w in ("key", "iv", "nonce", "aad")]
    sealed = openssl_ccm(key).encrypt(number, body, aad)
    assert (header + sealed).hex() == example.text("frame")
    assert Ccm(openssl_ecb(key)).open(number, aad, sealed) == body


@pytest.mark.parametrize("name", document.blocks("bits"))
def test_bits_spell_the_body(name: str) -> None:
    bits = "".join(line.split(" ", 1)[0] for line in document.blocks("bits")[name].splitlines())
    (example,) = (example for example in EXAMPLES if example.name == name)
    assert int(bits, 2).to_bytes(len(bits) // 8, "big").hex() == example.text("body")


def test_kinds_are_those_of_the_code() -> None:
    rows = document.table("Frame", "kind")[:8]
    assert [(int(number), getattr(frame, name)) for number, name, *_ in rows] == [(i, i) for i in range(8)]


def test_quantities_and_limits_are_those_of_the_code() -> None:
    rows = document.table("Schemas", "quantity")
    assert {name: (unit, int(exponent)) for name, unit, exponent, *_ in rows} == schema.QUANTITIES
    limits = {name: (int(low), int(high)) for name, _, _, low, high in rows if low}
    assert limits == schema.LIMITS


def test_schemas_are_those_of_the_code() -> None:
    rows = document.table("Schemas", "schema")
    assert {int(number): tuple(names.split(", ")) for number, names in rows[:-3]} == schema.SCHEMAS
    assert [int(number) for number, _ in rows[-3:]] == [schema.OUTCOME, schema.WINDOW, schema.SELF_DESCRIBING]


def test_codes_and_outcomes_are_those_of_the_code() -> None:
    for first in ("code", "outcome"):
        rows = document.table("Command", first)
        assert [(int(number), getattr(order, name)) for number, name, *_ in rows] == [(i, i) for i in range(1, 5)]


def test_refusals_are_the_closed_list_of_the_code() -> None:
    assert tuple(name for name, _ in document.table("Refusals", "counter")) == REASONS


def test_sizes_are_those_measured() -> None:
    assert "\n".join(lines()) in document.PAGE.read_text()


def test_extensions_have_the_bits_of_the_code() -> None:
    rows = document.table("Report body", "bit")[:6]
    names = ("OTHER_EPOCH", "OLDER_BOOT", "FLOOR_RAISED", "EPOCHS_OPENED", "LONG_AGE", "BOOT_BEGAN")
    assert [1 << int(bit) for bit, *_ in rows] == [getattr(pack, name) for name in names]
