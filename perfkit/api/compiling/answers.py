"""What a queryset's rows are shown as: from a queryset and a schema to items, and to the bytes around them.

It knows nothing of ninja's operations: `operations` and a plain Django view take the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final, cast

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.fields import related_descriptors
from django.db.models.query import ModelIterable

from perfkit.api.compiling.fetching import Row, Steps, rows_of
from perfkit.api.compiling.kinds import internal_type_of
from perfkit.api.compiling.nodes import Many, Node, NotCompiledError, pruned
from perfkit.api.compiling.schemas import node_of
from perfkit.api.compiling.statements import asked_of
from perfkit.api.compiling.walks import way_of
from perfkit.api.compiling.writers import Children, Dialect, writer_of
from perfkit.api.keysets.pages import KeysetPage, Walk
from perfkit.caching.queryset import CachedQuerySet
from perfkit.loading.relations import relations_of

_of_keys: Final[Any] = related_descriptors._filter_prefetch_queryset  # type: ignore[attr-defined]  # noqa: SLF001
"""What Django prefetches rows by: of a queryset with a limit it makes a window for each key."""

EVALUATING: Final = ("__iter__", "_fetch_all", "iterator", "__getitem__", "__len__")
"""Methods by which a class of querysets may show other rows than the database has."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How rows are shown.

    Attributes:
        node: What of each.
        dialect: JSON texts, or dicts.
    """

    node: Node
    dialect: Dialect

    def items(self, queryset: QuerySet[Any]) -> Steps[list[Any]]:
        """Return each row of a queryset as it is shown.

        Queries: one, and one for each relation to many rows, at each level.
        """
        try:
            asked = asked_of(queryset, self.node.columns)
        except EmptyResultSet:
            return []
        rows = yield from rows_of(asked)
        return (yield from self.items_of(rows, asked.alias))

    def items_of(self, rows: Iterable[Row], alias: str) -> Steps[list[Any]]:
        """Return rows of these columns as they are shown."""
        manys = self.node.manys
        children: Children = ()
        if manys:
            rows = list(rows)
            places = {path: place for place, path in enumerate(self.node.columns)}
            found = []
            for many in manys:
                keys = {row[places[many.key_path]] for row in rows}
                found.append((yield from _children(many, keys, alias, self.dialect)))
            children = found
        return writer_of(self.node, self.dialect)(rows, children)

    def keyset(
        self, queryset: QuerySet[Any], cursor: str | None, page_size: int, *, scope: str
    ) -> Steps[KeysetPage[Any]]:
        """Return a page by cursor; as `perfkit.api.keysets.pages.keyset`."""
        way = way_of(queryset, self.node.columns)
        walk = Walk(queryset.model._meta.label, way.steps.keys, cursor, page_size, scope=scope)
        rows: list[Row] = []
        for asked in way.segments(walk):
            rows += yield from rows_of(asked)
            if len(rows) >= walk.wanted:
                break
        page = walk.page(rows[: walk.wanted], way.steps.values_of)
        items = yield from self.items_of(page.items, way.alias)
        return KeysetPage(items, page.next, page.previous, page.has_next, page.has_prev)


def envelope_of(page: Any) -> dict[str, Any]:
    """Return a page as what it says: its items, and what stands beside them."""
    return {field.name: getattr(page, field.name) for field in fields(page)}


def page_text(page: Any) -> str:
    """Return the JSON of a page, with what it says beside its items; these are JSON already."""
    envelope = envelope_of(page)
    items = ", ".join(envelope.pop("items"))
    return f'{{"items": [{items}], {json.dumps(envelope)[1:]}'


def shown_of(
    queryset: QuerySet[Any],
    schema: type,
    *,
    dialect: Dialect,
    by_alias: bool = False,
    fields: tuple[tuple[str, ...], ...] | None = None,
) -> Shown:
    """Return how the rows of a queryset are shown by a schema.

    Args:
        by_alias: Whether the answer has the aliases of the fields, where they have one.
        fields: Paths of the fields that are shown; None for all.

    Raises:
        NotCompiledError: They are made of instances.
    """
    _refuse_queryset(queryset)
    annotations = queryset.query.annotation_select.items()
    found = _node(
        cast("Any", queryset.model),
        schema,
        tuple(sorted([(name, internal_type_of(each.output_field)) for name, each in annotations])),
        by_alias,
        connections[queryset.db].vendor == "postgresql",
    )
    if isinstance(found, str):
        raise NotCompiledError(found)
    node = found if fields is None else pruned(found, fields)
    for relation in queryset._known_related_objects:  # type: ignore[attr-defined]  # noqa: SLF001  # no public name
        if any(path.startswith(f"{relation.name}__") for path in node.columns):
            raise NotCompiledError(f"{queryset.model._meta.label}: its rows share one {relation.name}")
    return Shown(node, dialect)


@lru_cache(maxsize=1024)
def _node(model: type[Model], schema: type, annotations: Any, by_alias: bool, is_typed: bool) -> Node | str:
    """Return what is shown, or why that is not known."""
    try:
        return node_of(model, schema, annotations=annotations, by_alias=by_alias, is_typed=is_typed)
    except NotCompiledError as error:
        return str(error)


def _refuse_queryset(queryset: QuerySet[Any], *, may_be_cached: bool = False) -> None:
    """Refuse a queryset whose rows are not simply those that the database has.

    Raises:
        NotCompiledError: It is one.
    """
    query, state = queryset.query, vars(queryset)
    problem = ""
    if state["_result_cache"] is not None:
        problem = "its rows are there already"
    elif state["_iterable_class"] is not ModelIterable or state["_fields"] is not None:
        problem = "its rows are no instances"
    elif query.combinator or query.distinct or query.extra or query.select_for_update:
        problem = "it is a union, distinct, extra or locks its rows"
    elif any(getattr(lookup, "queryset", None) is not None for lookup in state["_prefetch_related_lookups"]):
        problem = "it chooses which related rows are loaded"
    elif not may_be_cached and isinstance(queryset, CachedQuerySet) and queryset.is_cached:
        problem = "its rows come from the cache"
    elif own := _own_evaluation(type(queryset)):
        problem = f"{type(queryset).__qualname__} has its own {own}"
    if problem:
        raise NotCompiledError(f"{queryset.model._meta.label}: {problem}")


@lru_cache(maxsize=256)
def _own_evaluation(kind: type) -> str:
    for part in kind.__mro__:
        if part is QuerySet:
            return ""
        if part.__module__.startswith("perfkit."):
            continue
        if found := set(EVALUATING) & vars(part).keys():
            return min(found)
    return ""


def _children(many: Many, keys: set[Any], alias: str, dialect: Dialect) -> Steps[Mapping[Any, Any]]:
    """Return the rows of a relation by the key of the row that each belongs to, as they are shown."""
    keys.discard(None)
    if not keys:
        return {}
    queryset: Any = many.model._default_manager.using(alias).all()
    if many.chosen is not None:
        queryset = many.chosen.chosen(queryset, relations_of(many.parent)[many.chosen.name])
    # Without an order the database shows them as it finds them, which depends on what is joined.
    queryset = _of_keys(queryset if queryset.ordered else queryset.order_by("pk"), many.lookup, sorted(keys))
    _refuse_queryset(queryset, may_be_cached=True)
    shown = Shown(many.node, dialect)
    try:
        rows = list((yield from rows_of(asked_of(queryset, (*many.node.columns, many.lookup)))))
    except EmptyResultSet:
        return {}
    made = yield from shown.items_of(rows, alias)
    items = zip([row[-1] for row in rows], made, strict=True)
    by_key: dict[Any, list[Any]] = {}
    for key, item in items:
        by_key.setdefault(key, []).append(item)
    if dialect == "text":
        return {key: f"[{', '.join(each)}]" for key, each in by_key.items()}
    return by_key
