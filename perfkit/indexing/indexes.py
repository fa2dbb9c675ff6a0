"""Indexes that mean the same on each database."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.models import Index, Model, OrderBy
from django.db.models.expressions import BaseExpression, Combinable


class PortableIndex(Index):
    """Django's Index whose `desc(nulls_last=True)` and `asc(nulls_first=True)` work on SQLite too.

    SQLite sorts NULL so by itself, and refuses the words NULLS FIRST and NULLS LAST in an index;
    there they are left out.

    Example:
        >>> from django.db.models import F
        >>> index = PortableIndex(F("dep_delay").desc(nulls_last=True), "id", name="flight_dep_delay")
    """

    def create_sql(
        self, model: type[Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Statement:
        """Return the CREATE INDEX statement of this database."""
        if schema_editor.connection.vendor == "sqlite":
            plain = Index(*map(_without_own_nulls, self.expressions), **self.deconstruct()[2])
            return plain.create_sql(model, schema_editor, using, **kwargs)
        return super().create_sql(model, schema_editor, using, **kwargs)


def _without_own_nulls(expression: BaseExpression | Combinable) -> BaseExpression | Combinable:
    """Return the expression without a place for NULL that is SQLite's own."""
    if isinstance(expression, OrderBy):
        is_own = expression.nulls_last if expression.descending else expression.nulls_first
        if is_own:
            return OrderBy(expression.expression, descending=expression.descending)
    return expression
