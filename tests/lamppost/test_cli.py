"""The command line as people meet it: help, exit codes, and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lamppost.cli import COMMANDS, main


def lamppost(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lamppost.cli", *words], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("words", [one.words for one in COMMANDS], ids=" ".join)
def test_help_of_every_command_is_shown(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert f"usage: lamppost {' '.join(words)}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["gateway"], ["nonsense"], ["gateway", "rnu"], ["enrol"]])
def test_wrong_command_exits_2_with_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: lamppost" in capsys.readouterr().err


def test_wrong_file_exits_2_and_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "run", "--config", str(tmp_path / "none.toml")]) == 2
    assert str(tmp_path / "none.toml") in capsys.readouterr().err


def test_unforeseen_error_is_one_line_and_a_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.config_template.template", lambda: 1 / 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["gateway", "config-template"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ZeroDivisionError" in said
    (log,) = tmp_path.glob("lamppost-*.log")
    assert str(log) in said
    assert "Traceback" in log.read_text()


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.config_template.template", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["gateway", "config-template", "--debug"])


def test_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m lamppost.cli gateway config-template | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""


def test_gateway_loads_nothing_of_the_demo() -> None:
    code = (
        "import sys, gateway.run; print([m for m in ('rich', 'mpremote', 'littlefs', 'aiomqtt') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_template_is_printed_and_passes_check(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(lamppost("gateway", "config-template").stdout.replace("/var/lib/lamppost", str(tmp_path / "d")))
    done = lamppost("gateway", "check", "--config", str(path))
    assert (done.returncode, done.stderr) == (0, "")
