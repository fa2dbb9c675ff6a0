"""Hypothesis strategies for the values of any field of a model."""

from __future__ import annotations

import datetime
from typing import Any

from django.contrib.postgres.fields import (
    ArrayField,
    DateRangeField,
    DateTimeRangeField,
    DecimalRangeField,
    HStoreField,
    IntegerRangeField,
)
from django.db import models
from django.db.backends.postgresql.psycopg_any import Range
from hypothesis import strategies as st

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5)
NAMES = st.text("abc/.", min_size=1, max_size=9)
DAYS = st.dates(datetime.date(1, 1, 2), datetime.date(9999, 12, 29))
MOMENTS = st.tuples(DAYS, st.times()).map(lambda pair: datetime.datetime.combine(*pair, tzinfo=datetime.UTC))
AMOUNTS = st.decimals(-99_999_999, 99_999_999, places=4)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
    max_leaves=5,
)


def between(bits: int, *, is_signed: bool = True) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)) if is_signed else 0, 2 ** (bits - 1) - 1)


def ranges(ends: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    ordered = st.lists(ends, min_size=2, max_size=2, unique=True).map(sorted)
    return ordered.map(lambda pair: Range(*pair)) | ordered.map(lambda pair: Range(pair[0], None))


STRATEGIES: dict[type[models.Field[Any, Any]], st.SearchStrategy[Any]] = {
    models.BigIntegerField: between(64),
    models.BinaryField: st.binary(max_size=9),
    models.BooleanField: st.booleans(),
    models.CharField: TEXT,
    models.DateField: DAYS,
    models.DateTimeField: MOMENTS,
    models.DecimalField: AMOUNTS,
    models.DurationField: st.timedeltas(datetime.timedelta(-(10**5)), datetime.timedelta(10**5)),
    models.EmailField: NAMES,
    models.FileField: NAMES,
    models.FilePathField: NAMES,
    models.FloatField: st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    models.GenericIPAddressField: st.ip_addresses().map(str),
    models.ImageField: NAMES,
    models.IntegerField: between(32),
    models.JSONField: DOCUMENTS,
    models.PositiveBigIntegerField: between(64, is_signed=False),
    models.PositiveIntegerField: between(32, is_signed=False),
    models.PositiveSmallIntegerField: between(16, is_signed=False),
    models.SlugField: st.text("abc-_", max_size=9),
    models.SmallIntegerField: between(16),
    models.TextField: TEXT,
    models.TimeField: st.times(),
    models.URLField: NAMES,
    models.UUIDField: st.uuids(),
    HStoreField: st.dictionaries(TEXT, st.none() | TEXT, max_size=3),
    IntegerRangeField: ranges(between(31)),
    DecimalRangeField: ranges(AMOUNTS),
    DateRangeField: ranges(DAYS),
    DateTimeRangeField: ranges(MOMENTS),
}


def values_of(field: Any) -> st.SearchStrategy[Any]:
    """Return what may stand in a field; None where it may."""
    values = _values_of(field)
    return st.none() | values if field.null else values


def _values_of(field: Any) -> st.SearchStrategy[Any]:
    if isinstance(field, ArrayField):
        below = field.base_field
        if not isinstance(below, ArrayField):
            return st.lists(values_of(below), max_size=3)
        # The database refuses arrays whose rows differ in length.
        return st.lists(st.lists(values_of(below.base_field), min_size=2, max_size=2), max_size=3)
    for cls in type(field).__mro__:
        if cls in STRATEGIES:
            return STRATEGIES[cls]
    raise TypeError(f"What stands in {field!r} is not known: give it a strategy.")
