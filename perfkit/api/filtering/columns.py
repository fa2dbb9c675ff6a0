"""What a column can be compared with: the values at which a database or Django would stumble are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.core.exceptions import ValidationError as FieldError
from django.core.validators import DecimalValidator
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import DecimalField, Field, GeneratedField, Model
from django.utils import timezone
from pydantic_core import PydanticCustomError

INTEGERS: Final = BaseDatabaseOperations.integer_field_ranges
LEAST_INTEGER, MOST_INTEGER = INTEGERS["BigIntegerField"]
LEAST_YEAR, MOST_YEAR = 2, 9998
"""Beyond them there is not every moment that a time zone may ask for."""
EDGE: Final = timedelta(days=2)
EARLIEST: Final = datetime.min.replace(tzinfo=UTC) + EDGE
LATEST: Final = datetime.max.replace(tzinfo=UTC) - EDGE
LONGEST: Final = timedelta(microseconds=MOST_INTEGER)
"""As long as SQLite keeps a duration."""
BOUNDED_TEXT: Final = frozenset({"exact", "in", "contains", "startswith", "endswith"})
"""Lookups that find nothing by a text longer than the column's."""
COMPARISONS: Final = frozenset({"exact", "in", "gt", "gte", "lt", "lte"})
"""Lookups whose value is one of the column's."""
KINDS: Final[dict[str, type]] = {
    **dict.fromkeys(INTEGERS, int),
    "BooleanField": bool,
    "CharField": str,
    "DateField": date,
    "DateTimeField": datetime,
    "DecimalField": Decimal,
    "DurationField": timedelta,
    "FileField": str,
    "FilePathField": str,
    "FloatField": float,
    "GenericIPAddressField": str,
    "SlugField": str,
    "TextField": str,
    "TimeField": time,
    "UUIDField": UUID,
}
"""What the values of a column are in Python, by Django's name of its type."""
TRANSFORMED: Final[dict[str, type]] = {
    **dict.fromkeys(("year", "iso_year", "quarter", "month", "week", "week_day", "iso_week_day", "day"), int),
    **dict.fromkeys(("hour", "minute", "second"), int),
    "date": date,
    "time": time,
}
"""What values are that Django makes of a date or a moment."""
EXAMPLES: Final = {date: "2013-07-04", datetime: "2013-07-04T12:00:00Z", time: "12:00"}


def column_at(model: type[Model], path: str) -> tuple[Field[Any, Any] | None, str]:
    """Return the column that the path of a condition leads to, and the rest of it: transforms and a lookup.

    The column is None where the path does not begin with one.

    Raises:
        LookupError: It leads over several rows of a relation, each of which would repeat the row.
    """
    current: Any = model
    found: Field[Any, Any] | None = None
    parts = path.split("__")
    for place, part in enumerate(parts):
        if current is None:
            return found, "__".join(parts[place:])
        try:
            field: Any = current._meta.pk if part == "pk" else current._meta.get_field(part)
        except FieldDoesNotExist:
            return found, "__".join(parts[place:])
        if not field.concrete and field.related_model is None:  # a generic relation's two columns
            return found, "__".join(parts[place:])
        if field.one_to_many or field.many_to_many:
            raise LookupError(
                f"{path!r} leads over many rows by {part!r}, each of which would repeat a row: "
                "write a method filter_… with Exists"
            )
        found, current = field, field.related_model
    return found, ""


def compared(field: Field[Any, Any]) -> Field[Any, Any]:
    """Return the column whose values those of a field are: of a relation, the one it refers to."""
    while field.is_relation:
        field = field.target_field  # type: ignore[attr-defined]  # of relations to one row
    output: Field[Any, Any] | None = field.output_field if isinstance(field, GeneratedField) else None
    return output or field


def kind_of(field: Field[Any, Any]) -> type | None:
    """Return what the values of a column are in Python; None where only Django knows."""
    return KINDS.get(compared(field).get_internal_type())


def bounds(field: Field[Any, Any], lookup: str) -> dict[str, int]:
    """Return what a value to compare a column with is held to, in the words of JSON Schema.

    Args:
        lookup: The rest of a path, as `column_at` tells it.
    """
    if lookup.partition("__")[0] in {"year", "iso_year"}:
        return {"minimum": LEAST_YEAR, "maximum": MOST_YEAR}
    column = compared(field)
    name = column.get_internal_type()
    if name in INTEGERS and "__" not in lookup:
        least, most = INTEGERS[name]
        return {"minimum": least, "maximum": most}
    if kind_of(field) is str and lookup in BOUNDED_TEXT and column.max_length:
        return {"maxLength": column.max_length}
    return {}


def checked(value: Any, field: Field[Any, Any] | None, lookup: str) -> Any:
    """Return a value, as pydantic has read it, so that a column can be compared with it.

    Args:
        field: The column; None where it is not known, and the value is held to what any database takes.
        lookup: The rest of a path, as `column_at` tells it.

    Raises:
        PydanticCustomError: It cannot.
    """
    check = next((check for kind, check in CHECKS.items() if isinstance(value, kind)), None)
    if check is not None:
        value = check(value)
    if field is None:
        return value
    limits = bounds(field, lookup)
    if "minimum" in limits:
        _within(value, limits["minimum"], limits["maximum"])
    if "maxLength" in limits and len(value) > limits["maxLength"]:
        text = "String should have at most {max_length} characters"
        raise PydanticCustomError("string_too_long", text, {"max_length": limits["maxLength"]})
    return _judged(compared(field), value) if lookup in COMPARISONS else value


def refuse_digits(value: Any, kind: type | None) -> None:
    """Refuse digits alone for a date or a time: pydantic takes them for seconds since 1970.

    Raises:
        PydanticCustomError: It is a text of digits, for such a kind.
    """
    if kind in EXAMPLES and isinstance(value, str) and value.strip("+- ").replace(".", "").isdigit():
        text = "Input should be written like {example}"
        raise PydanticCustomError(f"{kind.__name__}_parsing", text, {"example": EXAMPLES[kind]})


def _within(value: Any, least: int, most: int) -> None:
    if value < least:
        raise PydanticCustomError(
            "greater_than_equal", "Input should be greater than or equal to {ge}", {"ge": least}
        )
    if value > most:
        raise PydanticCustomError(
            "less_than_equal", "Input should be less than or equal to {le}", {"le": most}
        )


def _text(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("nul_character", "String should have no NUL character")
    return value


def _integer(value: int) -> int:
    _within(value, LEAST_INTEGER, MOST_INTEGER)
    return value


def _number(value: float) -> float:
    if not isfinite(value):
        raise PydanticCustomError("finite_number", "Input should be a finite number")
    return value


def _moment(value: datetime) -> datetime:
    """Return a moment as Django compares it: where it has no time zone, in the current one, as in a form."""
    naive = timezone.is_naive(value)
    aware = value.replace(tzinfo=timezone.get_current_timezone()) if naive else value
    if not EARLIEST <= aware <= LATEST:
        raise PydanticCustomError("datetime_out_of_range", "Input should be between the years 1 and 9999")
    if settings.USE_TZ:
        return aware
    return value if naive else timezone.make_naive(value, timezone.get_default_timezone())


def _time(value: time) -> time:
    if value.tzinfo is not None:
        raise PydanticCustomError("timezone_naive", "Input should have no time zone")
    return value


def _duration(value: timedelta) -> timedelta:
    if not -LONGEST <= value <= LONGEST:
        raise PydanticCustomError("duration_out_of_range", "Input should be a shorter time")
    return value


CHECKS: Final[dict[type, Callable[[Any], Any]]] = {
    str: _text,
    int: _integer,
    float: _number,
    datetime: _moment,
    time: _time,
    timedelta: _duration,
}


def _judged(column: Field[Any, Any], value: Any) -> Any:
    """Return a value as Django has it, of what it alone knows: decimal places, addresses, fields of a project."""
    try:
        if isinstance(column, DecimalField):
            DecimalValidator(column.max_digits, column.decimal_places)(column.to_python(value))
        elif kind_of(column) is None or column.get_internal_type() == "GenericIPAddressField":
            value = column.to_python(value)
            for validator in column.default_validators:
                validator(value)
    except FieldError as error:
        problem = " ".join(error.messages)
        raise PydanticCustomError("value_error", "{problem}", {"problem": problem}) from error
    return value
