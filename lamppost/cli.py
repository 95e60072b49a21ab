"""The command line: `lamppost <what> ...`. Each command is one module with add_arguments(parser) and run(args).

Modules are imported when their command is used, so that `gateway run` on a small machine loads nothing of the demo.
Exit codes: 0 done, 1 the job failed, 2 the operator must edit an input. A traceback reaches a user
only with --debug.
"""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

DONE, FAILED, EDIT = 0, 1, 2
_INTERRUPTED = 130  # what a shell expects after Ctrl-C


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command: its words, the module that does it, and that module's function names."""

    words: tuple[str, ...]
    module: str
    about: str
    add_arguments: str = "add_arguments"
    run: str = "run"


COMMANDS = (
    Command(
        words=("demo",), module="lamppost.demo", about="watch a virtual street report, lose its city, and lose nothing"
    ),
    Command(words=("enrol",), module="provisioning.enrol", about="admit a node: make its keys and its name"),
    Command(words=("provision",), module="provisioning.provision", about="put firmware, keys and settings on a node"),
    Command(
        words=("node", "forget"), module="provisioning.forget", about="erase all that a board holds, and read it back"
    ),
    Command(words=("gateway", "run"), module="gateway.run", about="run the gateway"),
    Command(words=("gateway", "check"), module="gateway.check", about="say what is wrong with a gateway.toml"),
    Command(
        words=("gateway", "identity"),
        module="provisioning.gateway_identity",
        about="make the gateway's key pair, print its public key",
    ),
    Command(
        words=("gateway", "config-template"),
        module="gateway.config_template",
        about="print a gateway.toml with every key explained",
    ),
    Command(
        words=("gateway", "status"), module="gateway.status", about="show what the gateway holds, hears and delivers"
    ),
    Command(
        words=("gateway", "password"), module="gateway.password", about="make a line of the list of who may connect"
    ),
    Command(
        words=("gateway", "backup"), module="gateway.backup.saving", about="write what the gateway knows into a file"
    ),
    Command(
        words=("gateway", "restore"),
        module="gateway.backup.restoring",
        about="make a new gateway with the memory of one that was backed up",
    ),
    Command(
        words=("gateway", "forget"),
        module="gateway.forget",
        about="overwrite and remove everything the gateway knows, for a box that is sold or scrapped",
    ),
    *(
        Command(words=("outbox", word), module=f"gateway.outbox.tools.{word}", about=about)
        for word, about in (
            ("audit", "show for each platform that nothing is lost in silence"),
            ("inspect", "show segments, classes, cursors and sizes"),
            ("fsck", "read everything, and say what is damaged"),
            ("export", "write the stored records to a file"),
        )
    ),
    *(
        Command(
            words=("group", verb),
            module="gateway.edge.group_command",
            about=about,
            add_arguments=f"add_{verb}_arguments",
            run=f"run_{verb}",
        )
        for verb, about in (
            ("list", "show the groups of nodes"),
            ("show", "show one group and its nodes"),
            ("create", "make a group or a zone"),
            ("update", "add nodes to a group, or remove them"),
            ("delete", "delete a group"),
        )
    ),
    *(
        Command(
            words=("authority", word),
            module=module,
            about=about,
            add_arguments=f"add_{name}_arguments",
            run=f"run_{run}",
        )
        for word, module, name, run, about in (
            ("init", "provisioning.authority", "init", "init", "make a site's authority: its key, log and anchor"),
            ("issue", "provisioning.authority_say", "issue", "issue", "enrol nodes, devices and gateways"),
            ("endorse", "provisioning.authority_say", "endorse", "endorse", "vouch for an identity for some time"),
            ("suspend", "provisioning.authority_say", "about", "suspend", "refuse an identity until it is un-revoked"),
            ("revoke", "provisioning.authority_say", "revoke", "revoke", "refuse an identity or a gateway for good"),
            ("unrevoke", "provisioning.authority_say", "about", "unrevoke", "admit an identity again"),
            ("rotate", "provisioning.authority_say", "rotate", "rotate", "give a node or the site a new key"),
            (
                "transfer",
                "provisioning.authority_say",
                "transfer",
                "transfer",
                "move an identity to a zone or another site",
            ),
            ("policy", "provisioning.authority_rules", "policy", "policy", "put a policy into force"),
            ("anchor", "provisioning.authority_rules", "anchor", "anchor", "trust another site, or no longer"),
            ("export", "provisioning.authority", "export", "export", "write a bundle or the anchor for others"),
        )
    ),
    *(
        Command(
            words=("alarm", verb),
            module="gateway.edge.alarm_command",
            about=about,
            add_arguments=f"add_{verb}_arguments",
            run=f"run_{verb}",
        )
        for verb, about in (("list", "show the alarms that are raised"), ("ack", "say that an alarm has been seen"))
    ),
    *(
        Command(
            words=words, module=module, about=about, add_arguments=f"add_{words[1]}_arguments", run=f"run_{words[1]}"
        )
        for words, module, about in (
            (("registry", "init"), "gateway.registry.commands", "make a gateway's registry and its request"),
            (("registry", "show"), "gateway.registry.commands", "show logs, gateways, identities, policy"),
            (("registry", "sync"), "gateway.registry.commands", "carry logs by file"),
            (
                ("registry", "suspend"),
                "gateway.registry.commands",
                "refuse identities at this gateway, with no authority",
            ),
            (("registry", "prove"), "gateway.registry.commands_prove", "write a proof for one identity"),
            (("registry", "verify"), "gateway.registry.commands_prove", "check a proof, or every signature there is"),
            (("identity", "resolve"), "gateway.registry.commands_prove", "show who is behind a name"),
            (("audit", "verify"), "gateway.audit_commands", "say whether the audit log was changed"),
            (("audit", "show"), "gateway.audit_commands", "print the audit log"),
        )
    ),
    *(
        Command(
            words=("node", word),
            module="gateway.command.cli",
            about=about,
            add_arguments=f"add_{word}_arguments",
            run=f"run_{word}",
        )
        for word, about in (
            ("command", "have a node report, switch its output, change its pace or restart"),
            ("commands", "show what was asked of nodes, and what came of it"),
        )
    ),
    Command(words=("city", "watch"), module="lamppost.watch", about="show what arrives at a city broker"),
    Command(words=("board", "up"), module="lamppost.board", about="start a virtual board that mpremote can talk to"),
)
_GROUPS = {
    "node": "a node: on a serial port, or in the street through its gateway",
    "gateway": "the box in the street cabinet: run it, check it, look into it",
    "group": "nodes under one name, for windows, rules and policies",
    "alarm": "what the rules of the gateway have found",
    "authority": "the site's owner: who belongs to the site, and who no longer",
    "registry": "the site's signed logs, as a gateway holds them",
    "identity": "who is behind a name",
    "audit": "what a gateway did, hash-chained",
    "outbox": "the records that wait on disk: look into them, check them, take them out",
    "city": "the far end: what a platform receives",
    "board": "a node without hardware",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. `argv` is without the program's name."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        command = _chosen(words)
        module = importlib.import_module(command.module) if command else None
        args = parse(command, module, words)
        return int(getattr(module, command.run)(args)) if command else DONE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at exit
        return DONE
    except Exception as error:  # the last boundary before a person
        if debug:
            raise
        return _explain(error)


def _chosen(words: Sequence[str]) -> Command | None:
    """The command that `words` begin with, options aside."""
    plain = [word for word in words if not word.startswith("-")]
    return next((one for one in COMMANDS if tuple(plain[: len(one.words)]) == one.words), None)


def parse(chosen: Command | None, module: Any, words: Sequence[str]) -> argparse.Namespace:
    """What `words` say. Options of a command may stand before, between and behind its names."""
    parser, one = _parser(chosen, module)
    if chosen is None or one is None or tuple(words[: len(chosen.words)]) != chosen.words or _has_commands(one):
        return parser.parse_args(words)
    return one.parse_intermixed_args(words[len(chosen.words) :])


def _has_commands(parser: argparse.ArgumentParser) -> bool:
    """Whether another word chooses among parsers: then argparse cannot sort options from names."""
    return any(action.nargs == argparse.PARSER for action in parser._actions)


def _parser(chosen: Command | None, module: Any) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser | None]:
    """A parser for all commands, with the options of the chosen one; and that one's own."""
    parser = argparse.ArgumentParser(
        prog="lamppost", description="Street sensors to city, with nothing lost in silence."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    _add_debug(parser)
    top = parser.add_subparsers(title="commands", metavar="<command>", required=True)
    groups: dict[str, Any] = {}
    own = None
    for command in COMMANDS:
        place = top
        if len(command.words) == 2:
            group = command.words[0]
            if group not in groups:
                below = top.add_parser(group, help=_GROUPS[group], description=_sentence(_GROUPS[group]))
                groups[group] = below.add_subparsers(title="commands", metavar="<command>", required=True)
            place = groups[group]
        one = place.add_parser(command.words[-1], help=command.about, description=_sentence(command.about))
        _add_debug(one)
        if command is chosen:
            getattr(module, command.add_arguments)(one)
            own = one
    return parser, own


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: what that loads would stay in the memory of every gateway."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        print(f"lamppost {metadata.version('lamppost')}")
        parser.exit()


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )


def _sentence(about: str) -> str:
    return f"{about[0].upper()}{about[1:]}."


def _explain(error: Exception) -> int:
    """One line for a person; the traceback of what we did not foresee goes to a file."""
    import tempfile  # here, because a gateway without faults has no use for it

    from gateway.errors import ConfigError, GatewayError

    while isinstance(error, ExceptionGroup):  # of a task group: the first is as good as any
        error = error.exceptions[0]
    if isinstance(error, ConfigError):
        print(f"lamppost: {error}", file=sys.stderr)
        return EDIT
    if isinstance(error, GatewayError):
        print(f"lamppost: {error}", file=sys.stderr)
        return FAILED
    with tempfile.NamedTemporaryFile("w", prefix="lamppost-", suffix=".log", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    print(f"lamppost: {what}; this is a fault of ours, please report it with {file.name}", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
