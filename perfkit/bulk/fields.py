"""What a model field does with a value on its way to the database. Pure."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from django.db import models
from django.db.models.fields.files import FileField
from django.db.models.query_utils import DeferredAttribute

ModelField: TypeAlias = "models.Field[Any, Any]"

PREPARING_METHODS: Final = (
    "get_prep_value",
    "get_db_prep_value",
    "get_db_prep_save",
    "to_python",
    "db_type",
    "get_internal_type",
)
"""What stands between a value and its column; a field that changes one of them is asked about every value."""

FAMILIES: Final = {
    "AutoField": "integer",
    "BigAutoField": "integer",
    "BigIntegerField": "integer",
    "BinaryField": "binary",
    "BooleanField": "boolean",
    "CharField": "text",
    "DateField": "date",
    "DateTimeField": "timestamp",
    "DecimalField": "decimal",
    "DurationField": "duration",
    "FileField": "text",
    "FilePathField": "text",
    "FloatField": "float",
    "GenericIPAddressField": "address",
    "IntegerField": "integer",
    "JSONField": "json",
    "PositiveBigIntegerField": "integer",
    "PositiveIntegerField": "integer",
    "PositiveSmallIntegerField": "integer",
    "SlugField": "text",
    "SmallAutoField": "integer",
    "SmallIntegerField": "integer",
    "TextField": "text",
    "TimeField": "time",
    "UUIDField": "uuid",
}
"""Django's fields by what they store."""

CASTING_MODULES: Final = frozenset(
    {"django.contrib.postgres.fields.array", "django.contrib.postgres.fields.ranges"}
)
"""Where placeholders are no more than a cast to the column's own type."""

CLOCKS: Final = (models.DateField.pre_save, models.DateTimeField.pre_save, models.TimeField.pre_save)


def target_of(field: ModelField) -> ModelField:
    """Return the field whose values `field` stores: of a foreign key, the end of the chain."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return field


def family_of(field: ModelField) -> str | None:
    """Return the family of what `field` stores, or None where it is not one of Django's common types."""
    return FAMILIES.get(target_of(field).get_internal_type())


def is_plain(field: ModelField) -> bool:
    """Tell whether only Django's own methods touch the values of `field`.

    Then a value of the column's exact type is what they would return, and they need not be called.
    """
    while isinstance(field, models.ForeignKey):
        if not all(_is_djangos(field, name) for name in PREPARING_METHODS):
            return False
        field = field.target_field
    return family_of(field) is not None and all(_is_djangos(field, name) for name in PREPARING_METHODS)


def has_placeholder(field: ModelField) -> bool:
    """Tell whether `field` wraps its value in SQL of its own, which neither COPY nor a plain INSERT can do."""
    placeholder = getattr(field, "get_placeholder_sql", None) or getattr(field, "get_placeholder", None)
    is_cast = getattr(placeholder, "__module__", "") in CASTING_MODULES
    return placeholder is not None and not is_cast and not isinstance(field, models.BinaryField)


def has_clock(field: ModelField) -> bool:
    """Tell whether `field` is filled with the current time by Django's own auto_now or auto_now_add."""
    return type(field).pre_save in CLOCKS and bool(
        getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    )


def saves_itself(model: type[models.Model], field: ModelField) -> bool:
    """Tell whether only an instance can say what `field` saves: a `pre_save` or an attribute of its own."""
    own_pre_save = type(field).pre_save is not models.Field.pre_save and type(field).pre_save not in CLOCKS
    attribute = getattr(model, field.attname)
    own_attribute = not isinstance(attribute, DeferredAttribute) or type(attribute).__get__ is not (
        DeferredAttribute.__get__
    )
    return own_pre_save or own_attribute or isinstance(field, FileField)


def _is_djangos(field: ModelField, method: str) -> bool:
    owner = next(each for each in type(field).__mro__ if method in vars(each))
    return owner.__module__.startswith("django.db.models.fields")
