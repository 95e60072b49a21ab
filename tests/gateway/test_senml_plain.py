"""The short way for plain messages says the same as the long one, or nothing."""

import json

from hypothesis import example, given
from hypothesis import strategies as some

from gateway.senml_decode import SenmlError, decode
from gateway.senml_plain import read_plain

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


def decode_alone(payload):
    """The one record of a message; None: it is not plain."""
    columns = read_plain([payload])
    return None if columns is None else next(zip(*columns, strict=True))


def decode_together(payloads):
    """The same of each of several."""
    columns = read_plain(payloads)
    return None if columns is None else list(zip(*columns, strict=True))


@given(FIELDS)
def test_what_the_short_way_reads_the_long_one_reads_too(record):
    payload = json.dumps([record]).encode()
    plain = decode_alone(payload)
    if plain is not None:
        (resolved,) = decode(payload)
        kind = type(resolved.value)
        assert plain[:5] == (resolved.name, resolved.unit, resolved.value, kind, resolved.time_s)
        assert type(plain[2]) is kind
        assert plain[5:] == (repr(resolved.value).encode(), repr(resolved.time_s).encode())


@given(some.binary(max_size=40) | some.text(alphabet='[]{}",:ntuv1e9.\\ ', max_size=40).map(str.encode))
@example(b'[{"n":"t","v":1,"t":1800000000,"t":1}]')
@example(b'[{"n":"t","v":1,"v":2,"t":1800000000}]')
@example(b'[{"n":"t","v":NaN,"t":1800000000}]')
@example(b'[{"n":"t","v":1,"t":1800000000}] ')
@example(b'[{"n":"t","u":{"x":1},"v":1,"t":1800000000}]')
@example(b'[{"n":"t","v":1e301,"t":1800000000}]')
def test_the_short_way_takes_nothing_that_the_long_one_refuses(payload):
    plain = decode_alone(payload)
    if plain is not None:
        try:
            (resolved,) = decode(payload)
        except SenmlError as error:
            raise AssertionError(f"{payload!r}: {error}") from None
        kind = type(resolved.value)
        assert plain[:5] == (resolved.name, resolved.unit, resolved.value, kind, resolved.time_s)


def test_the_usual_message_goes_the_short_way():
    payload = b'[{"n":"temperature","u":"Cel","t":1800000000.5,"v":21.5}]'
    assert decode_alone(payload) == ("temperature", "Cel", 21.5, float, 1_800_000_000.5, b"21.5", b"1800000000.5")


PIECES = [
    '[{"n":"t","v":1,"t":1800000000}]',
    "[",
    "]",
    "{",
    "}",
    ",",
    '"',
    '"n"',
    ":",
    "1",
    "\n",
    "],\n[",
    " ",
    "\\",
    "[[",
    "{}",
]


@given(
    some.lists(some.lists(some.sampled_from(PIECES), max_size=5).map(lambda parts: "".join(parts).encode()), min_size=1)
)
@example([b'[{"n":"a}]', b'[{":1}]'])
@example([b"[{}],[{}", b"{}]"])
@example([b"[[1]", b"[2]]", b"[1],[2]"])
@example(
    [b'[{"n":"t","v":1]', b'["t":1800000000}]', b'[{"n":"t","v":1,"t":1800000000},{"n":"t","v":2,"t":1800000000}]']
)
@example([b"[1],[2]", b"3", b"[4]"])
def test_messages_read_together_say_what_each_says_alone(payloads):
    alone = [decode_alone(payload) for payload in payloads]
    assert decode_together(payloads) == (None if None in alone else alone)


PLAIN = some.fixed_dictionaries(
    {
        "n": some.sampled_from(["t", "room/temp"]),
        "v": some.one_of(some.floats(-1e20, 1e20), some.integers(-(2**64), 2**64)),
        "t": some.one_of(some.integers(2**28 - 1, 2**36 + 1), some.floats(2.0**28, 2.0**36)),
    },
    optional={"u": some.sampled_from(["Cel", "%RH", None])},
)


@given(some.lists(PLAIN, min_size=1, max_size=6), some.none() | FIELDS)
def test_many_plain_messages_say_what_each_says_alone(records, odd):
    payloads = [json.dumps([record]).encode() for record in (*records, *([odd] if odd else []))]
    alone = [decode_alone(payload) for payload in payloads]
    assert repr(decode_together(payloads)) == repr(None if None in alone else alone)
