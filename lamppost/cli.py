"""The command line."""


def main() -> int:
    raise SystemExit("lamppost: no command yet")
