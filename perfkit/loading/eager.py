"""Puts an eager-loading plan onto a queryset."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, Prefetch, QuerySet

from perfkit.loading.plan import EagerPlan, plan_for

M = TypeVar("M", bound=Model)


def eager(queryset: QuerySet[M], *paths: str) -> QuerySet[M]:
    """Return `queryset` with every relation in `paths` loaded.

    A relation to one row is joined; a relation to many rows takes one more query, however many rows.
    Which is which is read from the model, so the caller need not know.

    Args:
        queryset: Any queryset of instances (not of `values()`). Its own eager loading is kept.
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
    for path, below in plan.queries:
        if below is None or not (below.joins or below.queries):
            queryset = queryset.prefetch_related(path)
        else:
            rows = below.model._default_manager.using(queryset._db)  # type: ignore[attr-defined]  # None: the router decides
            queryset = queryset.prefetch_related(Prefetch(path, queryset=apply(rows, below)))
    return queryset
