"""Packs for the city: each report under its id, the same time and value however it is packed, in JSON and CBOR."""

import json
import random

import cbor2
import pytest

from gateway.reading import Reading, Report
from gateway.senml import PackError, PackWriter, encode
from gateway.senml_decode import decode
from lamppost.demo.arrivals import records_of

NODE = "urn:dev:os:32473-abcdefghijklmnop"


def report(seq=0, *, at_s=1_800_000_000.0, values=(21.5, 48.0), **changes):
    readings = tuple(
        Reading(quantity=name, value=value, unit=unit)
        for (name, unit), value in zip((("temperature", "Cel"), ("humidity", "%RH")), values, strict=True)
    )
    fields = {"node": NODE, "record_id": f"{NODE}/1/{seq}", "measured_at_s": at_s, "readings": readings, "epoch": 1}
    return Report(**(fields | {"seq": seq, "assurance": "aead"} | changes))


def test_a_pack_reads_as_the_contract_says():
    pack = encode([report(0), report(1, at_s=1_800_000_060.0)], lane="live")
    assert pack.content_type == "application/senml+json"
    assert json.loads(pack.payload) == [
        {"bn": f"{NODE}_", "bt": 1_800_000_000, "n": "temperature", "u": "Cel", "v": 21.5},
        {"n": "humidity", "u": "%RH", "v": 48},
        {"n": "temperature", "u": "Cel", "v": 21.5, "t": 60},
        {"n": "humidity", "u": "%RH", "v": 48, "t": 60},
    ]
    assert pack.properties == (
        ("record-id", f"{NODE}/1/0"),
        ("record-n", "2"),
        ("record-id", f"{NODE}/1/1"),
        ("record-n", "2"),
        ("assurance", "aead"),
        ("lane", "live"),
    )


def test_a_time_that_is_no_point_is_marked_within_the_report():
    pack = encode([report(time_quality="bounded", time_error_s=350.0), report(1)], lane="backlog")
    records = json.loads(pack.payload)
    assert records[2:4] == [{"n": "time_quality", "vs": "bounded"}, {"n": "time_error", "u": "s", "v": 350}]
    assert [value for name, value in pack.properties if name == "record-n"] == ["4", "2"]


@pytest.mark.parametrize("value", [True, "text", b"\x00\xff", 7, 1e-9, -0.5])
def test_each_kind_of_value_comes_back(value):
    one = Report(
        node="m1",
        record_id="m1/c/1",
        measured_at_s=1.8e9,
        readings=(Reading(quantity="x", value=value),),
    )
    for content in ("json", "cbor"):
        pack = encode([one], lane="live", content=content)
        (resolved,) = decode(pack.payload, pack.content_type)
        assert (resolved.value, type(resolved.value)) == (value, type(value))


def test_a_sum_alone_comes_back():
    one = report(readings=(Reading(quantity="energy", value=None, unit="J", total=5.0),))
    assert decode(encode([one], lane="live").payload)[0].total == 5


def test_one_report_never_shows_two_times_or_values_however_it_is_packed():
    chance = random.Random(7)
    reports = [
        report(seq, at_s=chance.choice([1.8e9 + seq * 10 + chance.randrange(80) / 8, chance.uniform(1.7e9, 1.8e9)]))
        for seq in range(200)
    ]
    seen = {}
    for _ in range(50):
        at = chance.randrange(len(reports))
        some = reports[at : at + chance.randint(1, 16)]
        pack = encode(some, lane="live")
        for record in records_of(pack.payload, pack.properties):
            assert seen.setdefault(record.record_id, record.measurements) == record.measurements
            expected = reports[int(record.record_id.rsplit("/", 1)[1])]
            assert {m.time_s for m in record.measurements} == {expected.measured_at_s}


def test_cbor_says_what_json_says():
    reports = [report(seq, at_s=1.8e9 + seq * 61.125, time_quality="received") for seq in range(5)]
    by_json, by_cbor = (encode(reports, lane="live", content=content) for content in ("json", "cbor"))
    assert by_cbor.content_type == "application/senml+cbor"
    assert decode(by_cbor.payload, by_cbor.content_type) == decode(by_json.payload, by_json.content_type)
    assert by_json.properties == by_cbor.properties
    assert len(by_cbor.payload) < len(by_json.payload)
    assert set(cbor2.loads(by_cbor.payload)[0]) == {-2, -3, 0, 1, 2}


def test_a_record_about_a_node_carries_its_name_and_the_gateways_id():
    window = Report(
        node="gw-1",
        record_id="gw-1/1/0",
        measured_at_s=1.8e9,
        readings=(Reading(quantity="temperature/mean", value=20.5, unit="Cel"),),
        kind="window",
        subject=NODE,
    )
    pack = encode([window], lane="live")
    assert json.loads(pack.payload)[0]["bn"] == f"{NODE}_"
    assert pack.node == "gw-1"
    assert pack.properties[0] == ("record-id", "gw-1/1/0")


@pytest.mark.parametrize("reports", [[], [report(), report(node="other")], [report(), report(assurance="none")]])
def test_what_is_no_single_pack_is_refused(reports):
    with pytest.raises(PackError):
        encode(reports, lane="live")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "\ud800"])
@pytest.mark.parametrize("content", ["json", "cbor"])
def test_what_senml_has_no_form_for_is_refused_by_record_and_leaves_the_pack_as_it_was(value, content):
    writer = PackWriter(NODE, "aead", lane="live", content=content)
    assert writer.add(report(0))
    with pytest.raises(PackError, match="/1/1"):
        writer.add(report(1, at_s=1.7e9, readings=(Reading(quantity="x", value=value),)))
    assert writer.add(report(2))
    expected = encode([report(0), report(2)], lane="live", content=content)
    assert writer.pack() == expected


@pytest.mark.parametrize("content", ["json", "cbor"])
def test_a_pack_stays_below_the_bytes_it_is_given_and_counts_them_honestly(content):
    writer = PackWriter(NODE, "aead", lane="live", content=content, most_bytes=1_000)
    taken = [writer.add(report(seq)) for seq in range(50)]
    pack = writer.pack()
    told = sum(5 + len(name) + len(value) for name, value in pack.properties)
    assert len(pack.payload) + told < pack.size_bytes <= 1_000
    assert taken.index(False) == sum(name == "record-id" for name, _ in pack.properties) > 3
    assert [record.record_id for record in records_of(*plain(pack))] == [
        f"{NODE}/1/{seq}" for seq in range(taken.index(False))
    ]


@pytest.mark.parametrize("number", [21.0, -0.0, 1e16, 1e-9, 2**60, 0.1 + 0.2, 5e-324, 1e300])
def test_numbers_come_back_as_they_were(number):
    (resolved,) = decode(encode([report(readings=(Reading(quantity="x", value=number),))], lane="live").payload)
    assert resolved.value == number


def test_text_of_any_language_comes_back():
    one = report(readings=(Reading(quantity="note", value='a "quoted"\n\x01 \u2028 Größe 😀'),))
    (resolved,) = decode(encode([one], lane="live").payload)
    assert resolved.value == one.readings[0].value


def plain(pack):
    """Payload and properties as the demo's subscriber sees them, JSON or not."""
    if pack.content_type.endswith("json"):
        return pack.payload, pack.properties
    labels = {-2: "bn", -3: "bt", 0: "n", 1: "u", 2: "v", 6: "t"}
    records = [{labels[key]: value for key, value in one.items()} for one in cbor2.loads(pack.payload)]
    return json.dumps(records).encode(), pack.properties
