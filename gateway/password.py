"""`lamppost gateway password`: makes a line for the access file, so that no password lies in a file in the clear."""

import argparse
import getpass
import sys

from gateway.errors import ConfigError
from gateway.mqtt.access import hash_password


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost gateway password`."""
    parser.add_argument("user", help="user name that the device connects with")
    parser.add_argument("devices", nargs="*", help="devices it may speak for; its own name if none is given")
    parser.epilog = "Asks for the password, or reads it from standard input. Append the line to access_file."


def run(args: argparse.Namespace) -> int:
    """Print the line."""
    names = [args.user, *args.devices]
    for name in names:
        if not name or name.startswith("#") or any(char.isspace() for char in name):
            raise ConfigError("user" if name is args.user else "devices", name, "must have no spaces and no # in front")
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ConfigError("password", None, "is empty; type one, or pipe it in")
    print(" ".join([args.user, hash_password(password.encode()), *args.devices]))
    return 0
