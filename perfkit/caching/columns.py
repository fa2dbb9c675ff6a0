"""What the columns of a model hold, as far as the cache knows: the types that `from_db` gets. Pure."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any, Final

from django.db.models import Field, ForeignKey, Model

PYTHON_TYPES: Final[dict[str, type]] = {
    "AutoField": int,
    "BigAutoField": int,
    "SmallAutoField": int,
    "IntegerField": int,
    "BigIntegerField": int,
    "SmallIntegerField": int,
    "PositiveIntegerField": int,
    "PositiveBigIntegerField": int,
    "PositiveSmallIntegerField": int,
    "BooleanField": bool,
    "FloatField": float,
    "DecimalField": decimal.Decimal,
    "CharField": str,
    "TextField": str,
    "SlugField": str,
    "FileField": str,
    "FilePathField": str,
    "GenericIPAddressField": str,
    "UUIDField": uuid.UUID,
    "DateField": datetime.date,
    "DateTimeField": datetime.datetime,
    "TimeField": datetime.time,
    "DurationField": datetime.timedelta,
    "BinaryField": bytes,
}
"""What `from_db` gets for Django's own fields, by `get_internal_type()`."""


def column_names(model: type[Model]) -> tuple[str, ...]:
    """Return the attribute names of a row's values, in the order of the model's concrete fields."""
    return tuple(field.attname for field in model._meta.concrete_fields)


def unsupported_field(model: type[Model]) -> Field[Any, Any] | None:
    """Return the first concrete field whose values the codec does not know, or None."""
    return next((field for field in model._meta.concrete_fields if python_type(field, None) is None), None)


def python_type(field: Field[Any, Any], missing: Any = ...) -> Any:
    """Return the type of a column's values; where it is not known, `missing`, or raise KeyError."""
    target: Field[Any, Any] = field
    while isinstance(target, ForeignKey):
        target = target.target_field
    is_djangos = type(target).__module__.startswith("django.db.models.fields")
    if not is_djangos or hasattr(target, "from_db_value") or getattr(target, "generated", False):
        kind = None
    else:
        kind = PYTHON_TYPES.get(target.get_internal_type())
    if kind is None and missing is ...:
        raise KeyError(f"{field} cannot be stored")
    return kind
