"""Third parties' SenML: the examples of RFC 8428, a name for every refusal, and 100,000 broken packs."""

import json
import random
from pathlib import Path

import cbor2
import pytest

from gateway.senml_decode import Resolved, SenmlError, decode
from gateway.senml_units import PRIMARY, SECONDARY, in_primary
from tests.campaign import MILLION, campaign

EXAMPLES = json.loads((Path(__file__).parents[1] / "vectors" / "rfc8428_senml.json").read_text())["examples"]
ABSOLUTE_S = 2**28
LABELS = {"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6} | {
    name: label for label, name in enumerate(("n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"))
}


def as_cbor(pack):
    return cbor2.dumps([{LABELS.get(name, name): value for name, value in record.items()} for record in pack])


def rows(resolved):
    return [(one.base_name + one.name, one.unit, one.value, one.time_s) for one in resolved]


def expected_rows(example):
    """The RFC's resolved form; a time that comes from "now" there is none here, and data values are missing there."""
    has_time = any("bt" in record or "t" in record for record in example["json"])
    return [
        (r["n"], r.get("u"), r.get("v", r.get("vs", r.get("vb"))), r["t"] if has_time else None)
        for r in example["resolved"]
    ]


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "resolved" in e], ids=lambda e: e["example"])
def test_rfc_example_resolves_as_printed(example):
    for payload in (json.dumps(example["json"]).encode(), as_cbor(example["json"])):
        found = [row for row in rows(decode(payload)) if not isinstance(row[2], bytes)]
        assert found == [pytest.approx(row) for row in expected_rows(example)]


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "cbor" in e], ids=lambda e: e["example"])
def test_rfc_cbor_says_what_the_json_says(example):
    found = decode(bytes.fromhex(example["cbor"]), "application/senml+cbor")
    assert rows(found) == [pytest.approx(row) for row in expected_rows(example)]


@pytest.mark.parametrize(
    "pack, field, expected",
    [
        ([{"bn": "m", "v": 1}], "base_name", "m"),
        ([{"n": "m", "v": 1}], "time_s", None),
        ([{"n": "m", "v": 1, "t": -5}], "time_s", None),  # relative to nobody knows what
        ([{"n": "m", "v": 1, "t": ABSOLUTE_S - 1}], "time_s", None),
        ([{"n": "m", "v": 1, "t": ABSOLUTE_S}], "time_s", ABSOLUTE_S),
        ([{"bt": 1.8e9, "n": "m", "t": -0.5, "v": 1}], "time_s", 1.8e9 - 0.5),
        ([{"bt": 1.8e9}, {"n": "m", "v": 1}], "time_s", 1.8e9),
        ([{"bv": 20, "n": "m", "v": 1.5}], "value", 21.5),
        ([{"bs": 10, "n": "m", "s": 5}], "total", 15),
        ([{"n": "m", "s": 5}], "value", None),
        ([{"n": "m", "v": 1, "s": 5}], "total", 5),
        ([{"bu": "Cel", "n": "m", "v": 1}], "unit", "Cel"),
        ([{"bu": "Cel", "n": "m", "u": "V", "v": 1}], "unit", "V"),
        ([{"n": "m", "u": "mV", "v": 21.5}], "value", 0.0215),
        ([{"n": "m", "u": "mV", "v": 21.5}], "unit", "V"),
        ([{"n": "m", "u": "dBm", "v": -100}], "value", -130.0),
        ([{"n": "m", "u": "kWh", "s": 2}], "total", 7.2e6),
        ([{"n": "m", "vs": "on"}], "value", "on"),
        ([{"n": "m", "vb": False}], "value", False),
        ([{"n": "m", "vd": "aGkgCg"}], "value", b"hi \n"),
        ([{"n": "m", "v": 1, "ut": 60, "x-note": {"deep": [1]}}], "value", 1),  # unknown fields are passed over
        ([{"bver": 10, "n": "m", "v": 1}], "value", 1),
    ],
)
def test_field_of_the_first_record(pack, field, expected):
    assert getattr(decode(json.dumps(pack).encode())[0], field) == expected


def test_a_decimal_fraction_is_a_number_in_cbor():
    assert decode(bytes.fromhex("81 a2 00 61 6d 02 c4 82 20 18 d7"))[0].value == 21.5


@pytest.mark.parametrize(
    "payload, reason",
    [
        (b"", "malformed"),
        (b"[", "malformed"),
        (b"{}", "malformed"),  # no JSON array, and no CBOR
        (b'[{"n":"m","v":NaN}]', "malformed"),
        (b'[{"n":"m","v":1e999}]', "wrong_type"),
        (b'[{"n":"m","v":1,"v":2}]', "malformed"),
        (b'[{"n":"\xff","v":1}]', "malformed"),
        (b"[" * 60_000, "malformed"),
        (b'[{"n":"m","v":' + b"9" * 5000 + b"}]", "malformed"),
        (b'[{"n":"m","v":' + b"9" * 400 + b"}]", "wrong_type"),
        (b'[{"n":"m","vs":"\\ud800"}]', "malformed"),
        (b"[]", "not_a_pack"),
        (b"[1]", "not_a_record"),
        (b"[[]]", "not_a_record"),
        (b"[{}]", "no_value"),
        (b'[{"n":"m"}]', "no_value"),
        (b'[{"bn":"m"}]', "no_values"),
        (b'[{"n":"m","v":1,"vs":"x"}]', "two_values"),
        (b'[{"n":"m","v":"1"}]', "wrong_type"),
        (b'[{"n":"m","v":true}]', "wrong_type"),
        (b'[{"n":"m","v":null}]', "wrong_type"),
        (b'[{"n":"m","vb":1}]', "wrong_type"),
        (b'[{"n":"m","vs":1}]', "wrong_type"),
        (b'[{"n":"m","vd":"*"}]', "wrong_type"),
        (b'[{"n":1,"v":1}]', "wrong_type"),
        (b'[{"n":"m","t":"now","v":1}]', "wrong_type"),
        (b'[{"n":"m","vs":"' + b"x" * 5000 + b'"}]', "wrong_type"),
        (b'[{"n":"' + b"x" * 129 + b'","v":1}]', "wrong_type"),
        (b'[{"n":"_m","v":1}]', "bad_name"),
        (b'[{"v":1}]', "bad_name"),
        (b'[{"n":"m m","v":1}]', "bad_name"),
        (b'[{"bn":"#","n":"m","v":1}]', "bad_name"),
        (b'[{"n":"m\\u0000","v":1}]', "bad_name"),
        (b'[{"n":"m","u":"furlong","v":1}]', "unknown_unit"),
        (b'[{"n":"m","v":1,"must_":1}]', "must_understand"),
        (b'[{"bver":11,"n":"m","v":1}]', "version"),
        (b'[{"bver":"5","n":"m","v":1}]', "version"),
        (b'[{"bver":5,"n":"m","v":1},{"bver":6,"n":"m","v":1}]', "version"),
        (b'[{"n":"m","t":1e12,"v":1}]', "bad_time"),
        (b"[" + b",".join([b'{"n":"m","v":1}'] * 257) + b"]", "too_many_records"),
        (b" " * 65_537, "oversized"),
        (cbor2.dumps([{0: "m", 2: 1}]) + b"\0", "malformed"),
        (cbor2.dumps([{True: 1}]), "malformed"),
        (cbor2.dumps([{0: "m", "n": "m", 2: 1}]), "malformed"),
        (cbor2.dumps({0: "m"}), "not_a_pack"),
        (cbor2.dumps([{0: "m", 2: float("nan")}]), "wrong_type"),
        (cbor2.dumps([{0: "m", 2: 1 << 70}]), "malformed"),  # a bignum
        (bytes.fromhex("d81c81d81d00"), "malformed"),  # an array that contains itself
        (bytes.fromhex("81a200616d02c11a514b67b0"), "malformed"),  # a date
        (bytes.fromhex("81a200616d02d82363612b62"), "malformed"),  # a regular expression
        (bytes.fromhex("9bffffffffffffffff"), "malformed"),
        (bytes.fromhex("5b7fffffffffffffff"), "malformed"),
        (bytes.fromhex("81a200616d02f7"), "wrong_type"),  # undefined
        (bytes.fromhex("9f" * 30), "malformed"),
    ],
)
def test_each_refusal_has_its_name(payload, reason):
    with pytest.raises(SenmlError) as caught:
        decode(payload)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "content_type, payload, is_taken",
    [
        ("application/senml+json; charset=utf-8", b'[{"n":"m","v":1}]', True),
        ("application/senml+cbor", cbor2.dumps([{0: "m", 2: 1}]), True),
        ("application/senml+cbor", b'[{"n":"m","v":1}]', False),
        ("application/senml+json", cbor2.dumps([{0: "m", 2: 1}]), False),
        ("text/plain", b'[{"n":"m","v":1}]', False),
        ("", b'  [{"n":"m","v":1}]', True),
    ],
)
def test_the_content_type_decides_and_without_one_the_first_byte(content_type, payload, is_taken):
    if is_taken:
        assert decode(payload, content_type)[0].value == 1
    else:
        with pytest.raises(SenmlError):
            decode(payload, content_type)


def test_every_secondary_unit_leads_to_a_primary_one():
    assert {primary for primary, _, _ in SECONDARY.values()} <= PRIMARY
    assert not PRIMARY & set(SECONDARY)
    assert (in_primary(72, "km/h"), in_primary(1013.25, "hPa"), in_primary(35, "ug/m3")) == (20.0, 101325.0, 35e-9)


@pytest.mark.parametrize("count", [100_000, MILLION])
def test_mutated_packs_are_read_or_refused_under_a_name(count, capsys):
    chance = random.Random(8428)
    seeds = [json.dumps(example["json"]).encode() for example in EXAMPLES]
    seeds += [as_cbor(example["json"]) for example in EXAMPLES]
    with campaign("SenML", count, capsys) as outcomes:
        for _ in range(count):
            payload = _mutated(bytearray(chance.choice(seeds)), chance)
            try:
                resolved = decode(bytes(payload))
            except SenmlError as error:
                outcomes[error.reason] += 1
            else:
                outcomes["taken"] += 1
                assert all(isinstance(one, Resolved) for one in resolved)
    assert outcomes["taken"] > 1000
    assert outcomes["malformed"] > 1000
    assert len(outcomes) > 8


def _mutated(payload, chance):
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(payload)) if payload else 0
        what = chance.randrange(5)
        if what == 0:
            payload[at : at + 1] = bytes([chance.randrange(256)])
        elif what == 1 and payload:
            payload[at] ^= 1 << chance.randrange(8)
        elif what == 2:
            del payload[at : at + chance.randint(1, 8)]
        elif what == 3:
            payload[at:at] = chance.choice(
                [b"[", b"{", b'"', b"1e9", b"null", b"\xff", b"\x9f", b"\xc1", b"\xfb", b"-"]
            )
        else:
            payload[at:at] = payload[at : at + chance.randint(1, 30)]
    return payload
