"""Which foreign keys the database itself acts on when the row that they point to is deleted."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import deletion

DATABASE_ON_DELETE: Final[Any] = getattr(deletion, "DatabaseOnDelete", None)
"""What such a foreign key has; None before Django 6.1, which has none."""


def database_on_delete(field: Any) -> Any:
    """Return what the database does with rows that point by `field` to one that is deleted; None of others.

    Its `operation` is `"CASCADE"`, `"SET NULL"` or `"SET DEFAULT"`.
    """
    if DATABASE_ON_DELETE is None:
        return None
    on_delete = getattr(field.remote_field, "on_delete", None)
    return on_delete if isinstance(on_delete, DATABASE_ON_DELETE) else None
