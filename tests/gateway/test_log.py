"""Log lines as programs read them."""

import io
import json
import logging

import pytest

from gateway import log as logs


@pytest.fixture
def root_log():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def written(form: str, message: str) -> str:
    stream = io.StringIO()
    logs.configure(form=form, level="info", stream=stream)
    logging.getLogger("gateway.southbound.lora").warning("%s", message)
    return stream.getvalue()


@pytest.mark.usefixtures("root_log")
def test_logfmt_line_stays_one_line() -> None:
    line = written("logfmt", 'two words, "quoted"\nand a new line')
    assert line.count("\n") == 1
    assert r'part=southbound.lora msg="two words, \"quoted\"\nand a new line"' in line
    assert "level=warning" in line


@pytest.mark.usefixtures("root_log")
def test_json_line_is_an_object_with_the_same_names() -> None:
    fields = json.loads(written("json", "hello"))
    assert fields["part"] == "southbound.lora"
    assert fields["msg"] == "hello"
    assert fields["time"].endswith("Z")
