"""Checked values of the configuration as attributes. Apart from config, which a running node forgets."""


class Section:
    """One object of the configuration; its attributes are named like the keys."""
