"""Many numbers to text at once, in the very digits of repr: msgspec writes a float in a ninth of the time.

Where its spelling is another one (exponents, and what is no number), repr itself is asked. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

_encode = msgspec.json.Encoder().encode
_OTHERWISE = (b"e", b"0.0000", b"u")  # an exponent; a number that repr has one for; null, for what JSON cannot say


def reprs(numbers: Sequence[float]) -> list[bytes]:
    """What repr says of each."""
    text = _together(numbers)
    return [repr(number).encode() for number in numbers] if text is None else text[1:-1].split(b",")


def shortest(numbers: Sequence[float]) -> list[str]:
    """The same as JSON has it, 21.0 as 21: the same number in fewer bytes. Raises ValueError for what is no number."""
    text = _together(numbers)
    if text is None:
        return [number_text(number) for number in numbers]
    return (text[1:-1] + b",").replace(b".0,", b",")[:-1].decode().split(",")


def number_text(number: float) -> str:
    """One of them."""
    text = repr(number)
    if text[-2:] == ".0":
        return text[:-2]
    if text[-1] in "nf":  # nan, inf
        raise ValueError(f"{text} is no number in JSON")
    return text


def _together(numbers: Sequence[float]) -> bytes | None:
    """All as a JSON array, one digit like those of repr; None if not, or if there are none."""
    text = _encode(numbers)
    return None if not numbers or any(map(text.__contains__, _OTHERWISE)) else text
