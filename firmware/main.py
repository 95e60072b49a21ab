"""Starts the node's application. Hold the button, or press Ctrl-C within the first seconds, to stay at the REPL."""

from firmware.start import run

run()
