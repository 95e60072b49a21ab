"""Checked values as attributes, and the error about unchecked ones. Apart from config, which a running node forgets."""


class ConfigError(Exception):
    """An operator must edit the file. `key` is the path of the value, as in the message."""

    def __init__(self, key, message):
        super().__init__("%s: %s" % (key, message))
        self.key = key


class Section:
    """One object of the configuration; its attributes are named like the keys."""

    def __init__(self, values):
        for name in values:
            setattr(self, name, values[name])
