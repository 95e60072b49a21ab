"""The short way for plain messages says the same as the long one, or nothing."""

import json

from hypothesis import example, given
from hypothesis import strategies as some

from gateway.devices import _digest, _plain_digest
from gateway.senml_decode import SenmlError, decode, decode_plain

FIELDS = some.fixed_dictionaries(
    {"v": some.one_of(some.floats(), some.integers(), some.booleans(), some.none(), some.text(max_size=3))},
    optional={
        "n": some.sampled_from(["t", "room/temp", "", "-x", "a b", "x" * 129, 7, "é"]),
        "u": some.sampled_from(["Cel", "%RH", "mV", "", None, "parsec"]),
        "t": some.one_of(some.integers(-(2**40), 2**40), some.floats(), some.just(1_800_000_000.125)),
        "bt": some.just(1_800_000_000),
        "vs": some.just("x"),
    },
)


@given(FIELDS, some.sampled_from([None, "application/senml+json", "application/senml+cbor"]))
def test_what_the_short_way_reads_the_long_one_reads_too(record, content_type):
    payload = json.dumps([record]).encode()
    plain = decode_plain(payload, content_type)
    if plain is not None:
        (resolved,) = decode(payload, content_type)
        assert plain == (resolved.name, resolved.unit, resolved.value, resolved.time_s)
        assert type(plain[2]) is type(resolved.value)
        assert _plain_digest(*plain) == _digest([resolved])


@given(some.binary(max_size=40) | some.text(alphabet='[]{}",:ntuv1e9.\\ ', max_size=40).map(str.encode))
@example(b'[{"n":"t","v":1,"t":1800000000,"t":1}]')
@example(b'[{"n":"t","v":1,"v":2,"t":1800000000}]')
@example(b'[{"n":"t","v":NaN,"t":1800000000}]')
@example(b'[{"n":"t","v":1,"t":1800000000}] ')
@example(b'[{"n":"t","u":{"x":1},"v":1,"t":1800000000}]')
@example(b'[{"n":"t","v":1e301,"t":1800000000}]')
def test_the_short_way_takes_nothing_that_the_long_one_refuses(payload):
    plain = decode_plain(payload, None)
    if plain is not None:
        try:
            (resolved,) = decode(payload)
        except SenmlError as error:
            raise AssertionError(f"{payload!r}: {error}") from None
        assert plain == (resolved.name, resolved.unit, resolved.value, resolved.time_s)


def test_the_usual_message_goes_the_short_way():
    payload = b'[{"n":"temperature","u":"Cel","t":1800000000.5,"v":21.5}]'
    assert decode_plain(payload, None) == ("temperature", "Cel", 21.5, 1_800_000_000.5)
