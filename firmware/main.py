"""Starts the node's application. Hold the button, or press Ctrl-C within the first seconds, to stay at the REPL.

At the REPL `parts` is what the application was made of, e.g. parts.reporter.counters.
"""

import gc

gc.threshold(8_192)  # collected only when it is full, a heap of this size ends in pieces too small for a module

try:
    import firmware.start

    parts = firmware.start.prepare()
    if parts:
        if parts.is_joining:
            from firmware.admission import seek as serve
        else:
            from firmware.node import serve
        serve(parts)
except MemoryError as error:  # so little is left that not even a crash could be told and counted
    import time

    import machine

    print("lamppost: %s; reset in a minute, Ctrl-C opens the REPL" % error)
    time.sleep(60)
    machine.reset()
