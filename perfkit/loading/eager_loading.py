"""Puts an eager-loading plan onto a queryset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.db.models import Model, Prefetch, QuerySet

from perfkit.errors import RelatedRowsError
from perfkit.loading.plan import EagerPlan, plan_for
from perfkit.loading.related_rows import RelatedRows
from perfkit.signals import relations_planned

if TYPE_CHECKING:
    Lookup = str | Prefetch[Any, Any]

M = TypeVar("M", bound=Model)

CHOSEN: Final = "perfkit_rows"
"""Where a `Prefetch` keeps which rows it loads, so that the same can be asked for again."""


def eager(queryset: QuerySet[M], *paths: str | RelatedRows) -> QuerySet[M]:
    """Return `queryset` with every relation in `paths` loaded.

    A relation to one row is joined; a relation to many rows takes one more query, however many rows.
    Which is which is read from the model, so the caller need not know.

    Args:
        queryset: Any queryset of instances (not of `values()`). Its own eager loading is kept,
            a `Prefetch` that filters or orders rows included.
        paths: Attribute names, nested with double underscores: `"airline"`, `"reports__author"`;
            or `RelatedRows`, which filter, order and limit the rows of a relation.

    Returns:
        A new queryset, not evaluated.

    Raises:
        RelationPathError: A path names no relation; raised before any query.
        RelatedRowsError: Rows are asked for in a way that cannot be; likewise.
        FieldError: A filter or an order names no field; likewise.

    Queries:
        One, and one more for each to-many step in the paths.

    Source:
        Django manual, "QuerySet API": select_related, prefetch_related.
    """
    return apply(queryset, plan_for(queryset.model, paths))


def apply(queryset: QuerySet[M], plan: EagerPlan) -> QuerySet[M]:
    """Return `queryset` with `plan` put onto it."""
    lookups: list[Lookup] = list(queryset._prefetch_related_lookups)  # type: ignore[attr-defined]  # noqa: SLF001  # Django has no public name
    if plan.only is not None and (lookups or queryset.query.select_related):
        plan = plan.with_all_columns()  # what is loaded besides may go by a column that the plan leaves out
    if plan.relation is None and relations_planned.receivers:
        relations_planned.send(plan.model, plan=plan)
    if plan.joins:
        queryset = queryset.select_related(*plan.joins)
    if plan.annotations:
        queryset = queryset.annotate(**dict(plan.annotations))
    if plan.only is not None:
        queryset = queryset.defer(None).only(*plan.only)
    if not plan.queries:
        return queryset
    for path, below in plan.queries:
        _merge(lookups, path, below, using=queryset._db)  # type: ignore[attr-defined]  # None: the router decides
    return queryset.prefetch_related(None).prefetch_related(*lookups)


def _merge(lookups: list[Lookup], path: str, below: EagerPlan | None, *, using: str | None) -> None:
    """Add the load of `path` to `lookups`; one that is there already keeps its rows and takes on what is below."""
    chosen = None if below is None else below.rows
    to_attr = chosen.to_attr if chosen is not None else ""
    to_path = "__".join([*path.split("__")[:-1], to_attr]) if to_attr else path
    paths = [lookup.prefetch_to if isinstance(lookup, Prefetch) else lookup for lookup in lookups]
    place = paths.index(to_path) if to_path in paths else None
    if below is None or below.is_trivial:
        if place is None:
            lookups.append(path)
        return
    there = lookups[place] if place is not None else None
    rows = there.queryset if isinstance(there, Prefetch) else None
    if rows is None:
        rows = _all_rows(below, using)
        if chosen is not None and below.relation is not None:
            rows = chosen.chosen(rows, below.relation)
    elif chosen is not None and getattr(there, CHOSEN, None) != chosen:
        raise RelatedRowsError(chosen.path, f"the queryset loads other rows as {to_path} already.")
    else:
        chosen = getattr(there, CHOSEN, None)
    merged = Prefetch(path, queryset=apply(rows, below), to_attr=to_attr or None)
    setattr(merged, CHOSEN, chosen)
    if place is not None:
        lookups[place] = merged
    elif any(other.startswith(f"{to_path}__") for other in paths):
        lookups.insert(0, merged)  # before those that would load its rows in their own way
    else:
        lookups.append(merged)


def _all_rows(plan: EagerPlan, using: str | None) -> QuerySet[Any]:
    """Return the rows that Django itself would look among."""
    is_many = plan.relation is None or plan.relation.is_many
    manager = plan.model._default_manager if is_many else plan.model._base_manager
    return manager.using(using)
