"""Puts an eager-loading plan onto a queryset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Model, Prefetch, QuerySet

from perfkit.loading.plan import EagerPlan, plan_for

if TYPE_CHECKING:
    Lookup = str | Prefetch[Any, Any]

M = TypeVar("M", bound=Model)


def eager(queryset: QuerySet[M], *paths: str) -> QuerySet[M]:
    """Return `queryset` with every relation in `paths` loaded.

    A relation to one row is joined; a relation to many rows takes one more query, however many rows.
    Which is which is read from the model, so the caller need not know.

    Args:
        queryset: Any queryset of instances (not of `values()`). Its own eager loading is kept,
            a `Prefetch` that filters or orders rows included.
        paths: Attribute names, nested with double underscores: `"airline"`, `"reports__author"`.

    Returns:
        A new queryset, not evaluated.

    Raises:
        RelationPathError: A path names no relation; raised before any query.

    Queries:
        One, and one more for each to-many step in the paths.

    Source:
        Django manual, "QuerySet API": select_related, prefetch_related.
    """
    return apply(queryset, plan_for(queryset.model, paths))


def apply(queryset: QuerySet[M], plan: EagerPlan) -> QuerySet[M]:
    """Return `queryset` with `plan` put onto it."""
    if plan.joins:
        queryset = queryset.select_related(*plan.joins)
    if not plan.queries:
        return queryset
    lookups: list[Lookup] = list(queryset._prefetch_related_lookups)  # type: ignore[attr-defined]  # noqa: SLF001  # Django has no public name
    for path, below in plan.queries:
        _merge(lookups, path, below, using=queryset._db)  # type: ignore[attr-defined]  # None: the router decides
    return queryset.prefetch_related(None).prefetch_related(*lookups)


def _merge(lookups: list[Lookup], path: str, below: EagerPlan | None, *, using: str | None) -> None:
    """Add the load of `path` to `lookups`; one that is there already keeps its rows and takes on what is below."""
    paths = [lookup.prefetch_to if isinstance(lookup, Prefetch) else lookup for lookup in lookups]
    place = paths.index(path) if path in paths else None
    if below is None or not (below.joins or below.queries):
        if place is None:
            lookups.append(path)
        return
    there = lookups[place] if place is not None else None
    rows = there.queryset if isinstance(there, Prefetch) else None
    if rows is None:
        rows = below.model._default_manager.using(using)
    merged = Prefetch(path, queryset=apply(rows, below))
    if place is not None:
        lookups[place] = merged
    elif any(other.startswith(f"{path}__") for other in paths):
        lookups.insert(0, merged)  # before those that would load its rows in their own way
    else:
        lookups.append(merged)
