"""Starts the node's application. Hold the button, or press Ctrl-C within the first seconds, to stay at the REPL.

At the REPL `parts` is what the application was made of, e.g. parts.reporter.counters.
"""

import firmware.start

parts = firmware.start.prepare()
if parts:
    from firmware.node import serve

    serve(parts)
