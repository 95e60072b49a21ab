"""Checked values as attributes. Apart from config, so that a running node can forget how they were checked."""


class Section:
    """One object of the configuration; its attributes are named like the keys."""

    def __init__(self, values):
        for name in values:
            setattr(self, name, values[name])
