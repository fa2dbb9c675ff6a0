"""`column = ANY(array)`: many numbers as one parameter, where PostgreSQL is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import F, Lookup, QuerySet


class AnyOf(Lookup):
    """Compares a column with an array of whole numbers; a list of a thousand parameters takes much longer."""

    lookup_name = "any_of"
    prepare_rhs = False

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the comparison, and its parameters."""
        column, params = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s)", (*params, self.rhs)


def among(queryset: QuerySet[Any], lookup: str, values: Sequence[Any]) -> QuerySet[Any]:
    """Return the rows of `queryset` that have one of `values`, of which none is None."""
    is_postgres = connections[queryset.db].vendor == "postgresql"
    if is_postgres and all(type(value) is int for value in values):
        return queryset.filter(AnyOf(F(lookup), list(values)))
    return queryset.filter(**{f"{lookup}__in": values})
