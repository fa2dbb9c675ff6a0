"""The values of parameters that filter: read from a request, and held to what they are compared with."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

from ninja.filter_schema import FilterSchema
from pydantic_core import PydanticCustomError

from perfkit.api.filtering.columns import checked
from perfkit.api.filtering.declared import Filter
from perfkit.api.filtering.lookups import FIRST_DAY, LAST_DAY, MOST_VALUES, FromDay, In, Search
from perfkit.api.refusing import refuse


def split(value: Any, each: Filter) -> list[Any]:
    """Return the values that a request gives in one parameter, or in several of the same name."""
    lookup = each.lookup
    most = lookup.most if isinstance(lookup, In) else MOST_VALUES
    separator = lookup.separator if isinstance(lookup, In) else ","
    given = list(value) if isinstance(value, list | tuple | set) else [value]
    values: list[Any] = []
    for item in given:
        values += item.split(separator) if separator and isinstance(item, str) else [item]
    if len(values) > most:
        raise PydanticCustomError("too_many_values", "At most {most} values may be given", {"most": most})
    return values


def checked_value(each: Filter, value: Any) -> Any:
    """Return a value as what it is compared with takes it."""
    if isinstance(each.lookup, FromDay):
        if not FIRST_DAY <= value <= LAST_DAY:
            raise PydanticCustomError("date_out_of_range", "Input should be between the years 2 and 9998")
        return value
    if isinstance(each.lookup, Search):
        value = each.lookup.checked(value)
    if not each.conditions:
        return checked(value, None, "")
    for one in each.conditions:
        is_of_column = not each.is_list or one.lookup.endswith("in")
        value = checked(value, one.column if is_of_column else None, one.lookup)
    return value


def require_range(filters: FilterSchema, upper: Filter) -> None:
    """Refuse a range that ends before it begins."""
    lower = upper.lower
    if lower is None:
        return
    least, most = getattr(filters, lower.name), getattr(filters, upper.name)
    if (
        least is None
        or most is None
        or isinstance(least, datetime) != isinstance(most, datetime)
        or least <= most
    ):
        return
    word = "after" if isinstance(most, date | time) else "more than"
    problem = PydanticCustomError(
        "empty_range",
        "{lower} is {word} {upper}",
        {"lower": lower.parameter, "word": word, "upper": upper.parameter},
    )
    refuse(type(filters).__name__, upper.parameter, problem, most)
