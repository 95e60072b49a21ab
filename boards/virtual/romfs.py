"""A read-only file system for MicroPython's VfsRom, whose modules run where they lie and take no heap for their code.

Format: MicroPython docs, "ROMFS": records of kind, length and payload, both numbers in groups of 7 bits.
"""

from collections.abc import Mapping

_MAGIC = b"\xd2\xcd\x31"
_DATA_VERBATIM = 2
_FILE = 5


def build(files: Mapping[str, bytes]) -> bytes:
    """An image with these files, by name, in its top folder."""
    body = b"".join(_file(name.encode(), content) for name, content in files.items())
    length = _number(len(body))
    if (len(_MAGIC) + len(length) + len(body)) % 2:
        length = b"\x80" + length  # the whole has an even length
    return _MAGIC + length + body


def _file(name: bytes, content: bytes) -> bytes:
    return _record(_FILE, _number(len(name)) + name + _record(_DATA_VERBATIM, content))


def _record(kind: int, payload: bytes) -> bytes:
    return _number(kind) + _number(len(payload)) + payload


def _number(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.insert(0, 0x80 | value & 0x7F)
    return bytes(groups)
