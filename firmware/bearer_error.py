"""What both bearers share: the error that says a frame did not go out, or may not have."""


class BearerError(Exception):
    """No way to the gateway at the moment: keep the reports, try later. The message says what to check."""
