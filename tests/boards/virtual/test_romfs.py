"""Our ROM images are those of mpremote, byte for byte."""

import pytest
from mpremote.romfs import VfsRomWriter

from boards.virtual import romfs


@pytest.mark.parametrize(
    "files",
    [{}, {"a.mpy": b"x"}, {"a.mpy": b"x", "b.mpy": b"yz"}, {"long.mpy": bytes(20_000), "n.mpy": bytes(127)}],
)
def test_image_is_that_of_the_reference_writer(files: dict[str, bytes]) -> None:
    writer = VfsRomWriter()
    for name, content in files.items():
        writer.mkfile(name, content)
    assert romfs.build(files) == bytes(writer.finalise())
