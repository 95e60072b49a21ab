"""Run by the interpreter: here so that boot.py and main.py share the REPL's names."""

import _start

_start.run(globals())
del _start
