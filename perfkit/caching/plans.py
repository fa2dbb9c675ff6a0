"""What Django adds to a query only when it compiles it: default columns, related models, ordering by name.

Django's own planning is asked, on an empty query of the same model: joins are made, SQL is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django.db.models import Model
from django.db.models.expressions import BaseExpression
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.datastructures import BaseTable, Join

Tree = tuple[tuple[str, "Tree"], ...] | bool
"""`select_related` of a query, hashable."""
Deferred = tuple[frozenset[str], bool]


@dataclass(frozen=True, slots=True)
class Plan:
    """Expressions that compiling adds, and the tables that it joins for them."""

    expressions: tuple[BaseExpression, ...]
    joins: tuple[tuple[str, BaseTable | Join], ...]
    """By alias."""


def selection_plan(model: type[Model], related: Tree, deferred: Deferred) -> Plan:
    """Return what selecting the rows of `model` takes, with related models.

    Raises:
        FieldError: A name leads nowhere.
    """
    query = Query(model)
    query.select_related = _untied(related)
    query.deferred_loading = deferred
    return _plan(query, _columns(query))


def _planner(query: Query) -> SQLCompiler:
    """Return a compiler without a connection: it must only be asked for what comes before SQL."""
    return SQLCompiler(query, cast("Any", None), None)


def _columns(query: Query) -> list[Any]:
    compiler = _planner(query)
    mask = query.get_select_mask()
    columns: list[Any] = [(column, None) for column in compiler.get_default_columns(mask)]
    if query.select_related:
        compiler.get_related_selections(columns, mask)
    return [column for column, _ in columns]


def ordering_plan(model: type[Model], name: str) -> Plan:
    """Return what ordering rows of `model` by the field `name` takes, as `order_by` has it.

    Raises:
        FieldError: The name leads nowhere.
    """
    query = Query(model)
    found = _planner(query).find_ordering_name(name, query.get_meta())
    return _plan(query, [item.resolve_expression(query) for item, _ in found])


def reference_plan(model: type[Model], name: str) -> Plan:
    """Return what the field `name` of `model` takes, as `F` has it.

    Raises:
        FieldError: The name leads nowhere.
    """
    query = Query(model)
    return _plan(query, [query.resolve_ref(name)])


def whole_plan(query: Query) -> Plan:
    """Return what compiling `query` itself adds; slower than the others, and for every shape.

    Raises:
        FieldError: A name leads nowhere.
    """
    clone = query.clone()
    clone.table_map = {table: list(aliases) for table, aliases in query.table_map.items()}
    added = _columns(clone) if clone.default_cols else []
    compiler = _planner(clone)
    for item in ordering_of(query):
        name = item.removeprefix("-") if isinstance(item, str) else ""
        if not isinstance(item, str):
            added.append(item.resolve_expression(clone))
        elif name.partition("__")[0] in clone.annotations:
            added.append(clone.resolve_ref(name))
        elif name not in (clone.selected or ()) and name != "?":
            found = compiler.find_ordering_name(item, clone.get_meta())
            added += [expression.resolve_expression(clone) for expression, _ in found]
    added += [clone.resolve_ref(name) for name in clone.distinct_fields]
    return _plan(clone, added)


def ordering_of(query: Query) -> tuple[Any, ...]:
    """Return what `query` is ordered by: its own ordering, else its model's."""
    if query.order_by or not query.default_ordering:
        return tuple(query.order_by)
    return tuple(query.get_meta().ordering or ())


def _plan(query: Query, expressions: list[Any]) -> Plan:
    used = [(alias, join) for alias, join in query.alias_map.items() if query.alias_refcount[alias]]
    return Plan(tuple(expressions), tuple(used))


def tied(related: Any) -> Tree:
    """Return `select_related` of a query as nested tuples, or True for all that cannot be null."""
    if isinstance(related, dict):
        return tuple([(name, tied(below)) for name, below in related.items()])
    return bool(related)


def deferred_of(query: Query) -> Deferred:
    """Return which fields `query` leaves out, or which ones alone it has."""
    names, is_deferred = query.deferred_loading
    return frozenset(names), bool(is_deferred)


def _untied(related: Tree) -> Any:
    if isinstance(related, bool):
        return related
    return {name: _untied(below) for name, below in related}
