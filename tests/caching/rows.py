"""Rows such as drivers return, for Hypothesis, and what it means that they come back."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from psycopg.types.range import Range

from perfkit.caching.entries import decoded, encoded

TOKENS = (b"g0123456789abcdef", b"gfedcba9876543210")
VIENNA = ZoneInfo("Europe/Vienna")
ZONES = st.sampled_from(
    [
        datetime.UTC,
        VIENNA,
        ZoneInfo("UTC"),
        ZoneInfo("America/St_Johns"),
        datetime.timezone(datetime.timedelta(hours=-3, minutes=-30)),
        datetime.timezone(datetime.timedelta(microseconds=1)),
        datetime.timezone(datetime.timedelta(hours=-24, microseconds=1)),
    ]
)
WHOLE = st.integers(-(2**63), 2**64 - 1)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": WHOLE,
    "float": st.floats(),
    "str": st.text(),
    "bytes": st.binary(),
    "Decimal": st.decimals(),
    "UUID": st.uuids(),
    "date": st.dates(),
    "time": st.times(),
    "datetime": st.datetimes() | st.datetimes(timezones=st.just(datetime.UTC)),
    "timedelta": st.timedeltas(),
}
BOUNDS = st.sampled_from(["[)", "(]", "()", "[]"])
ARRAYS = {f"{name} array": st.lists(st.none() | kind, max_size=4) for name, kind in SCALARS.items()}
COLUMNS = {
    **SCALARS,
    **ARRAYS,
    "zoned datetime": st.datetimes(timezones=ZONES),
    "zoned time": st.times(timezones=ZONES),
    "empty range": st.just(Range(empty=True)),
    **{
        f"{name} range": st.builds(Range, st.none() | SCALARS[name], st.none() | SCALARS[name], BOUNDS)
        for name in ("int", "Decimal", "date", "datetime")
    },
    "zoned range": st.builds(Range, st.datetimes(timezones=ZONES), st.none(), BOUNDS),
    "array of ranges": st.lists(st.none() | st.builds(Range, WHOLE, WHOLE, BOUNDS), max_size=3),
    "array of arrays": st.one_of(*(st.lists(array, max_size=3) for array in ARRAYS.values())),
    "json": st.recursive(
        st.none() | st.booleans() | WHOLE | st.floats() | st.text(),
        lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
        max_leaves=8,
    ),
    "anything of SQLite's": st.integers(-9, 9) | st.floats() | st.text() | st.binary() | st.booleans(),
    "anything at all": st.one_of(*SCALARS.values(), *ARRAYS.values()),
    "nothing": st.none(),
}
ROWS = st.lists(st.sampled_from(sorted(COLUMNS)), max_size=6).flatmap(
    lambda names: st.lists(st.tuples(*(st.none() | COLUMNS[name] for name in names)), max_size=4)
)


def same(first: Any, second: Any) -> bool:
    """Whether nobody could tell the two apart: `==` knows neither -0.0 nor NaN nor the exponent of a Decimal."""
    if type(first) is not type(second):
        return False
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return same(list(first.items()), list(second.items()))
    if isinstance(first, Range):
        return same(
            (first.lower, first.upper, first.bounds, first.isempty),
            (second.lower, second.upper, second.bounds, second.isempty),
        )
    if isinstance(first, datetime.datetime | datetime.time) and isinstance(first.tzinfo, ZoneInfo):
        return first.tzinfo is second.tzinfo and repr(first) == repr(second)
    return repr(first) == repr(second)


def kept(rows: list[tuple[Any, ...]]) -> bytes:
    """Return the entry of `rows`, which it holds."""
    entry = encoded(rows, TOKENS)
    back = decoded(entry, TOKENS)
    assert back is not None, rows
    assert same(back, rows), (rows, back)
    return entry
