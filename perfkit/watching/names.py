"""Names of tables and columns, for SQL in which what is quoted may be a value."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.db import connections


def quoted_names(alias: str) -> Collection[str] | None:
    """Return the names that may be quoted in a database's SQL, in small letters; None where all are names.

    See Note [Text in double quotes] in `sql`.
    """
    if connections[alias].vendor != "sqlite":
        return None
    return _names_of(tuple(apps.get_models(include_auto_created=True, include_swapped=True)))


@lru_cache(maxsize=2)
def _names_of(models: tuple[Any, ...]) -> frozenset[str]:
    columns = {field.column for model in models for field in model._meta.local_concrete_fields}
    tables = {model._meta.db_table for model in models}
    return frozenset(name.strip('"').lower() for name in columns | tables if name)
