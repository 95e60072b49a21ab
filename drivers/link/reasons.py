"""Why a frame is refused: every reason that a FrameError of this package has, each the name of a counter.

Apart from the code that raises them, because a node has no use for the list. docs/protocol.md, "Refusals".
"""

REASONS = (
    "truncated",  # ends before its last field
    "oversized",  # longer than it may be, or than its fields are
    "unknown_version",
    "unknown_kind",
    "unsupported_kind",  # reserved in version 1: join, beacon, fragment
    "wrong_direction",  # an uplink where a downlink was expected, or the other way round
    "bad_tag",  # not sealed with this key, counter and header
    "unknown_schema",
    "unknown_extension",
    "bad_extension",  # extensions that contradict each other or the frame
    "unknown_flag",
    "out_of_range",  # a value outside its schema
    "bad_time",  # a report younger than its transmission, or older than its boot
    "bad_sequence",  # a sequence, floor or base that no node can have issued
    "too_many_reports",
    "bad_padding",
    "bad_cbor",
)
