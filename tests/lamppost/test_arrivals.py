import json

import pytest
import zstandard

from lamppost.demo.arrivals import ArrivalError, Arrivals, records_of

NODE = "urn:dev:os:32473-aaaaaaaaaaaaaaaa"
PACK = json.dumps(
    [
        {"bn": f"{NODE}_", "bt": 1_700_000_000, "n": "temperature", "u": "Cel", "v": 21.5},
        {"n": "humidity", "u": "%RH", "v": 40},
        {"n": "temperature", "u": "Cel", "v": 21.6, "t": 10},
    ]
).encode()
COMMON = [("assurance", "aead"), ("lane", "live")]


def ids(*pairs: tuple[str, int]) -> list[tuple[str, str]]:
    return [entry for name, n in pairs for entry in (("record-id", name), ("record-n", str(n)))]


def test_a_pack_is_split_where_record_n_says() -> None:
    first, second = records_of(PACK, ids((f"{NODE}/1/0", 2), (f"{NODE}/1/1", 1)) + COMMON)
    assert [m.name for m in first.measurements] == [f"{NODE}_temperature", f"{NODE}_humidity"]
    assert second.measurements[0].time_s == 1_700_000_010
    assert second.node == NODE


def test_one_id_without_record_n_covers_the_whole_pack() -> None:
    (only,) = records_of(PACK, [("record-id", f"{NODE}/1/0"), *COMMON])
    assert len(only.measurements) == 3


@pytest.mark.parametrize(
    "properties",
    [
        COMMON,  # no id at all
        [*ids((f"{NODE}/1/0", 2)), *COMMON],  # one record is nobody's
        [*ids((f"{NODE}/1/0", 4)), *COMMON],  # more promised than there is
        [*ids((f"{NODE}/1/0", 3)), ("lane", "live")],  # nobody says how sure it is
    ],
)
def test_ids_that_do_not_cover_the_pack_are_refused(properties: list[tuple[str, str]]) -> None:
    with pytest.raises(ArrivalError):
        records_of(PACK, properties)


def test_seeing_a_record_again_is_a_repeat_and_no_duplicate() -> None:
    arrivals = Arrivals("gw-1")
    for _ in range(2):
        arrivals.add(PACK, [("record-id", f"{NODE}/1/0"), *COMMON])
    assert (arrivals.repeats, arrivals.duplicates) == (1, [])


def test_one_measurement_under_two_ids_is_a_duplicate() -> None:
    arrivals = Arrivals("gw-1")
    arrivals.add(PACK, [("record-id", f"{NODE}/1/0"), *COMMON])
    arrivals.add(PACK, [("record-id", f"{NODE}/1/1"), *COMMON])
    assert arrivals.duplicates == [f"{NODE}/1/1"]


def test_one_id_with_two_contents_is_a_duplicate() -> None:
    arrivals = Arrivals("gw-1")
    arrivals.add(PACK, [("record-id", f"{NODE}/1/0"), *COMMON])
    arrivals.add(PACK.replace(b"21.5", b"22.5"), [("record-id", f"{NODE}/1/0"), *COMMON])
    assert arrivals.duplicates == [f"{NODE}/1/0"]


def test_records_of_the_gateway_are_told_apart() -> None:
    arrivals = Arrivals("gw-1")
    arrivals.add(PACK, [("record-id", "gw-1/1/0"), *COMMON])
    assert arrivals.node_ids() == set()
    assert len(arrivals.gateway_records()) == 1


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def test_a_compressed_pack_is_the_pack() -> None:
    plain = [("record-id", f"{NODE}/1/0"), *COMMON]
    assert records_of(zstd(PACK), [*plain, ("content-encoding", "zstd")]) == records_of(PACK, plain)


@pytest.mark.parametrize(
    "payload, encoding",
    [
        (PACK, "zstd"),
        (zstd(PACK), "gzip"),
        (zstd(b" " * 2_000_000), "zstd"),
        (zstd(PACK)[:-3], "zstd"),
    ],
)
def test_a_wrapping_that_is_not_what_it_says_is_an_error(payload: bytes, encoding: str) -> None:
    arrivals = Arrivals(gateway_id="gw-1")
    arrivals.add(payload, [("record-id", f"{NODE}/1/0"), *COMMON, ("content-encoding", encoding)])
    assert len(arrivals.errors) == 1
    assert not arrivals.records
