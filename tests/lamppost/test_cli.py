"""The command line as people meet it: help, exit codes, and no traceback."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from lamppost.cli import COMMANDS, Command, main, parse


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


def sample_of(action: argparse.Action) -> list[str]:
    """Words that an option or a name takes: as many as it may have, two of any number."""
    one = str(next(iter(action.choices))) if action.choices else ("7" if action.type in (int, float) else "x")
    count = {None: 1, "?": 1, "*": 2, "+": 2}.get(action.nargs, action.nargs)  # type: ignore[call-overload]
    return [one] * int(count)


def arguments_of(command: Command) -> argparse.ArgumentParser:
    own = argparse.ArgumentParser()
    getattr(importlib.import_module(command.module), command.add_arguments)(own)
    return own


def needed(own: argparse.ArgumentParser) -> list[argparse.Action]:
    """Options that a command wants: those that it requires, and the first of each group of which it requires one."""
    of_groups = [group._group_actions[0] for group in own._mutually_exclusive_groups if group.required]
    return [one for one in own._actions if one.option_strings and one.required] + of_groups


@pytest.mark.parametrize(
    "command",
    [one for one in COMMANDS if one.words != ("node", "command")],
    ids=lambda command: " ".join(command.words),
)
def test_options_may_stand_before_between_and_behind_names(command: Command) -> None:
    own = arguments_of(command)
    exclusive = [one for group in own._mutually_exclusive_groups for one in group._group_actions]
    names = [word for one in own._actions if not one.option_strings for word in sample_of(one)]
    wanted = needed(own)
    of_one_value = [one for one in own._actions if one.option_strings and one.nargs in (None, 0) and one.dest != "help"]
    for action in of_one_value:
        if action in exclusive and action not in wanted:
            continue
        option = [action.option_strings[-1], *sample_of(action)]
        others = [word for one in wanted if one is not action for word in (one.option_strings[-1], *sample_of(one))]
        found = []
        for at in range(len(names) + 1):
            words = [*command.words, *others, *names[:at], *option, *names[at:]]
            found.append(parse(command, importlib.import_module(command.module), words))
        assert all(one == found[0] for one in found)


@pytest.mark.parametrize(
    "words",
    [
        "--config F --by me lamp-3 output on --for 60",
        "lamp-3 --config F output on --by me --for 60",
        "lamp-3 output --config F on --for 60 --by me",
        "lamp-3 output on --for 60 --by me --config F",
    ],
)
def test_options_of_a_node_command_may_stand_anywhere(words: str) -> None:
    command = next(one for one in COMMANDS if one.words == ("node", "command"))
    args = parse(command, importlib.import_module(command.module), ["node", "command", *words.split()])
    assert (args.node, args.name, args.state, args.for_s) == ("lamp-3", "output", "on", 60)
    assert (args.config, args.by, args.ttl, args.wait) == (Path("F"), "me", None, None)


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
