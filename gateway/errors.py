"""What the gateway raises on purpose; each class says what the caller can do. A frame's own error is drivers.link's."""


class GatewayError(Exception):
    """Everything the gateway raises on purpose."""


class CityError(GatewayError):
    """The city platform is out of reach: keep the readings, try later."""


class ConfigError(GatewayError):
    """An operator must edit the file: `key` says which line, dotted as in TOML."""

    def __init__(self, key: str, value: object, rule: str) -> None:
        super().__init__(f"{key} = {_toml(value)}: {rule}" if value is not None else f"{key}: {rule}")
        self.key = key
        self.value = value
        self.rule = rule

    def under(self, prefix: str) -> "ConfigError":
        """The same error for a table that lies deeper, e.g. "city[1]" instead of "city"."""
        return ConfigError(f"{prefix}.{self.key}" if self.key else prefix, self.value, self.rule)


def _toml(value: object) -> str:
    """The value as the operator wrote it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    return f'"{value}"'
