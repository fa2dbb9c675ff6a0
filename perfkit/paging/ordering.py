"""Makes the order of a queryset total, so that its pages never repeat or lose a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

from django.db.models import F, Field, Model, QuerySet
from django.db.models.expressions import OrderBy
from django.db.models.options import Options

M = TypeVar("M", bound=Model)
R = TypeVar("R")


def total_order(queryset: QuerySet[M, R]) -> QuerySet[M, R]:
    """Return `queryset` with its order completed, where rows could tie, by what tells them apart.

    That is the primary key; for `values()` rows that are grouped, distinct or combined it is the selected
    columns, because a primary key would change the groups.
    They run in the direction of the last column before them, so that one index can serve the whole order.
    An order that is total already is left alone.

    Queries: none.

    Raises:
        TypeError: The queryset is a slice and its order is not total; Django cannot reorder a slice.
    """
    ordering = current_ordering(queryset)
    missing = [name for name in _tie_breakers(queryset, ordering) if name not in _plain_names(ordering)]
    if not missing:
        return queryset
    sign = "-" if ordering and _is_descending(ordering[-1]) else ""
    return queryset.order_by(*ordering, *(f"{sign}{name}" for name in missing))


def current_ordering(queryset: QuerySet[Any, Any]) -> tuple[Any, ...]:
    """Return what the queryset is ordered by, wherever that is said; empty where nothing says it."""
    query = queryset.query
    if query.extra_order_by:
        return tuple(query.extra_order_by)
    if query.order_by:
        return tuple(query.order_by)
    if query.default_ordering and not isinstance(query.group_by, tuple):
        return tuple(queryset.model._meta.ordering or ())
    return ()


def _tie_breakers(queryset: QuerySet[Any, Any], ordering: Sequence[Any]) -> list[str]:
    query = queryset.query
    yields_models = queryset._fields is None  # type: ignore[attr-defined]  # noqa: SLF001  # Django has no public name
    if yields_models:
        return [] if _is_unique(cast("Any", queryset.model), frozenset(_plain_names(ordering))) else ["pk"]
    selected = [*query.values_select, *query.annotation_select]
    if isinstance(query.group_by, tuple) or query.distinct or query.combinator:
        return selected
    return ["pk", *(name for name in selected if "__" in name)]


def _plain_names(ordering: Sequence[Any]) -> Iterator[str]:
    """Yield the columns that an order names, without direction; expressions are left out."""
    for term in ordering:
        expression = term.expression if isinstance(term, OrderBy) else term
        if isinstance(expression, F):
            yield expression.name  # type: ignore[attr-defined]  # missing in the stubs
        elif isinstance(expression, str):
            yield expression.removeprefix("-").removeprefix("+")


def _is_descending(term: Any) -> bool:
    return term.descending if isinstance(term, OrderBy) else isinstance(term, str) and term.startswith("-")


@lru_cache(maxsize=1024)
def _is_unique(model: type[Model], names: frozenset[str]) -> bool:
    """Whether rows of `model` differ in at least one of the columns `names`."""
    meta: Options[Any] = model._meta
    columns = {field.name for name in names if (field := _column(meta, name)) is not None and not field.null}
    if "pk" in names or any(meta.get_field(name).unique for name in columns):  # type: ignore[union-attr]
        return True
    together = [*meta.unique_together, *(constraint.fields for constraint in meta.total_unique_constraints)]
    return any(columns.issuperset(fields) for fields in together)


def _column(meta: Options[Any], name: str) -> Field[Any, Any] | None:
    """Return the concrete column that an ordering by `name` compares; None for anything less direct.

    An ordering by a relation's name compares the related model's ordering, not the column.
    """
    for field in meta.concrete_fields:
        if name == field.attname or (name == field.name and not field.is_relation):
            return field
    return None
