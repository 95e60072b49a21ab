"""The demo: a virtual street, a gateway and a city broker on this machine, with an outage in the middle.

Read run (the course of it), stage (what is started), then arrivals, truth and report (the verdict).
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nodes", type=int, default=4, metavar="N", help="virtual nodes, half LoRa, half MQTT (default 4)"
    )
    parser.add_argument("--duration", type=float, default=60, metavar="S", help="seconds they report (default 60)")
    parser.add_argument(
        "--outage", type=float, default=15, metavar="S", help="seconds in the middle without the city (default 15)"
    )
    parser.add_argument(
        "--city", metavar="URL", help="a city broker of yours, mqtt://host:port (default: one of our own)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures and every record id here")
    parser.add_argument("--keep", metavar="DIR", help="keep flash images, gateway data and logs in this new folder")


def run(args: argparse.Namespace) -> int:
    """Returns 0 if nothing was lost or came twice, 1 if something did, 2 if the arguments make no sense."""
    from lamppost.demo.run import main

    return main(args)
