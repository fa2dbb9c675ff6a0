"""Loads what a response schema reads."""

from __future__ import annotations

from typing import Any, TypeVar, get_args, get_origin

from django.db.models import Model, Prefetch, QuerySet

from perfkit.loading.eager_loading import apply
from perfkit.loading.schema_plans import schema_plan

M = TypeVar("M", bound=Model)


def from_schema(queryset: QuerySet[M], schema: Any) -> QuerySet[M]:
    """Return `queryset` with everything loaded that serialising its rows by `schema` reads, and nothing else.

    Relations to one row are joined, relations to many take a query each, and of each table the columns that the
    schema reads are selected. A property, a resolver or a validator is read through what it declares by `needs`;
    where it declares nothing, its rows are loaded whole, and `schema_plan(…).explain()` says so.

    Args:
        queryset: Any of instances. Its annotations are attributes that the schema may read. Where it loads
            relations itself, all columns are selected, as what it loads may go by any.
        schema: Of django-ninja, a pydantic model, or a Struct of msgspec; or a list of one: `list[FlightOut]`.

    Returns:
        A new queryset, not evaluated. What is filtered and sorted by may be any column.

    Raises:
        SchemaFieldError: The schema, or a declared need, reads what the model does not have; before any query.
        SchemaPlanError: It reads what no plan can load; likewise.

    Queries:
        One, and one more for each relation to many that is read, however many rows.

    Example:
        >>> from_schema(Flight.objects.filter(year=2013), FlightOut)  # doctest: +SKIP
    """
    if get_origin(schema) is list:
        (schema,) = get_args(schema)
    prefetched = [each.to_attr for each in queryset._prefetch_related_lookups if isinstance(each, Prefetch)]  # type: ignore[attr-defined]  # noqa: SLF001  # Django has no public name
    given = {*queryset.query.annotations, *queryset.query.extra, *filter(None, prefetched)}
    return apply(queryset.defer(None), schema_plan(queryset.model, schema, frozenset(given)))
