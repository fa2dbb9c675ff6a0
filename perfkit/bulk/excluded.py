"""The value that a row of an upsert brings, for the expressions of its caller."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression


class Excluded(Expression):
    """The value that a row of `bulk_upsert` brings for a field, as SQL's `EXCLUDED`.

    For `where` and for the expressions of `update_columns`; `F` is what the table has.

    Example:
        >>> Excluded("altitude")
        Excluded('altitude')
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __repr__(self) -> str:
        return f"Excluded({self.name!r})"

    def resolve_expression(self, query: Any = None, *_args: Any, **_kwargs: Any) -> ExcludedColumn:  # type: ignore[override]  # as F does
        """Find the field of the query's model."""
        try:
            field = query.model._meta.get_field(self.name)
        except FieldDoesNotExist as error:
            raise FieldError(str(error)) from None
        return ExcludedColumn(field)


class ExcludedColumn(Expression):
    """An `Excluded` whose field is known."""

    def __init__(self, field: models.Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self._column = str(field.column)

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, tuple[str | int, ...]]:
        """Name the column as `INSERT … ON CONFLICT` does."""
        return f"EXCLUDED.{connection.ops.quote_name(self._column)}", ()
