"""The node's application (MicroPython): sample, journal, report."""
