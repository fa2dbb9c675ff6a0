"""What a query reads, and why its answer may not be cached."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import NotSupportedError
from django.db.models import Aggregate, Func, Model, Transform
from django.db.models.expressions import RawSQL
from django.db.models.lookups import Lookup
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import ExtraWhere

from perfkit.caching import plans
from perfkit.caching.fingerprints import DJANGOS, dotted, has_djangos_join
from perfkit.caching.registry import plain_table_name


@dataclass(frozen=True, slots=True)
class Reach:
    """What a query reads.

    Args:
        tables: Every table that it may read, unquoted, lower case, without schema.
        refusal: Why its answer may not be cached; empty if it may.
        repeated: Those that it joins more than once, or looks into from a subquery.
    """

    tables: frozenset[str]
    refusal: str
    repeated: frozenset[str] = frozenset()


_VOLATILE: Final = {
    "django.db.models.functions.datetime.Now": "now()",
    "django.db.models.functions.math.Random": "volatile function Random",
    "django.db.models.functions.uuid.UUID4": "volatile function UUID4",
    "django.db.models.functions.uuid.UUID7": "volatile function UUID7",
    "django.contrib.postgres.functions.RandomUUID": "volatile function RandomUUID",
    "django.contrib.postgres.functions.TransactionNow": "now()",
}
_CUSTOM: Final = ((Lookup, "lookup"), (Transform, "transform"), (Aggregate, "aggregate"))
_CALLERS_SQL: Final = frozenset({"function", "template", "arg_joiner"})

_COLUMN: Final = re.compile(r'"[^"]+"\."[^"]+"')
"""A column of a table that is joined already."""

_CANNOT_BE_PLANNED: Final = (
    *(FieldError, FieldDoesNotExist, NotSupportedError, NotImplementedError),
    *(AttributeError, TypeError, ValueError),
)
"""What Django raises where it cannot compile the query either."""


def reach_of(query: Query) -> Reach:
    """Return what `query` reads and whether its answer may be cached.

    The query stays as it is, no database is asked and no SQL is compiled.
    Tables that a condition without answers spares the database may be among them.
    """
    survey = _Survey()
    try:
        survey.see_query(query)
    except _CANNOT_BE_PLANNED as error:
        survey.refuse(f"it cannot be planned: {error}")
    return survey.reach()


def _is_prefetch(query: Query) -> bool:
    """Say whether the only SQL that was given as text is that of Django's own many-to-many prefetch."""
    return not (query.extra_tables or query.extra_order_by) and all(
        name.startswith("_prefetch_related_val_") and not params and _COLUMN.fullmatch(sql)
        for name, (sql, params) in query.extra.items()
    )


class _Survey:
    """One way through a query; the first refusal stands."""

    def __init__(self) -> None:
        self._tables: set[str] = set()
        self._refusal = ""
        self._seen: set[int] = set()
        self._repeated: set[str] = set()
        self._depth = 0

    def reach(self) -> Reach:
        return Reach(frozenset(self._tables), self._refusal, frozenset(self._repeated))

    def refuse(self, reason: str) -> None:
        self._refusal = self._refusal or reason

    def see_query(self, query: Query) -> None:
        if id(query) in self._seen:
            return
        self._seen.add(id(query))
        if type(query) is not Query or query.model is None:
            self.refuse(f"custom query {type(query).__name__}")
        if (query.extra or query.extra_tables or query.extra_order_by) and not _is_prefetch(query):
            self.refuse("extra()")
        if query.select_for_update:
            self.refuse("select_for_update")
        if query.explain_info:
            self.refuse("explain")
        if "?" in plans.ordering_of(query):
            self.refuse("random order")
        self._depth += 1
        if query.combinator:
            self._see_all([*query.combined_queries, *query.order_by])
        else:
            self._see_own(query)
        self._depth -= 1

    def _see_own(self, query: Query) -> None:
        counts = query.alias_refcount
        used = [(alias, join) for alias, join in query.alias_map.items() if counts[alias]]
        if not used:  # compiling begins with the first table, or with the model's own
            self._see_table(query.get_meta().db_table)
            used = list(query.alias_map.items())[:1]
        self._see_joins(used)
        self._see_all(query.select)
        self._see_all(query.annotation_select.values())
        self._see(query.where)
        if isinstance(query.group_by, tuple):
            self._see_all(query.group_by)
        ordering = plans.ordering_of(query)
        if query.__dict__["_filtered_relations"] or not all(isinstance(item, str) for item in ordering):
            self.see_plan(plans.whole_plan(query))
        else:
            self._see_planned(query, ordering)

    def _see_planned(self, query: Query, ordering: Iterable[str]) -> None:
        if query.default_cols:
            related = plans.tied(query.select_related)
            self._add(_selection_reach(query.model, related, plans.deferred_of(query)))
        for item in ordering:
            name = item.removeprefix("-")
            annotation = query.annotations.get(name) or query.annotations.get(name.partition("__")[0])
            if annotation is not None:
                self._see(annotation)
            elif name != "?" and name not in (query.selected or ()):
                self._add(_ordering_reach(query.model, item))
        for name in query.distinct_fields:
            if name not in query.annotations:
                self._add(_reference_reach(query.model, name))

    def _add(self, reach: Reach) -> None:
        self._tables |= reach.tables
        self._repeated |= reach.tables if self._depth > 1 else reach.repeated
        self.refuse(reach.refusal)

    def see_plan(self, plan: plans.Plan) -> None:
        self._see_joins(plan.joins)
        self._see_all(plan.expressions)

    def _see_table(self, db_table: str) -> None:
        table = plain_table_name(db_table)
        self._tables.add(table)
        if self._depth > 1:
            self._repeated.add(table)

    def _see_joins(self, joins: Iterable[tuple[str, Any]]) -> None:
        joined: set[str] = set()
        for _, join in joins:
            self._see_table(join.table_name)
            table = plain_table_name(join.table_name)
            if table in joined:
                self._repeated.add(table)
            joined.add(table)
            if type(join) is BaseTable:
                continue
            relation: Any = join.join_field
            if type(join) is not Join:
                self.refuse(f"custom join {type(join).__name__}")
            elif not has_djangos_join(relation):
                self.refuse(f"custom join {type(relation).__name__}")
            if join.filtered_relation is not None:
                self._see(join.filtered_relation.resolved_condition)

    def _see_all(self, nodes: Iterable[Any]) -> None:
        for node in nodes:
            self._see(node)

    def _see(self, node: Any) -> None:
        """Look at an expression, a condition or a query, and at all that it is made of."""
        if isinstance(node, Query):
            self.see_query(node)
            return
        if node is None or isinstance(node, str):
            return
        cls: Any = type(node)
        self.refuse(_objection(cls) or _callers_sql(node))
        children = getattr(node, "children", None)
        if children is not None:
            self._see_all([child[1] if isinstance(child, tuple) else child for child in children])
        elif hasattr(node, "get_source_expressions"):
            self._see_all(node.get_source_expressions())
        if isinstance(node, Lookup) and isinstance(node.rhs, list | tuple):
            self._see_all([item for item in node.rhs if hasattr(item, "resolve_expression")])


@functools.lru_cache(maxsize=4096)
def _objection(cls: type) -> str:
    """Return why an expression of this class may not be cached; other people's SQL may read or do anything."""
    name = dotted(cls)
    if name in _VOLATILE:
        return _VOLATILE[name]
    if issubclass(cls, RawSQL):
        return "raw SQL"
    if issubclass(cls, ExtraWhere):
        return "extra()"
    if cls is Func or cls is Aggregate:
        return f"custom SQL in {cls.__name__}"
    if cls.__module__.startswith(DJANGOS):
        return ""
    kind = next((kind for base, kind in _CUSTOM if issubclass(cls, base)), "expression")
    return f"custom {kind} {cls.__name__}"


def _callers_sql(node: Any) -> str:
    own = node.__dict__
    is_given = not _CALLERS_SQL.isdisjoint(own.get("extra", ()))
    is_given = is_given or ("template" in own and own["template"] != type(node).template)
    return f"custom SQL in {type(node).__name__}" if is_given else ""


def _reach_of(plan: plans.Plan) -> Reach:
    survey = _Survey()
    survey.see_plan(plan)
    return survey.reach()


@functools.lru_cache(maxsize=1024)
def _selection_reach(model: type[Model], related: plans.Tree, deferred: plans.Deferred) -> Reach:
    return _reach_of(plans.selection_plan(model, related, deferred))


@functools.lru_cache(maxsize=4096)
def _ordering_reach(model: type[Model], name: str) -> Reach:
    return _reach_of(plans.ordering_plan(model, name))


@functools.lru_cache(maxsize=1024)
def _reference_reach(model: type[Model], name: str) -> Reach:
    return _reach_of(plans.reference_plan(model, name))
