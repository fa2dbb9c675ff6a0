"""One value, checked as the admin's form and the model's field would check it together."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext

from perfkit.bulk.fields import ModelField


def clean_value(
    field: ModelField, formfield: forms.Field | None, value: Any, *, by: ModelField | None = None
) -> Any:
    """Return the value as the field and the form's field would clean it, without a query.

    Args:
        by: Of a relation, the field of the other model whose value this is in place of the key.

    Raises:
        ValidationError: One of them does not take it.
    """
    if isinstance(value, str):
        value = value.strip() if by is not None or getattr(formfield, "strip", False) else value
        if "\0" in value:
            raise ValidationError(gettext("Null characters are not allowed."))
        if value == "" and (by is not None or getattr(formfield, "empty_value", "") is None):
            value = None
    value = (by or field).to_python(value) if value is not None else None
    if value in field.empty_values:  # as by a form, nothing more is asked of what may be empty
        is_required = not field.blank if formfield is None else formfield.required
        if is_required or (value is None and not field.null):
            raise ValidationError(field.error_messages["blank"])
        return value
    _require_range(value)
    if by is not None:
        if isinstance(by, models.IntegerField):
            by.run_validators(value)  # a database may be asked for no larger one
        return value
    if field.is_relation:
        models.Field.validate(field, value, None)  # a relation's own looks into the table
        field.target_field.run_validators(value)  # type: ignore[attr-defined]  # a relation has one
    else:
        field.validate(value, None)
        _require_choice(formfield, value)
    field.run_validators(value)
    if formfield is not None and not field.is_relation:
        formfield.run_validators(value)
    return value


def clean_values(
    field: ModelField, formfield: forms.Field | None, text: str, *, by: ModelField | None = None
) -> list[Any]:
    """Return the values that stand in a cell, with `|` or else `,` between them, as `clean_value` does for each.

    Raises:
        ValidationError: One of them is refused, or there is none and has to be.
    """
    parts = [part.strip() for part in text.split("|" if "|" in text else ",")]
    target: ModelField = by or field.target_field  # type: ignore[attr-defined]  # a relation has one
    values = [clean_value(field, formfield, part, by=target) for part in parts if part]
    if not values and (not field.blank if formfield is None else formfield.required):
        raise ValidationError(field.error_messages["blank"])
    return list(dict.fromkeys(values))


def _require_range(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationError(gettext("Enter a number."))
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        try:
            value.astimezone(dt.UTC)
        except OverflowError:
            raise ValidationError(gettext("Enter a valid date/time.")) from None


def _require_choice(formfield: forms.Field | None, value: Any) -> None:
    """Raise where the form offers fewer choices than the model."""
    if not isinstance(formfield, forms.ChoiceField):
        return
    if not formfield.valid_value(value if isinstance(value, str) else formfield.prepare_value(value)):
        problem = gettext("Select a valid choice. %(value)s is not one of the available choices.")
        raise ValidationError(problem % {"value": value})
