"""By what a list is sorted, as far as the place of a row in it is to be told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, cast

from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import F, Field, FloatField, Model, QuerySet
from django.db.models.expressions import Expression, OrderBy
from django.db.models.functions import Cast, Random

from perfkit.errors import KeysetOrderError
from perfkit.paging.columns import is_nullable
from perfkit.paging.ordering import current_ordering, total_order

ANNOTATION: Final = "perfkit_keyset_"
"""Begins the names by which the values of keys come along with the rows, where these do not have them."""


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of a total order.

    Attributes:
        name: By which rows are filtered: a path of columns, or an annotation.
        field: What its values are of.
        source: By which a row tells its value: an attribute of its own, or an annotation.
        nulls_first: Where rows without a value stand.
        is_nullable: Whether there may be such rows.
    """

    name: str
    field: Field[Any, Any]
    source: str
    descending: bool
    nulls_first: bool
    is_nullable: bool

    @property
    def backward(self) -> SortKey:
        """The key of the same order, walked from its end."""
        return replace(self, descending=not self.descending, nulls_first=not self.nulls_first)

    @property
    def term(self) -> OrderBy:
        """What sorts by it; it says nothing of NULLs where there are none, so that a plain index serves it."""
        if not self.is_nullable:
            return OrderBy(F(self.name), descending=self.descending)
        nulls_first, nulls_last = (True, None) if self.nulls_first else (None, True)
        return OrderBy(
            F(self.name), descending=self.descending, nulls_first=nulls_first, nulls_last=nulls_last
        )


def keyed(queryset: QuerySet[Any, Any]) -> tuple[QuerySet[Any, Any], tuple[SortKey, ...]]:
    """Return the queryset with all that tells the places of its rows, and the keys of its order, made total.

    Queries: none.

    Raises:
        KeysetOrderError: Its order is one in which a row has no place that can be found again.
    """
    _require_whole(queryset)
    ordered = total_order(queryset)
    keys: list[SortKey] = []
    for term in _terms(ordered):
        ordered, key = _key(ordered, term, place=len(keys))
        keys.append(key)
    return ordered, tuple(keys)


def value_of(row: Model, key: SortKey) -> Any:
    """Return the value of a key that a row of such a queryset has."""
    return getattr(row, key.source)


def _require_whole(queryset: QuerySet[Any, Any]) -> None:
    query = queryset.query
    problem = ""
    if queryset._fields is not None:  # type: ignore[attr-defined]  # noqa: SLF001  # Django has no public name
        problem = "its rows are values(), not instances"
    elif query.is_sliced:
        problem = "it is a slice"
    elif query.combinator:
        problem = f"it is a {query.combinator} of others"
    elif query.distinct_fields:
        problem = "it is distinct by some columns"
    elif query.extra_order_by:
        problem = "extra() sorts it"
    if problem:
        raise KeysetOrderError(queryset.model._meta.label, problem)


def _terms(ordered: QuerySet[Any, Any]) -> list[OrderBy]:
    """Return the order as terms; what walks the queryset backward is taken into account."""
    terms = []
    for each in current_ordering(ordered):
        terms += _expanded(ordered, each)
    if not ordered.query.standard_ordering:
        terms = [_reversed(term) for term in terms]
    return terms


def _expanded(ordered: QuerySet[Any, Any], each: Any) -> list[OrderBy]:
    label = ordered.model._meta.label
    if isinstance(each, str):
        if each == "?":
            raise KeysetOrderError(label, "its order is random")
        path, descending = each.lstrip("-+"), each.startswith("-")
        each = OrderBy(F(path), descending=descending)
    elif not isinstance(each, OrderBy):
        each = OrderBy(cast("Expression", each))
    if isinstance(each.expression, Random):
        raise KeysetOrderError(label, "its order is random")
    if isinstance(each.expression, F) and each.expression.name == "pk":  # type: ignore[attr-defined]  # missing in the stubs
        names = [field.attname for field in ordered.model._meta.pk_fields]
        return [OrderBy(F(name), descending=each.descending) for name in names]
    return [each]


def _reversed(term: OrderBy) -> OrderBy:
    return OrderBy(
        term.expression,
        descending=not term.descending,
        nulls_first=term.nulls_last,
        nulls_last=term.nulls_first,
    )


def _key(queryset: QuerySet[Any, Any], term: OrderBy, *, place: int) -> tuple[QuerySet[Any, Any], SortKey]:
    """Return the key of a term, and the queryset with what a row tells its value by."""
    annotation = f"{ANNOTATION}{place}"
    path = term.expression.name if isinstance(term.expression, F) else ""  # type: ignore[attr-defined]  # missing in the stubs
    annotations = queryset.query.annotations
    field: Any
    is_float = isinstance(_told_field(queryset, term.expression, path), FloatField)
    if is_float or not path:
        # An average is a numeric of more digits, a similarity one of fewer, than the float that a row tells.
        expression = Cast(term.expression, FloatField()) if is_float else term.expression
        queryset = queryset.annotate(**{annotation: expression})
        field = queryset.query.annotations[annotation].output_field
        name, source, nullable = annotation, annotation, True
    elif path in annotations:
        is_told = path in queryset.query.annotation_select
        name, source, field, nullable = (
            path,
            path if is_told else annotation,
            annotations[path].output_field,
            True,
        )
    else:
        field, nullable = _column(queryset.model, path), is_nullable(queryset.model, path)
        is_told = "__" not in path and _is_loaded(queryset, field)
        name, source = path, field.attname if is_told else annotation
    if source == annotation != name:
        queryset = queryset.annotate(**{annotation: F(path)})
    return queryset, SortKey(
        name, field, source, term.descending, _nulls_first(queryset, term), is_nullable=nullable
    )


def _told_field(queryset: QuerySet[Any, Any], expression: Any, path: str) -> Field[Any, Any] | None:
    """Return what the values of an expression or annotation are of; None for a column."""
    if not path:
        resolved = expression.resolve_expression(queryset.query.chain())
        return cast("Field[Any, Any]", resolved.output_field)
    annotation = queryset.query.annotations.get(path)
    return None if annotation is None else annotation.output_field


def _is_loaded(queryset: QuerySet[Any, Any], field: Any) -> bool:
    names, are_left_out = queryset.query.deferred_loading
    return field.primary_key or (not {field.name, field.attname}.isdisjoint(names)) != are_left_out


def _nulls_first(queryset: QuerySet[Any, Any], term: OrderBy) -> bool:
    if term.nulls_first or term.nulls_last:
        return bool(term.nulls_first)
    return connections[queryset.db].features.order_by_nulls_first != term.descending


def _column(model: type[Model], path: str) -> Field[Any, Any]:
    """Return the column that a path leads to, through relations to one row each.

    Raises:
        KeysetOrderError: It leads to several rows, or to none of a column's values.
    """
    current: type[Model] | None = model
    found: Any = None
    for part in path.split("__"):
        try:
            if current is None:
                raise FieldDoesNotExist  # noqa: TRY301  # a part of a value, or a transform of one
            found = current._meta.pk if part == "pk" else current._meta.get_field(part)
        except FieldDoesNotExist as error:
            raise KeysetOrderError(model._meta.label, f"{path} is no column") from error
        if found.one_to_many or found.many_to_many:
            raise KeysetOrderError(model._meta.label, f"{path} has several values for a row")
        current = found.related_model
    is_by_relation = found.is_relation and path.rsplit("__", maxsplit=1)[-1] not in {found.attname, "pk"}
    if is_by_relation or not found.concrete:
        raise KeysetOrderError(
            model._meta.label, f"{path} is a relation, sorted as its model is: name a column of it"
        )
    return found  # type: ignore[no-any-return]  # a field
