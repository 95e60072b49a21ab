"""What is wrong with a file that an operator writes."""


class ConfigError(Exception):
    """An operator must edit the file. `key` is the path of the value, as in the message."""

    def __init__(self, key, message):
        super().__init__("%s: %s" % (key, message))
        self.key = key
