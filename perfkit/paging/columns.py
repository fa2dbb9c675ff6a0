"""What is known of the columns that a list is sorted by."""

from __future__ import annotations

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model


def is_nullable(model: type[Model], path: str) -> bool:
    """Whether a row may have no value at `path`; True also for what is no column, such as an annotation."""
    current: type[Model] | None = model
    for part in path.split("__"):
        if current is None:
            return True
        try:
            field = current._meta.pk if part == "pk" else current._meta.get_field(part)
        except FieldDoesNotExist:
            return True
        if not getattr(field, "concrete", False) or getattr(field, "null", True):
            return True
        current = getattr(field, "related_model", None)
    return False
