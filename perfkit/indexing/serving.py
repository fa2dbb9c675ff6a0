"""Which declared index serves an order or a condition, and what to declare where none does. Pure.

It errs on the side of silence where several conditions meet: each is looked at by itself.
What a planner makes of the data it cannot know.

Source:
    PostgreSQL manual, "Indexes and ORDER BY", "Operator Classes and Operator Families", and "pg_trgm".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from django.db.models import Field, Model, Q

from perfkit.indexing.declared import BTREE, DeclaredIndex, IndexKey, declared_indexes, is_text

EQUALITY: Final = frozenset({"exact", "in"})
RANGES: Final = frozenset({"gt", "gte", "lt", "lte", "range"})
TRIGRAMS: Final = frozenset({"contains", "endswith", "regex", "iregex", "ilike_contains"})
"""Lookups that a trigram index of the column serves."""
UPPER_TRIGRAMS: Final = frozenset({"icontains", "iendswith", "istartswith", "iexact"})
"""Lookups that Django makes with UPPER, so that an index of the column itself serves none of them."""
TRIGRAM_CLASSES: Final = frozenset({"gin_trgm_ops", "gist_trgm_ops"})
PATTERN_CLASSES: Final = frozenset({"text_pattern_ops", "varchar_pattern_ops", "bpchar_pattern_ops"})
ORDERED: Final = frozenset({BTREE, "brin"})
INVERTED: Final = frozenset({"gin", "gist"})


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One key of an order.

    Attributes:
        path: A column of the model; what leads elsewhere is served by no index of the table.
        nulls_first: None where it is PostgreSQL's own place, or there can be none.
    """

    path: str
    descending: bool
    nulls_first: bool | None = None


def order_index(model: type[Model], order: Sequence[OrderKey]) -> DeclaredIndex | None:
    """Return a declared index whose rows come in this order, forward or backward, or None.

    It may have more columns than the order.
    """
    columns = _columns_of_one_table(model, order)
    wanted = list(zip(columns, order, strict=True)) if columns else []
    for index in declared_indexes(columns[0].model) if columns else ():
        if index.method != BTREE or index.condition is not None or len(index.keys) < len(wanted):
            continue
        pairs = list(zip(index.keys, wanted, strict=False))
        for backward in (False, True):
            if all(_gives(key, *want, backward=backward) for key, want in pairs):
                return index
    return None


def lookup_index(model: type[Model], path: str, lookup: str, value: object = None) -> DeclaredIndex | None:
    """Return a declared index that finds the rows of a condition, or None.

    Of a related row it is the one that finds it there, where the relation has an index too.

    Args:
        path: Of columns, through relations to one row each.
        lookup: Django's name of it.
        value: Of `isnull`, which a partial index may serve for one value alone; None for either.
    """
    name, _, rest = path.partition("__")
    field = table_column(model, name)
    if field is None:
        return _index_beyond(model, name, rest or "pk", lookup, value)
    if rest:
        related = field.related_model
        if related is None or isinstance(related, str):
            return None
        target = field.target_field  # type: ignore[attr-defined]  # of relations
        if rest in {"pk", target.name, target.attname}:
            return lookup_index(model, name, lookup, value)
        beyond = lookup_index(related, rest, lookup, value)
        return beyond if beyond and lookup_index(model, name, "exact") else None
    indexes = declared_indexes(field.model)
    return next((each for each in indexes if _finds(each, field, lookup, value)), None)


def _index_beyond(
    model: type[Model], name: str, rest: str, lookup: str, value: object
) -> DeclaredIndex | None:
    """Return an index of the model that refers to this one by a unique column, which so has an index itself."""
    for relation in model._meta.related_objects:
        if relation.one_to_one and relation.name == name:
            return lookup_index(relation.related_model, rest, lookup, value)
    return None


def table_column(model: type[Model], path: str) -> Field[Any, Any] | None:
    """Return the field that a path of one part names, of the model or a model it inherits from, or None.

    Its `model` is the one in whose table it is.
    """
    for field in model._meta.concrete_fields:
        if path in {field.name, field.attname} or (path == "pk" and field.primary_key):
            return field
    return None


def served_orders(model: type[Model], paths: Collection[str]) -> Iterator[tuple[tuple[str, bool], ...]]:
    """Yield the orders by some columns that whole beginnings of declared indexes may serve, forward and backward.

    Each column comes with whether it is descending. Where rows without a value stand is for `order_index` to see.
    """
    by_column = {
        (field.model, field.attname): path
        for path in paths
        for field in _columns_of_one_table(model, [OrderKey(path, descending=False)])
    }
    for owner in dict.fromkeys(owner for owner, _ in by_column):
        for index in declared_indexes(owner):
            keys = list(takewhile(lambda key: (owner, key.column) in by_column, index.keys))  # noqa: B023  # used at once
            for length in range(1, len(keys) + 1):
                for backward in (False, True):
                    yield tuple(
                        (by_column[owner, key.column], key.descending != backward) for key in keys[:length]
                    )


def suggested_order(model: type[Model], order: Sequence[OrderKey]) -> str:
    """Return an index to declare for an order, as text; empty where none of the table could serve it."""
    names = [field.name for field in _columns_of_one_table(model, order)]
    if not names:
        return ""
    is_plain = all(key.nulls_first in {None, key.descending} for key in order)
    if is_plain:
        texts = [f'"{"-" if key.descending else ""}{name}"' for key, name in zip(order, names, strict=True)]
        return f"models.Index(fields=[{', '.join(texts)}], name=…)"
    terms = []
    for key, name in zip(order, names, strict=True):
        direction = "desc" if key.descending else "asc"
        nulls = {None: "", True: "nulls_first=True", False: "nulls_last=True"}[key.nulls_first]
        terms.append(f'F("{name}").{direction}({nulls})')
    return f"PortableIndex({', '.join(terms)}, name=…)"


def suggested_lookup(model: type[Model], path: str, lookup: str) -> str:
    """Return an index to declare for a condition, as text; empty where none of the table could serve it."""
    field = table_column(model, path)
    if field is None:
        return ""
    index, name = "", field.name
    if lookup in EQUALITY | RANGES | {"isnull"}:
        index = f'models.Index(fields=["{name}"]'
    elif lookup in TRIGRAMS and is_text(field):
        index = f'GinIndex(fields=["{name}"], opclasses=["gin_trgm_ops"]'
    elif lookup in UPPER_TRIGRAMS and is_text(field):
        index = f'GinIndex(OpClass(Upper("{name}"), name="gin_trgm_ops")'
    elif lookup == "startswith" and is_text(field):
        index = f'models.Index(fields=["{name}"], opclasses=["text_pattern_ops"]'
    return f"{index}, name=…)" if index else ""


def _columns_of_one_table(model: type[Model], order: Sequence[OrderKey]) -> list[Field[Any, Any]]:
    """Return the columns of an order; none where they are not all columns of one table.

    By a relation's name Django sorts as the other model is sorted, which is no column here.
    """
    columns = [table_column(model, key.path) for key in order]
    found = [
        column
        for column, key in zip(columns, order, strict=True)
        if column is not None and (not column.is_relation or key.path in {column.attname, "pk"})
    ]
    is_one_table = len({column.model for column in found}) == 1
    return found if is_one_table and len(found) == len(order) else []


def _gives(key: IndexKey, column: Field[Any, Any], want: OrderKey, *, backward: bool) -> bool:
    """Whether rows come as wanted by one column of an index that is read forward or backward."""
    if key.column != column.attname or key.is_upper or key.operator_class:
        return False
    if (key.descending != backward) != want.descending:
        return False
    nulls_first = want.descending if want.nulls_first is None else want.nulls_first
    return not column.null or (key.nulls_first != backward) == nulls_first


def _finds(index: DeclaredIndex, field: Field[Any, Any], lookup: str, value: object) -> bool:
    if index.condition is not None:
        return lookup == "isnull" and _is_null_condition(index.condition, field, value)
    keys = index.keys if index.method == "gin" else index.keys[:1]
    return any(_key_finds(index, key, field, lookup) for key in keys if key.column == field.attname)


def _key_finds(index: DeclaredIndex, key: IndexKey, field: Field[Any, Any], lookup: str) -> bool:
    if key.is_upper:
        return lookup in UPPER_TRIGRAMS and (
            key.operator_class in TRIGRAM_CLASSES or (lookup == "iexact" and index.method in {BTREE, "hash"})
        )
    if key.operator_class in TRIGRAM_CLASSES:
        return lookup in TRIGRAMS or lookup in {"exact", "in", "startswith"}
    if lookup in EQUALITY:
        return index.method in {BTREE, "brin", "hash", "bloom", "spgist"}
    if lookup == "startswith":
        return index.has_patterns or key.operator_class in PATTERN_CLASSES
    if lookup in RANGES or lookup == "isnull":
        compares_patterns = lookup != "isnull" and key.operator_class in PATTERN_CLASSES
        return index.method in ORDERED and not compares_patterns
    return index.method in INVERTED and not is_text(field)  # of arrays, documents, ranges


def _is_null_condition(condition: Q, field: Field[Any, Any], value: object) -> bool:
    """Whether a partial index holds the rows that have no value, or those that have one."""
    if len(condition.children) != 1 or condition.negated:
        return False
    (child,) = condition.children
    names = {f"{name}__isnull" for name in (field.name, field.attname)}
    return isinstance(child, tuple) and child[0] in names and value in {None, child[1]}
