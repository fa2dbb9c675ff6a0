"""Tells outward in which way a queryset's instances were made, and why."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet

from perfkit.signals import rows_hydrated

FIRST_OF_ITS_SHAPE: Final = "few rows, and the first of a query of this shape: Django is quicker this once"
PARAMETERS: Final = "its iterable is not Django's, or parameters of the query convert its values"


def own_iterable(iterable_class: Any) -> str:
    """Return why Django makes what an iterable class yields."""
    name = getattr(iterable_class, "__qualname__", type(iterable_class).__qualname__)
    return f"its iterable {name} is not one of Django's that make instances, dicts or tuples"


def tell_hydrated(queryset: QuerySet[Any], rows: int | None, reason: str) -> None:
    """Tell `rows_hydrated`, where it has receivers."""
    if rows_hydrated.receivers:
        rows_hydrated.send(queryset.model, queryset=queryset, rows=rows, reason=reason)
