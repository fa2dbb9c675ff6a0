"""What names a query without its SQL: its structure and its parameters.

Compiling a query takes a tenth of a millisecond and more; naming it takes a tenth of that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db.models import Model
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join

from perfkit.caching import plans
from perfkit.caching.expressions import name_of
from perfkit.caching.fingerprints import digest, field_token, has_djangos_join
from perfkit.caching.plain_values import UnknownShapeError
from perfkit.caching.reach import Reach, reach_of
from perfkit.caching.walk import Name, Walk

__all__ = ["Reach", "Structure", "reach_of", "structure_of"]


@dataclass(frozen=True, slots=True)
class Structure:
    """A SELECT, named.

    Two queries with equal structures always compile to the same SQL and parameters on the same connection.
    Queries that compile to the same SQL may have different structures: nothing is taken for equal on suspicion.
    Compiling a query with subqueries changes its structure, once; a query made anew has the first again.

    Args:
        skeleton: Nested tuples of texts, numbers and None; the same in every process that has the same models.
        values: The parameters in a fixed order: None, bool, int (of any size), str and bytes, and tuples of them.
            Their types stand in the skeleton, so that 1 and True make two structures;
            a value of another type is here as text, bytes or a tuple.
    """

    skeleton: tuple[Any, ...]
    values: tuple[Any, ...]


_PLAN_STATE: Final = frozenset({"model", "select_related", "deferred_loading", "default_cols", "select"})
_LIST_STATE: Final = frozenset({"values_select", "selected", "group_by", "order_by", "distinct_fields"})
_ALIAS_STATE: Final = frozenset(
    {
        "alias_refcount",
        "alias_map",
        "alias_cols",
        "external_aliases",
        "table_map",
        "alias_prefix",
        "subq_aliases",
    }
)
_FLAGS: Final = (
    "distinct",
    "standard_ordering",
    "default_ordering",
    "subquery",
    "alias_cols",
    "default_cols",
)
_flags_of: Final = attrgetter(*_FLAGS)
_REFUSED_STATE: Final = (
    *("extra", "extra_tables", "extra_order_by", "_filtered_relations"),
    *("combinator", "combined_queries", "select_for_update", "explain_info"),
)
_ANNOTATION_STATE: Final = frozenset({"annotations", "annotation_select_mask"})
_WITHOUT_EFFECT: Final = frozenset(
    {
        *("used_aliases", "filter_is_sticky", "_lookup_joins"),  # only building a query asks for them
        *("_annotation_select_cache", "_extra_select_cache", "extra_select_mask"),
        *("combinator_all", "select_for_update_nowait", "select_for_update_skip_locked"),
        *("select_for_update_of", "select_for_no_key_update"),
        *("base_table", "contains_aggregate", "contains_over_clause", "contains_column_references"),
    }
)
_KNOWN_STATE: Final = frozenset(
    _PLAN_STATE
    | _LIST_STATE
    | _ALIAS_STATE
    | _ANNOTATION_STATE
    | _WITHOUT_EFFECT
    | {*_FLAGS, *_REFUSED_STATE, "where", "low_mark", "high_mark", "_db", "contains_subquery"}
)
_NOT_NAMED: Final = (
    *(UnknownShapeError, FieldError, FieldDoesNotExist, AttributeError),
    *(TypeError, ValueError, LookupError, RecursionError),
)
"""What a query that is not as Django makes it may raise on the way."""


def structure_of(query: Query) -> Structure | None:
    """Return the structure of a SELECT, or None for a shape that is not known.

    The query stays as it is, no database is asked and no SQL is compiled.
    """
    walk = Walk(name_of, _query_name)
    try:
        skeleton = _query_name(query, walk)
    except _NOT_NAMED:
        return None
    return Structure(skeleton, tuple(walk.values))


def _query_name(query: Query, walk: Walk) -> Name:
    state = query.__dict__
    if not _is_known(query, state):
        raise UnknownShapeError(type(query))
    parts: list[object] = [_flags(query), *_aliases(query), _selection(query, walk)]
    if query.where.children or query.where.negated:
        parts.append(("where", name_of(query.where, walk)))
    if state["annotations"]:
        parts.append(_annotations(query, walk))
    if query.group_by is not None:
        parts.append(("group", *_group(query, walk)))
    ordering = tuple(_ordering(query, walk))
    if ordering:
        parts.append(("order", *ordering))
    if query.distinct_fields:
        parts.append(("distinct", *query.distinct_fields))
    if query.low_mark or query.high_mark is not None:
        parts.append(("slice", walk.value(query.low_mark), walk.value(query.high_mark)))
    if walk.depth or state["external_aliases"] or "_db" in state:
        parts.append(_surroundings(query))
    return tuple(parts)


def _is_known(query: Query, state: dict[str, Any]) -> bool:
    """Return whether all of a query's state is taken into account."""
    is_djangos = type(query) is Query and state.keys() <= _KNOWN_STATE and state["model"] is not None
    return is_djangos and not any(map(state.get, _REFUSED_STATE))


def _flags(query: Query) -> int:
    bits = 0
    for is_set in _flags_of(query):
        bits = bits * 2 + bool(is_set)
    return bits


def _aliases(query: Query) -> tuple[object, ...]:
    """Return what names the tables joined so far, those that nobody refers to included: they may be joined again.

    Of the lists in `table_map` only the tables matter: clones of a query share the lists and change them.
    """
    alias_map = query.alias_map
    if not alias_map:  # compiling begins with the model's own table
        table = query.get_meta().db_table
        return ((table, table, 0),), (table,)
    if "base_table" in query.__dict__ and query.base_table != next(iter(alias_map)):
        raise UnknownShapeError("base_table")
    counts = query.alias_refcount
    joins = tuple([_join(alias, join, counts[alias]) for alias, join in alias_map.items()])
    return joins, tuple(query.table_map)


def _join(alias: str, join: Any, count: int) -> tuple[object, ...]:
    if join.table_alias != alias:
        raise UnknownShapeError(type(join))
    if type(join) is BaseTable:
        return (alias, join.table_name, count)
    if type(join) is not Join or join.filtered_relation is not None:
        raise UnknownShapeError(type(join))
    field: Any = join.join_field
    if not has_djangos_join(field):
        raise UnknownShapeError(type(field))
    nullable = "null" if join.nullable else ""
    return (alias, join.table_name, count, join.parent_alias, join.join_type, field_token(field), nullable)


def _selection(query: Query, walk: Walk) -> tuple[object, ...]:
    related = plans.tied(query.select_related)
    if query.default_cols:
        fingerprint = _selection_fingerprint(query.model, related, plans.deferred_of(query))
        selected: tuple[object, ...] = (fingerprint,)
    else:
        names, is_deferred = plans.deferred_of(query)
        masked = (*sorted(names), int(is_deferred))
        columns = [name_of(column, walk) for column in query.select]
        selected = (query.get_meta().label, *columns, tuple(query.values_select), repr(related), masked)
    if query.select and query.default_cols:
        raise UnknownShapeError("select")
    if query.selected is not None:
        return (*selected, tuple([_selected(item) for item in query.selected.items()]))
    return selected


def _selected(item: tuple[str, object]) -> tuple[str, object]:
    if type(item[1]) is not str and type(item[1]) is not int:
        raise UnknownShapeError("selected")
    return item


@functools.lru_cache(maxsize=1024)
def _selection_fingerprint(model: type[Model], related: plans.Tree, deferred: plans.Deferred) -> str:
    plan = plans.selection_plan(model, related, deferred)
    return f"{model._meta.label}#{digest((related, sorted(deferred[0]), deferred[1], _plan_name(plan)))}"


@functools.lru_cache(maxsize=4096)
def _ordering_fingerprint(model: type[Model], name: str) -> str:
    try:
        plan = plans.ordering_plan(model, name)
    except (FieldError, FieldDoesNotExist):
        return ""  # it is no field: "?", or compiling refuses it as well
    return digest(_plan_name(plan))


def _plan_name(plan: plans.Plan) -> tuple[object, ...]:
    walk = Walk(name_of, _query_name)
    named = [name_of(expression, walk) for expression in plan.expressions]
    joined = [_join(alias, join, 1) for alias, join in plan.joins]
    return (named, joined, walk.values)


def _annotations(query: Query, walk: Walk) -> tuple[object, ...]:
    mask = query.annotation_select_mask
    named = [(alias, name_of(annotation, walk)) for alias, annotation in query.annotations.items()]
    return ("annotations", None if mask is None else tuple(sorted(mask)), *named)


def _group(query: Query, walk: Walk) -> Iterator[object]:
    if query.group_by is True:
        yield "all"
        return
    for item in query.group_by or ():
        yield f"'{item}" if isinstance(item, str) else name_of(item, walk)


def _ordering(query: Query, walk: Walk) -> Iterator[object]:
    """Yield what names the ordering; its expressions are resolved only when the query is compiled."""
    ordering = plans.ordering_of(query)
    if not ordering:
        return
    if not query.order_by:
        yield "meta"
    taken = {*query.annotations, *(query.selected or ())}
    for item in ordering:
        if isinstance(item, str):
            name = item.removeprefix("-")
            is_field = name not in taken and name.partition("__")[0] not in taken
            yield f"'{item}"
            if is_field:
                yield _ordering_fingerprint(query.model, item)
        else:
            was_resolved, walk.is_resolved = walk.is_resolved, False
            yield name_of(item, walk)
            walk.is_resolved = was_resolved


def _surroundings(query: Query) -> tuple[object, ...]:
    """Return what matters to a query within another one."""
    external = [(alias, int(bool(is_aliased))) for alias, is_aliased in query.external_aliases.items()]
    state = query.__dict__
    prefixes = (query.alias_prefix, *sorted(query.subq_aliases))
    return ("within", tuple(external), prefixes, state.get("_db"), str(state.get("contains_subquery", "")))
