"""Reports to try the packer with, from hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from drivers.link.pack import Report
from drivers.link.schema import LIMITS, SCHEMAS, SELF_DESCRIBING

U32 = st.integers(0, 0xFFFFFFFF)
DESCRIBED = st.tuples(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9:./_-]{0,9}", fullmatch=True),
    st.sampled_from(["Cel", "%RH", "Pa", "kg/m3", "m", "V", "/"]),
    st.integers(-18, 18),
    st.integers(-(1 << 63), (1 << 63) - 1),
)


@st.composite
def values_of(draw, schema: int):
    """Any values a schema can carry; edges and small numbers come up often."""
    if schema == SELF_DESCRIBING:
        return [list(item) for item in draw(st.lists(DESCRIBED, min_size=1, max_size=4))]
    return tuple(draw(st.integers(*LIMITS[name])) for name in SCHEMAS[schema])


@st.composite
def nearby(draw, schema: int, before):
    """Values a little away from those before, as the next measurement mostly has."""
    drift = [draw(st.integers(-600, 600)) for _ in before]
    limits = [LIMITS[name] for name in SCHEMAS[schema]]
    return tuple(
        min(high, max(low, value + away)) for value, away, (low, high) in zip(before, drift, limits, strict=True)
    )


@st.composite
def report_runs(draw, *, latest_s: int = 0xFFFFFFFF):
    """One to twenty reports in order: regular, jittered and odd steps, gaps in sequence, changing schemas."""
    seq = draw(st.integers(0, 0xFFFF0000))
    time_s = draw(st.integers(0, latest_s))
    schema = draw(st.sampled_from([*SCHEMAS, SELF_DESCRIBING]))
    run = [Report(seq, time_s, schema, draw(values_of(schema)))]
    step_s = draw(st.sampled_from([0, 1, 60, 600, 90_000]))
    while len(run) < 20 and draw(st.booleans()):
        step_s = draw(st.just(step_s) | st.integers(max(0, step_s - 3), step_s + 3) | st.integers(0, 1 << 21))
        seq += draw(st.just(1) | st.integers(1, 129))
        time_s += step_s
        if time_s > latest_s:
            break
        before = run[-1]
        schema = draw(st.just(before.schema) | st.sampled_from([*SCHEMAS, SELF_DESCRIBING]))
        near = schema == before.schema != SELF_DESCRIBING and draw(st.booleans())
        run.append(Report(seq, time_s, schema, draw(nearby(schema, before.values) if near else values_of(schema))))
    return run
