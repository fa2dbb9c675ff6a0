"""What type a parameter has whose lookup alone is given: that of the model's column."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from django.db.models import Field, Model
from ninja import FilterLookup

from perfkit.api.filtering.columns import TRANSFORMED, column_at, compared, kind_of
from perfkit.api.filtering.lookups import FromDay, Search


def annotation_of(model: type[Model], lookup: FilterLookup) -> Any:
    """Return the type of a parameter; a LookupError says why there is none."""
    if isinstance(lookup, Search):
        return str
    if isinstance(lookup, FromDay):
        return date
    paths = [lookup.q] if isinstance(lookup.q, str) else list(lookup.q or [])
    kinds: list[Any] = []
    for path in paths:
        column, rest = column_at(model, path)
        if column is None:
            raise LookupError(f"{model._meta.label} has no column at {path!r}")
        *transforms, last = rest.split("__") if rest else ["exact"]
        if last == "isnull":
            kinds.append(bool)
            continue
        kind = (
            TRANSFORMED.get(transforms[-1]) if transforms else TRANSFORMED.get(last) or _choices(column, last)
        )
        if kind is None:
            raise LookupError(f"the type of {path!r} is not known here: write the parameter in a class")
        kinds.append(list.__class_getitem__(kind) if last == "in" else kind)
    if len({str(kind) for kind in kinds}) != 1:
        raise LookupError("its columns have several types: write the parameter in a class")
    return kinds[0]


def _choices(column: Field[Any, Any], lookup: str) -> Any:
    """Return the type of a column's values: where it has choices and equality is asked for, one of these."""
    values = tuple(value for value, _ in compared(column).flatchoices if value not in {None, ""})
    return Literal[values] if values and lookup in {"exact", "in"} else kind_of(column)
