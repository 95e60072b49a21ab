"""`gateway check` against a real machine: folders, files and ports."""

import os
import socket
from pathlib import Path

import pytest

from gateway.check import problems
from gateway.config import parse
from lamppost.cli import main


@pytest.fixture
def text(tmp_path: Path, unused_tcp_port: int) -> str:
    return f"""
[gateway]
id = "gw-1"
site = "test"
data_dir = "{tmp_path / "data"}"
[southbound.mqtt]
listen = "mqtt://127.0.0.1:{unused_tcp_port}"
[[city]]
kind = "mqtt"
url = "mqtt://127.0.0.1:1884"
topic = "city/{{site}}/{{node}}/senml"
"""


def keys(text: str) -> list[str]:
    return [error.key for error in problems(parse(text))]


def test_good_file_has_no_problems(text: str) -> None:
    assert keys(text) == []


def test_data_dir_below_a_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    assert keys(text) == ["gateway.data_dir"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_data_dir_that_cannot_be_written_is_named(text: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert keys(text) == ["gateway.data_dir"]
    finally:
        tmp_path.chmod(0o700)


def test_taken_port_is_named(text: str) -> None:
    port = parse(text).southbound.mqtt.listen_endpoint.port
    with socket.create_server(("127.0.0.1", port)):
        assert keys(text) == ["southbound.mqtt.listen"]


@pytest.mark.parametrize(
    "addition, culprit",
    [
        ('username = "u"\npassword_file = "{dir}/none"', "city[0].password_file"),
        ('username = "u"\npassword_file = "{dir}/empty"', "city[0].password_file"),
        ('username = "u"\npassword_file = "{dir}/open"', "city[0].password_file"),
        ('ca_file = "{dir}/open"', "city[0].ca_file"),
        ('cert_file = "{dir}/open"\nkey_file = "{dir}/closed"', "city[0].cert_file"),
    ],
)
def test_bad_file_is_named(text: str, tmp_path: Path, addition: str, culprit: str) -> None:
    for name, content, mode in (("empty", "", 0o600), ("open", "x", 0o644), ("closed", "x", 0o600)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    assert keys(text + addition.format(dir=tmp_path)) == [culprit]


def test_command_exits_2_with_the_key_to_edit(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(text.replace("listen", "listne"))
    assert main(["gateway", "check", "--config", str(path)]) == 2
    assert "southbound.mqtt.listne: is not a key of gateway.toml; did you mean 'listen'?" in capsys.readouterr().out


def test_command_exits_0_when_all_is_right(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    assert main(["gateway", "check", "--config", str(path)]) == 0
    assert "all right" in capsys.readouterr().out


@pytest.mark.parametrize("content, rule", [(b"\xff\xfe", "is not UTF-8 text"), (b"x =", "is not TOML")])
def test_a_file_that_is_wrong_as_a_whole_is_named_once(tmp_path: Path, capsys, content: bytes, rule: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(content)
    assert main(["gateway", "check", "--config", str(path)]) == 2
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{path}: {rule}")
    assert first.count(str(path)) == 1
