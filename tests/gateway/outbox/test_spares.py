"""What a new file of the record log costs the commits that go into it, by the kernel's count of bytes written."""

from pathlib import Path

import pytest

from gateway.outbox.files import Files
from gateway.outbox.page import PAGE
from gateway.outbox.spares import SEGMENT_BYTES, Spares

COMMITS = 50


def written_bytes() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["write_bytes"])


def test_a_page_that_is_written_into_a_new_file_costs_a_page(tmp_path):
    files, before = Files(), written_bytes()
    Spares(tmp_path, files).take(tmp_path / "1.seg", least_pages=1)
    if written_bytes() - before < SEGMENT_BYTES:
        pytest.skip("this file system's writes are not counted")
    fd, before = files.open(tmp_path / "1.seg"), written_bytes()
    for number in range(COMMITS):
        files.write(fd, b"\xff" * PAGE, number * PAGE)
        files.sync(fd)
    assert written_bytes() - before <= (COMMITS + 2) * PAGE
    assert files.read(fd, PAGE, SEGMENT_BYTES - PAGE) == bytes(PAGE)
    files.close(fd)
